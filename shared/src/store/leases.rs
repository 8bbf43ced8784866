//! The batches table: the operations of ingest runs. A run holds a lease on its batch. Every write of
//! a run is conditional on that lease, so a run that has lost it cannot change the record.

use std::time::Duration;

use aws_sdk_dynamodb::types::ReturnValue;

use super::batches::{Batches, read};
use super::item::{Item, number, text};
use super::update::Set;
use super::{StoreError, if_condition_held};
use crate::batch::{Batch, BatchId, BatchProblem, Checkpoint, LateUploads, Status, expiry_of};
use crate::time::Timestamp;

/// The duration of a lease. It is several times the timeout of one request
/// ([`crate::setup::ATTEMPT_TIMEOUT`]).
pub const LEASE: Duration = Duration::from_mins(1);

/// The result of claiming a batch.
#[derive(Debug)]
pub enum Claim {
    /// The run holds the lease.
    Taken(Box<Batch>),
    /// Another run holds the lease.
    Held,
    /// The batch has ended.
    Ended,
    /// The batch does not exist.
    Unknown,
}

/// What a run provides when it claims a batch.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// A unique name of the run.
    pub owner: String,
    /// When S3 reported the upload complete.
    pub uploaded_at: Timestamp,
    /// The object's size in bytes.
    pub bytes: u64,
    /// The object's ETag.
    pub etag: String,
}

/// The state that a batch ends with.
#[derive(Debug, Clone)]
pub struct FinalState {
    /// A status that has ended.
    pub status: Status,
    /// Whether there is a report.
    pub has_report: bool,
    /// Whether there is a report as a workbook too.
    pub has_workbook: bool,
    /// Whether there is a report of changes.
    pub has_changes: bool,
    /// Why it failed.
    pub problem: Option<BatchProblem>,
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

fn lease_until(now: Timestamp) -> i64 {
    now.plus_millis(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
        .millis()
}

impl Batches {
    /// Claims a batch for a run, unless another run holds the lease or the batch has ended.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn claim(
        &self,
        id: &BatchId,
        claimant: &Claimant,
        now: Timestamp,
    ) -> Result<Claim, StoreError> {
        let Some(before) = self.get(id).await? else {
            return Ok(Claim::Unknown);
        };
        if before.status.has_ended() {
            return Ok(Claim::Ended);
        }
        let status = match before.status {
            Status::Cancelling => Status::Cancelling,
            _ => Status::Processing,
        };
        let mut set = Set::new("UpdateItem claiming a batch");
        set.value("#status", "status", &status)?
            .value("lease_owner", "lease_owner", &claimant.owner)?
            .value("lease_until", "lease_until", &lease_until(now))?
            .value("attempts", "attempts", &(before.attempts + 1))?
            .value("updated_at", "updated_at", &now)?;
        // The first run records which object is the batch's file; later runs compare theirs with it.
        if before.started_at.is_none() {
            // A batch that applies a dry run has the time of the dry run's upload.
            let uploaded_at = before.uploaded_at.unwrap_or(claimant.uploaded_at);
            set.value("started_at", "started_at", &now)?
                .value("uploaded_at", "uploaded_at", &uploaded_at)?
                .value("etag", "etag", &claimant.etag)?
                .value("bytes_total", "bytes_total", &claimant.bytes)?;
        }
        let result = set
            .apply(self.update(id))
            .condition_expression(
                "#status = :was AND attempts = :attempts_was \
                 AND (attribute_not_exists(lease_until) OR lease_until < :now)",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":was", text(before.status.name()))
            .expression_attribute_values(":attempts_was", number(before.attempts))
            .expression_attribute_values(":now", number(now.millis()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        if let Some(answer) = if_condition_held("UpdateItem claiming a batch", result)? {
            let item = answer.attributes.unwrap_or_default();
            return Ok(Claim::Taken(Box::new(read("claiming a batch", item)?)));
        }
        // A retry by the SDK, after a lost response, finds its own claim.
        match self.get(id).await? {
            Some(batch) if batch.lease_owner.as_ref() == Some(&claimant.owner) => {
                Ok(Claim::Taken(Box::new(batch)))
            }
            _ => Ok(Claim::Held),
        }
    }

    /// Saves the checkpoint and renews the lease. `stalled` is 0 once the run has made progress.
    /// Returns the stored status, which may be `cancelling`: a checkpoint never overwrites it.
    ///
    /// # Errors
    /// Returns [`LeaseError::Lost`] if another run holds the lease.
    pub async fn save(
        &self,
        id: &BatchId,
        owner: &str,
        checkpoint: &Checkpoint,
        stalled: u32,
        now: Timestamp,
    ) -> Result<Status, LeaseError> {
        let mut set = Set::new("UpdateItem saving a checkpoint");
        set.value("checkpoint", "checkpoint", checkpoint)?
            .value("lease_until", "lease_until", &lease_until(now))?
            .value("stalled", "stalled", &stalled)?
            .value("updated_at", "updated_at", &now)?;
        // A save that timed out and arrives late must not undo a later one.
        let in_order = " AND lease_until <= :lease_until";
        let item = self.update_as(id, owner, set, "", in_order).await?;
        Ok(read("saving a checkpoint", item)?.status)
    }

    /// Releases the lease for the next run. `stalled` counts the runs in a row, including this one,
    /// that ended in an error without progress.
    ///
    /// # Errors
    /// Returns [`LeaseError::Lost`] if another run holds the lease.
    pub async fn release(
        &self,
        id: &BatchId,
        owner: &str,
        stalled: u32,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let mut set = Set::new("UpdateItem releasing a batch");
        set.value("stalled", "stalled", &stalled)?
            .value("updated_at", "updated_at", &now)?;
        self.update_as(id, owner, set, " REMOVE lease_owner, lease_until", "")
            .await?;
        Ok(())
    }

    /// Ends a batch: saves its final state and counters, and releases the lease.
    ///
    /// # Errors
    /// Returns [`LeaseError::Lost`] if another run holds the lease.
    pub async fn end(
        &self,
        id: &BatchId,
        owner: &str,
        checkpoint: &Checkpoint,
        final_state: &FinalState,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let mut set = Set::new("UpdateItem ending a batch");
        set.value("#status", "status", &final_state.status)?
            .value("checkpoint", "checkpoint", checkpoint)?
            .value("has_report", "has_report", &final_state.has_report)?
            .value("has_workbook", "has_workbook", &final_state.has_workbook)?
            .value("has_changes", "has_changes", &final_state.has_changes)?
            .value("finished_at", "finished_at", &now)?
            .value("updated_at", "updated_at", &now)?
            .value("expires_at", "expires_at", &expiry_of(now))?;
        if let Some(problem) = &final_state.problem {
            set.value("problem", "problem", problem)?;
        }
        self.update_as(id, owner, set, " REMOVE lease_owner, lease_until", "")
            .await?;
        Ok(())
    }

    /// Records a file that arrived at `at`, after the batch had ended. Returns `false` if it was recorded before.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn add_late_upload(
        &self,
        id: &BatchId,
        at: Timestamp,
        bytes: u64,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "UpdateItem recording a late upload";
        let Some(batch) = self.get(id).await? else {
            return Ok(false);
        };
        let earlier = batch.late_uploads.as_ref();
        if earlier.is_some_and(|earlier| earlier.last_at >= at) {
            return Ok(false);
        }
        let late = LateUploads {
            count: earlier.map_or(0, |earlier| earlier.count) + 1,
            last_at: at,
            bytes,
        };
        let mut set = Set::new(OPERATION);
        set.value("late_uploads", "late_uploads", &late)?;
        let update = set.apply(self.update(id));
        let result = match earlier {
            None => update.condition_expression("attribute_not_exists(late_uploads)"),
            Some(earlier) => update
                .condition_expression("late_uploads.last_at = :last_at")
                .expression_attribute_values(":last_at", text(&earlier.last_at.to_string())),
        }
        .send()
        .await;
        Ok(if_condition_held(OPERATION, result)?.is_some())
    }

    /// Releases every lease. Only the local stack uses it, when it starts and no run is active.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn release_all(&self) -> Result<(), StoreError> {
        let held = self
            .client
            .scan()
            .table_name(&self.table)
            .filter_expression("attribute_exists(lease_until)")
            .projection_expression("batch_id")
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(|error| StoreError::sdk("Scan of leases", error))?;
        for key in held {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(key))
                .update_expression("REMOVE lease_owner, lease_until")
                .send()
                .await
                .map_err(|error| StoreError::sdk("UpdateItem of a lease", error))?;
        }
        Ok(())
    }

    /// Makes an update under the condition that `owner` holds the lease and `condition` holds.
    /// Returns the new item.
    async fn update_as(
        &self,
        id: &BatchId,
        owner: &str,
        set: Set,
        remove: &str,
        condition: &str,
    ) -> Result<Item, LeaseError> {
        let operation = set.operation;
        let result = set
            .apply_with(self.update(id), remove)
            .condition_expression(format!("lease_owner = :owner{condition}"))
            .expression_attribute_values(":owner", text(owner))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        if_condition_held(operation, result)?
            .map(|answer| answer.attributes.unwrap_or_default())
            .ok_or(LeaseError::Lost)
    }
}
