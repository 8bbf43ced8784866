//! The batches table: the operations of clients. Those of ingest runs are in
//! [`leases`](super::leases).

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use serde_dynamo::{from_item, to_item};

use super::item::{Item, text};
use super::update::Set;
use super::{StoreError, if_condition_held};
use crate::batch::{Batch, BatchId, LISTING, MAX_CHILDREN, Status, expiry_of};
use crate::scope::Scope;
use crate::setup::{FromSetup, Setup, SetupError};
use crate::time::Timestamp;

/// The index that lists batches by creation.
const NEWEST_INDEX: &str = "newest-index";

/// The maximum number of keys of one BatchGetItem (an AWS limit), and so the longest page of
/// batches.
pub const MAX_PAGE: usize = 100;

/// The maximum number of pages of all batches that are read for one page of a scope's batches.
const MAX_PAGES: usize = 10;

/// The wait before unprocessed keys are requested again.
const UNPROCESSED_WAIT: Duration = Duration::from_millis(50);

/// The table of batches.
#[derive(Debug, Clone)]
pub struct Batches {
    pub(super) client: Client,
    pub(super) table: String,
}

impl FromSetup for Batches {
    /// Returns the table that `BATCHES_TABLE` names.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.dynamodb()?,
            table: setup.required("BATCHES_TABLE")?.to_owned(),
        })
    }
}

impl Batches {
    /// Stores a new batch.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
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

    /// Returns the batch of an id, with a consistent read.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
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

    /// Returns batches within the scope and older than `before` (or all), newest first, and the
    /// position of the next page, if there is one. `limit` is at most [`MAX_PAGE`]. If many batches
    /// are outside the scope, a page may be shorter, even empty, and still have a next page.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn list(
        &self,
        scope: &Scope,
        limit: usize,
        before: Option<&BatchId>,
    ) -> Result<(Vec<Batch>, Option<BatchId>), StoreError> {
        let limit = limit.min(MAX_PAGE);
        let mut found = Vec::new();
        let mut at = before.cloned();
        for _ in 0..MAX_PAGES {
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

    /// Returns a page of all batches, like [`Batches::list`].
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
        let has_more = ids.len() > limit;
        ids.truncate(limit);
        let mut batches = self.get_all(&ids).await?;
        batches.sort_by(|a, b| b.batch_id.cmp(&a.batch_id));
        // A batch that DynamoDB has just deleted may still be in the index, so the next page begins
        // after the last id, not after the last batch found.
        Ok((batches, ids.pop().filter(|_| has_more)))
    }

    async fn get_all(&self, ids: &[BatchId]) -> Result<Vec<Batch>, StoreError> {
        const OPERATION: &str = "BatchGetItem of batches";
        let keys = ids.iter().map(|id| text(id.as_str())).collect();
        let items = self.items(OPERATION, keys, false).await?;
        items
            .into_iter()
            .map(|item| read(OPERATION, item))
            .collect()
    }

    /// Returns the items that exist among these keys, at most [`MAX_PAGE`].
    pub(super) async fn items(
        &self,
        operation: &'static str,
        keys: Vec<AttributeValue>,
        is_consistent: bool,
    ) -> Result<Vec<Item>, StoreError> {
        let mut keys: Vec<Item> = keys
            .into_iter()
            .map(|key| Item::from([("batch_id".to_owned(), key)]))
            .collect();
        let mut items = Vec::with_capacity(keys.len());
        while !keys.is_empty() {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut keys)))
                .consistent_read(is_consistent)
                .build()
                .map_err(|error| StoreError::unreadable(operation, error))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, request)
                .send()
                .await
                .map_err(|error| StoreError::sdk(operation, error))?;
            let found = answer
                .responses
                .and_then(|mut tables| tables.remove(&self.table));
            items.extend(found.unwrap_or_default());
            if let Some(unprocessed) = answer
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(&self.table))
            {
                keys = unprocessed.keys;
                tokio::time::sleep(UNPROCESSED_WAIT).await;
            }
        }
        Ok(items)
    }

    /// Adds `child` to the children of a batch. Returns `false` if the batch does not exist or has
    /// too many children.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn add_child(&self, parent: &BatchId, child: &BatchId) -> Result<bool, StoreError> {
        let result = self
            .update(parent)
            // A retry adds nothing to a set. The attribute is separate, so that no run of the parent
            // writes it.
            .update_expression("ADD child_batch_ids :children")
            .condition_expression(
                "attribute_exists(batch_id) AND (attribute_not_exists(child_batch_ids) \
                 OR size(child_batch_ids) < :max OR contains(child_batch_ids, :child))",
            )
            .expression_attribute_values(":children", AttributeValue::Ss(vec![child.to_string()]))
            .expression_attribute_values(":child", text(child.as_str()))
            .expression_attribute_values(":max", AttributeValue::N(MAX_CHILDREN.to_string()))
            .send()
            .await;
        Ok(if_condition_held("UpdateItem adding a child", result)?.is_some())
    }

    /// Records the batch that applies a dry run. Returns the one that applies it: another, if it was recorded before.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn set_applied_by(
        &self,
        dry_run: &BatchId,
        child: &BatchId,
    ) -> Result<Option<BatchId>, StoreError> {
        const OPERATION: &str = "UpdateItem of a dry run that is applied";
        let mut set = Set::new(OPERATION);
        set.value("applied_by", "applied_by", child)?;
        let result = set
            .apply(self.update(dry_run))
            .condition_expression("attribute_exists(batch_id) AND attribute_not_exists(applied_by)")
            .send()
            .await;
        if if_condition_held(OPERATION, result)?.is_some() {
            return Ok(Some(child.clone()));
        }
        Ok(self.get(dry_run).await?.and_then(|batch| batch.applied_by))
    }

    /// Moves a batch from status `from` to `to`. Returns `false` if its status is not `from`.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
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
                &expiry_of(now),
            )?;
        }
        let result = set
            .apply(self.update(id))
            .condition_expression("#status = :from")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":from", text(from.name()))
            .send()
            .await;
        Ok(if_condition_held("UpdateItem cancelling a batch", result)?.is_some())
    }

    pub(super) fn update(&self, id: &BatchId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("batch_id", AttributeValue::S(id.to_string()))
    }
}

pub(super) fn read(operation: &'static str, item: Item) -> Result<Batch, StoreError> {
    from_item(item).map_err(|error| StoreError::unreadable(operation, error))
}
