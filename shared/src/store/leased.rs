//! The updates of a record that a run works on. A run holds a lease on its record: the attributes `lease_owner` and
//! `lease_until`. Every write of a run is conditional on that lease, so a run that has lost it cannot change the record.
//!
//! The functions take an update of the record's item, so that they serve every table.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;

use super::item::{Item, number, text};
use super::update::Set;
use super::{StoreError, if_condition_held};
use crate::time::Timestamp;

/// The duration of a lease. It is several times the timeout of one request
/// ([`crate::setup::ATTEMPT_TIMEOUT`]).
pub const LEASE: Duration = Duration::from_mins(1);

/// The result of claiming a record: a batch or an export.
#[derive(Debug)]
pub enum Claim<T> {
    /// The run holds the lease.
    Taken(Box<T>),
    /// Another run holds the lease.
    Held,
    /// The record has ended.
    Ended,
    /// The record does not exist.
    Unknown,
}

/// Why a write of a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The condition on the lease failed: another run holds it.
    #[error("the lease was lost to another run")]
    Lost,
    /// The DynamoDB request failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Removes the lease.
const WITHOUT_LEASE: &str = " REMOVE lease_owner, lease_until";

/// A record as it was read, before a run claims it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    /// Its status.
    pub(super) status: &'static str,
    /// The number of its runs.
    pub(super) attempts: u32,
}

fn lease_until(now: Timestamp) -> i64 {
    now.plus_millis(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
        .millis()
}

/// Makes the update of `set`, and gives the lease to `owner`. Returns the new item, or `None` if another run holds the
/// lease or the record is no longer as it was read.
pub(super) async fn claim(
    update: UpdateItemFluentBuilder,
    mut set: Set,
    before: Before,
    owner: &str,
    now: Timestamp,
) -> Result<Option<Item>, StoreError> {
    set.value("lease_owner", "lease_owner", &owner)?
        .value("lease_until", "lease_until", &lease_until(now))?
        .value("attempts", "attempts", &(before.attempts + 1))?
        .value("updated_at", "updated_at", &now)?;
    let operation = set.operation;
    let result = set
        .apply(update)
        .condition_expression(
            "#status = :was AND attempts = :attempts_was \
             AND (attribute_not_exists(lease_until) OR lease_until < :now)",
        )
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":was", text(before.status))
        .expression_attribute_values(":attempts_was", number(before.attempts))
        .expression_attribute_values(":now", number(now.millis()))
        .return_values(ReturnValue::AllNew)
        .send()
        .await;
    let held = if_condition_held(operation, result)?;
    Ok(held.map(|answer| answer.attributes.unwrap_or_default()))
}

/// Makes the update of `set`, and renews the lease. `stalled` is 0 once the run has made progress. Returns the new item.
pub(super) async fn save(
    update: UpdateItemFluentBuilder,
    mut set: Set,
    owner: &str,
    stalled: u32,
    now: Timestamp,
) -> Result<Item, LeaseError> {
    set.value("lease_until", "lease_until", &lease_until(now))?
        .value("stalled", "stalled", &stalled)?
        .value("updated_at", "updated_at", &now)?;
    // A save that timed out and arrives late must not undo a later one.
    let in_order = " AND lease_until <= :lease_until";
    update_as(update, owner, set, "", in_order).await
}

/// Releases the lease for the next run. `stalled` counts the runs in a row, including this one, that ended in an error
/// without progress.
pub(super) async fn release(
    update: UpdateItemFluentBuilder,
    mut set: Set,
    owner: &str,
    stalled: u32,
    now: Timestamp,
) -> Result<(), LeaseError> {
    set.value("stalled", "stalled", &stalled)?
        .value("updated_at", "updated_at", &now)?;
    update_as(update, owner, set, WITHOUT_LEASE, "").await?;
    Ok(())
}

/// Makes the update of `set`, the final state of the record, and releases the lease.
pub(super) async fn end(
    update: UpdateItemFluentBuilder,
    mut set: Set,
    owner: &str,
    now: Timestamp,
) -> Result<(), LeaseError> {
    set.value("finished_at", "finished_at", &now)?
        .value("updated_at", "updated_at", &now)?;
    update_as(update, owner, set, WITHOUT_LEASE, "").await?;
    Ok(())
}

/// Releases every lease of a table whose partition key is `key`. Only the local stack uses it, when it starts and no run is
/// active.
pub(super) async fn release_all(client: &Client, table: &str, key: &str) -> Result<(), StoreError> {
    let held = client
        .scan()
        .table_name(table)
        .filter_expression("attribute_exists(lease_until)")
        .projection_expression(key)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .map_err(|error| StoreError::sdk("Scan of leases", error))?;
    for key in held {
        client
            .update_item()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(WITHOUT_LEASE.trim_start())
            .send()
            .await
            .map_err(|error| StoreError::sdk("UpdateItem of a lease", error))?;
    }
    Ok(())
}

/// Makes an update under the condition that `owner` holds the lease and `condition` holds. Returns the new item.
async fn update_as(
    update: UpdateItemFluentBuilder,
    owner: &str,
    set: Set,
    remove: &str,
    condition: &str,
) -> Result<Item, LeaseError> {
    let operation = set.operation;
    let result = set
        .apply_with(update, remove)
        .condition_expression(format!("lease_owner = :owner{condition}"))
        .expression_attribute_values(":owner", text(owner))
        .return_values(ReturnValue::AllNew)
        .send()
        .await;
    if_condition_held(operation, result)?
        .map(|answer| answer.attributes.unwrap_or_default())
        .ok_or(LeaseError::Lost)
}
