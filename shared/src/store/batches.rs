//! The batches table: the operations of clients. Those of ingest runs are in
//! [`leases`](super::leases).

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::{from_item, to_item};

use super::item::{Item, text};
use super::listing::{Listed, Listing};
use super::update::Set;
use super::{StoreError, if_condition_held};
use crate::batch::{Batch, BatchId, LISTING, MAX_CHILDREN, Status, expiry_of};
use crate::scope::Scope;
use crate::setup::{FromSetup, Setup, SetupError};
use crate::time::Timestamp;

pub use super::listing::MAX_PAGE;

/// The name of the request for the list, in errors.
const QUERY: &str = "Query of batches";

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
        let is_visible = |batch: &Batch| scope.includes(&batch.accounts);
        let before = before.map(BatchId::as_str);
        let (batches, next) = self.listing().newest(is_visible, limit, before).await?;
        let next = next.map(|id| {
            id.parse()
                .map_err(|error| StoreError::unreadable(QUERY, error))
        });
        Ok((batches, next.transpose()?))
    }

    /// Returns the list of batches.
    pub(super) fn listing(&self) -> Listing<'_> {
        Listing {
            client: &self.client,
            table: &self.table,
            key: "batch_id",
            partition: LISTING,
            query: QUERY,
            get: "BatchGetItem of batches",
        }
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

impl Listed for Batch {
    fn id(&self) -> &str {
        self.batch_id.as_str()
    }

    fn read(operation: &'static str, item: Item) -> Result<Self, StoreError> {
        read(operation, item)
    }
}

pub(super) fn read(operation: &'static str, item: Item) -> Result<Batch, StoreError> {
    from_item(item).map_err(|error| StoreError::unreadable(operation, error))
}
