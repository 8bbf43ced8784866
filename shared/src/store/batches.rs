//! The batches table: what clients ask of a batch, and what a run of ingest does to it.
//!
//! A run holds a lease. Every write of a run is conditional on that lease, so a run that
//! lost it can't change the record any more.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValue};
use serde::Serialize;
use serde_dynamo::{from_item, to_attribute_value, to_item};

use super::members::Item;
use super::{StoreError, if_condition_held};
use crate::batch::{
    Batch, BatchId, BatchProblem, Checkpoint, LISTING, MAX_CHILDREN, Status, forget_at,
};
use crate::scope::Scope;
use crate::setup::{Setup, SetupError};
use crate::time::Timestamp;

/// The index that lists batches by creation.
const NEWEST_INDEX: &str = "newest-index";

/// The most keys of one BatchGetItem (an AWS limit); pages of batches are no longer.
pub const MAX_PAGE: usize = 100;

/// The most pages of all batches that are looked through for one page of a scope.
const MOST_PAGES: usize = 10;

/// The wait before keys that DynamoDB left out are asked for again.
const UNPROCESSED_WAIT: Duration = Duration::from_millis(50);

/// How long a lease lasts after its last renewal. Several times what one request may
/// take ([`crate::setup::ATTEMPT_TIMEOUT`]).
pub const LEASE: Duration = Duration::from_mins(1);

/// What a run that asks for a batch finds.
#[derive(Debug)]
pub enum Claim {
    /// It is the run's now.
    Taken(Box<Batch>),
    /// Another run has it.
    Held,
    /// It has ended.
    Ended,
    /// There is no such batch.
    Unknown,
}

/// What a run says when it takes a batch.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// A name that no other run has.
    pub owner: String,
    /// When S3 reported the upload complete.
    pub uploaded_at: Timestamp,
    /// The object's size in bytes.
    pub bytes: u64,
    /// The object's ETag.
    pub etag: String,
}

/// How a batch ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// A status that has ended.
    pub status: Status,
    /// Whether there is a report.
    pub has_report: bool,
    /// What went wrong.
    pub problem: Option<BatchProblem>,
}

/// The run's lease is another's now: nothing it does may land any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The condition on the lease failed.
    #[error("the lease was lost to another run")]
    Lost,
    /// DynamoDB couldn't be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The table of batches.
#[derive(Debug, Clone)]
pub struct Batches {
    client: Client,
    table: String,
}

impl Batches {
    /// The table that `BATCHES_TABLE` names.
    ///
    /// # Errors
    /// Where a setting is missing.
    pub fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.dynamodb()?,
            table: setup.required("BATCHES_TABLE")?.to_owned(),
        })
    }

    /// Stores a new batch.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn create(&self, batch: &Batch) -> Result<(), StoreError> {
        const OPERATION: &str = "PutItem of a batch";
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(
                to_item(batch).map_err(|error| StoreError::unreadable(OPERATION, error))?,
            ))
            .condition_expression("attribute_not_exists(batch_id)")
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        Ok(())
    }

    /// The batch of that id, as of now.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn get(&self, id: &BatchId) -> Result<Option<Batch>, StoreError> {
        const OPERATION: &str = "GetItem of a batch";
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("batch_id", AttributeValue::S(id.to_string()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        answer.item.map(|item| read(OPERATION, item)).transpose()
    }

    /// Batches within the scope and older than `before` (or all), newest first, and the batch
    /// that the next page comes after, if there is one. `limit` is at most [`MAX_PAGE`]. Where
    /// many batches are beyond the scope, a page may be shorter, even empty, and have a next.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn list(
        &self,
        scope: &Scope,
        limit: usize,
        before: Option<&BatchId>,
    ) -> Result<(Vec<Batch>, Option<BatchId>), StoreError> {
        let limit = limit.min(MAX_PAGE);
        let mut found = Vec::new();
        let mut at = before.cloned();
        for _ in 0..MOST_PAGES {
            let (batches, next) = self.page(limit, at.as_ref()).await?;
            found.extend(
                batches
                    .into_iter()
                    .filter(|batch| scope.includes(&batch.accounts)),
            );
            if found.len() > limit {
                found.truncate(limit);
                at = found.last().map(|batch: &Batch| batch.batch_id.clone());
                break;
            }
            at = next;
            if found.len() == limit || at.is_none() {
                break;
            }
        }
        Ok((found, at))
    }

    /// A page of all batches, as [`Batches::list`] gives it.
    async fn page(
        &self,
        limit: usize,
        before: Option<&BatchId>,
    ) -> Result<(Vec<Batch>, Option<BatchId>), StoreError> {
        let start = before.map(|id| {
            Item::from([
                ("listing".to_owned(), AttributeValue::S(LISTING.to_owned())),
                ("batch_id".to_owned(), AttributeValue::S(id.to_string())),
            ])
        });
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(NEWEST_INDEX)
            .key_condition_expression("listing = :all")
            .expression_attribute_values(":all", AttributeValue::S(LISTING.to_owned()))
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| StoreError::sdk("Query of batches", error))?;
        let mut ids: Vec<BatchId> = Vec::new();
        for key in answer.items.unwrap_or_default() {
            if let Some(AttributeValue::S(id)) = key.get("batch_id") {
                ids.push(
                    id.parse()
                        .map_err(|error| StoreError::unreadable("Query of batches", error))?,
                );
            }
        }
        let more = ids.len() > limit;
        ids.truncate(limit);
        let mut batches = self.get_all(&ids).await?;
        batches.sort_by(|a, b| b.batch_id.cmp(&a.batch_id));
        // A batch that is forgotten may still be in the index for a moment: the page goes on
        // from the last id, not from the last batch found.
        Ok((batches, ids.pop().filter(|_| more)))
    }

    async fn get_all(&self, ids: &[BatchId]) -> Result<Vec<Batch>, StoreError> {
        const OPERATION: &str = "BatchGetItem of batches";
        let mut keys: Vec<Item> = ids
            .iter()
            .map(|id| Item::from([("batch_id".to_owned(), AttributeValue::S(id.to_string()))]))
            .collect();
        let mut batches = Vec::with_capacity(ids.len());
        while !keys.is_empty() {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut keys)))
                .build()
                .map_err(|error| StoreError::unreadable(OPERATION, error))?;
            let mut answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, request)
                .send()
                .await
                .map_err(|error| StoreError::sdk(OPERATION, error))?;
            for item in answer
                .responses
                .as_mut()
                .and_then(|tables| tables.remove(&self.table))
                .unwrap_or_default()
            {
                batches.push(read(OPERATION, item)?);
            }
            if let Some(left) = answer
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(&self.table))
            {
                keys = left.keys;
                tokio::time::sleep(UNPROCESSED_WAIT).await;
            }
        }
        Ok(batches)
    }

    /// Notes in a batch's record that `child` names it as its parent. Gives `false` where it
    /// is forgotten, or has as many children as it may.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn add_child(&self, parent: &BatchId, child: &BatchId) -> Result<bool, StoreError> {
        let result = self
            .update(parent)
            // To a set, so that a retry adds nothing; and to one attribute, which no run of
            // the parent's writes.
            .update_expression("ADD child_batch_ids :children")
            .condition_expression(
                "attribute_exists(batch_id) AND (attribute_not_exists(child_batch_ids) \
                 OR size(child_batch_ids) < :most OR contains(child_batch_ids, :child))",
            )
            .expression_attribute_values(":children", AttributeValue::Ss(vec![child.to_string()]))
            .expression_attribute_values(":child", text(child.as_str()))
            .expression_attribute_values(":most", AttributeValue::N(MAX_CHILDREN.to_string()))
            .send()
            .await;
        Ok(if_condition_held("UpdateItem adding a child", result)?.is_some())
    }

    /// Moves a batch to `to` if it is still in `from`. Gives `false` where it has moved on.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn cancel(
        &self,
        id: &BatchId,
        from: Status,
        to: Status,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut set = Set::new("UpdateItem cancelling a batch");
        set.value("#status", "status", &to)?
            .value("updated_at", "updated_at", &now)?;
        if to.has_ended() {
            set.value("finished_at", "finished_at", &now)?.value(
                "expires_at",
                "expires_at",
                &forget_at(now),
            )?;
        }
        let result = set
            .on(self.update(id))
            .condition_expression("#status = :from")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":from", text(from.name()))
            .send()
            .await;
        Ok(if_condition_held("UpdateItem cancelling a batch", result)?.is_some())
    }

    /// Takes a batch for a run, unless another run has it or it has ended.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
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
        // The first run decides which object the batch is; later ones hold theirs against it.
        if before.started_at.is_none() {
            set.value("started_at", "started_at", &now)?
                .value("uploaded_at", "uploaded_at", &claimant.uploaded_at)?
                .value("etag", "etag", &claimant.etag)?
                .value("bytes_total", "bytes_total", &claimant.bytes)?;
        }
        let result = set
            .on(self.update(id))
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
        // A retry by the SDK, after an answer that was lost, finds its own claim.
        match self.get(id).await? {
            Some(batch) if batch.lease_owner.as_ref() == Some(&claimant.owner) => {
                Ok(Claim::Taken(Box::new(batch)))
            }
            _ => Ok(Claim::Held),
        }
    }

    /// Saves how far the run is, and renews its lease. `stalled` is 0 once the run has made
    /// progress. Gives the status now stored, which may be `cancelling`: a checkpoint never
    /// overwrites it.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] where the lease is another's.
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
        // A save that was given up and arrives late must not undo one that came after it.
        let in_order = " AND lease_until <= :lease_until";
        let item = self.update_as(id, owner, set, "", in_order).await?;
        Ok(read("saving a checkpoint", item)?.status)
    }

    /// Gives the lease back, for the next run. `stalled` counts the runs in a row, this one
    /// included, that ended in an error without progress.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] where the lease is another's.
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

    /// Writes a batch's end, with its last counters.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] where the lease is another's.
    pub async fn end(
        &self,
        id: &BatchId,
        owner: &str,
        checkpoint: &Checkpoint,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let mut set = Set::new("UpdateItem ending a batch");
        set.value("#status", "status", &ending.status)?
            .value("checkpoint", "checkpoint", checkpoint)?
            .value("has_report", "has_report", &ending.has_report)?
            .value("finished_at", "finished_at", &now)?
            .value("updated_at", "updated_at", &now)?
            .value("expires_at", "expires_at", &forget_at(now))?;
        if let Some(problem) = &ending.problem {
            set.value("problem", "problem", problem)?;
        }
        self.update_as(id, owner, set, " REMOVE lease_owner, lease_until", "")
            .await?;
        Ok(())
    }

    /// Takes every lease away. Only for a host that has just started and so knows that no
    /// run is alive: the local machine.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
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

    fn update(&self, id: &BatchId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("batch_id", AttributeValue::S(id.to_string()))
    }

    /// An update that only the owner of the lease can make, if `condition` holds as well;
    /// gives the whole new item.
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
            .on_with(self.update(id), remove)
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

/// The SET part of an update, gathered one attribute at a time.
struct Set {
    operation: &'static str,
    clauses: Vec<String>,
    values: Item,
    renamed: bool,
}

impl Set {
    fn new(operation: &'static str) -> Self {
        Self {
            operation,
            clauses: Vec::new(),
            values: Item::new(),
            renamed: false,
        }
    }

    /// Sets the attribute `path`, whose value is named after `name`. `#status` stands for
    /// `status`, a reserved word.
    fn value(
        &mut self,
        path: &str,
        name: &str,
        value: &impl Serialize,
    ) -> Result<&mut Self, StoreError> {
        let value = to_attribute_value(value)
            .map_err(|error| StoreError::unreadable(self.operation, error))?;
        self.renamed |= path == "#status";
        self.clauses.push(format!("{path} = :{name}"));
        self.values.insert(format!(":{name}"), value);
        Ok(self)
    }

    fn on(self, update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        self.on_with(update, "")
    }

    fn on_with(self, update: UpdateItemFluentBuilder, remove: &str) -> UpdateItemFluentBuilder {
        let mut update =
            update.update_expression(format!("SET {}{remove}", self.clauses.join(", ")));
        if self.renamed {
            update = update.expression_attribute_names("#status", "status");
        }
        for (name, value) in self.values {
            update = update.expression_attribute_values(name, value);
        }
        update
    }
}

fn read(operation: &'static str, item: Item) -> Result<Batch, StoreError> {
    from_item(item).map_err(|error| StoreError::unreadable(operation, error))
}

fn lease_until(now: Timestamp) -> i64 {
    now.plus_millis(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
        .millis()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: impl Into<i64>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}
