//! The exports table: the operations of clients, and those of export runs, which hold a [lease](super::leased).

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use serde_dynamo::{from_item, to_item};

use super::StoreError;
use super::item::{Item, text};
use super::leased::{self, Before, Claim, LeaseError};
use super::listing::{Listed, Listing};
use super::update::Set;
use crate::batch::BatchProblem;
use crate::export::{Checkpoint, Export, ExportId, LISTING, Status, expiry_of};
use crate::scope::Scope;
use crate::setup::{FromSetup, Setup, SetupError};
use crate::time::Timestamp;

pub use super::listing::MAX_PAGE;

/// The name of the request for the list, in errors.
const QUERY: &str = "Query of exports";

/// The table of exports.
#[derive(Debug, Clone)]
pub struct Exports {
    client: Client,
    table: String,
}

impl FromSetup for Exports {
    /// Returns the table that `EXPORTS_TABLE` names.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.dynamodb()?,
            table: setup.required("EXPORTS_TABLE")?.to_owned(),
        })
    }
}

impl Exports {
    /// Stores a new export.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn create(&self, export: &Export) -> Result<(), StoreError> {
        const OPERATION: &str = "PutItem of an export";
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(
                to_item(export).map_err(|error| StoreError::unreadable(OPERATION, error))?,
            ))
            .condition_expression("attribute_not_exists(export_id)")
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        Ok(())
    }

    /// Returns the export of an id, with a consistent read.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn get(&self, id: &ExportId) -> Result<Option<Export>, StoreError> {
        const OPERATION: &str = "GetItem of an export";
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("export_id", text(id.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        answer
            .item
            .map(|item| Export::read(OPERATION, item))
            .transpose()
    }

    /// Returns exports of the scope's accounts and older than `before` (or all), newest first, and the position of the next
    /// page, if there is one. `limit` is at most [`MAX_PAGE`]. If many exports are outside the scope, a page may be shorter,
    /// even empty, and still have a next page.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn list(
        &self,
        scope: &Scope,
        limit: usize,
        before: Option<&ExportId>,
    ) -> Result<(Vec<Export>, Option<ExportId>), StoreError> {
        let is_visible = |export: &Export| scope.covers(&export.account_id);
        let before = before.map(ExportId::as_str);
        let (exports, next) = self.listing().newest(is_visible, limit, before).await?;
        let next = next.map(|id| {
            id.parse()
                .map_err(|error| StoreError::unreadable(QUERY, error))
        });
        Ok((exports, next.transpose()?))
    }

    /// Claims an export for a run named `owner`, unless another run holds the lease or the export has ended.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn claim(
        &self,
        id: &ExportId,
        owner: &str,
        now: Timestamp,
    ) -> Result<Claim<Export>, StoreError> {
        const OPERATION: &str = "UpdateItem claiming an export";
        let Some(export) = self.get(id).await? else {
            return Ok(Claim::Unknown);
        };
        // One that has expired does not start late: clients do not wait for it any more.
        if export.status_at(now).has_ended() {
            return Ok(Claim::Ended);
        }
        let mut set = Set::new(OPERATION);
        set.value("#status", "status", &Status::Processing)?;
        if export.started_at.is_none() {
            set.value("started_at", "started_at", &now)?;
        }
        let before = Before {
            status: export.status.name(),
            attempts: export.attempts,
        };
        if let Some(item) = leased::claim(self.update(id), set, before, owner, now).await? {
            return Ok(Claim::Taken(Box::new(Export::read(OPERATION, item)?)));
        }
        // A retry by the SDK, after a lost response, finds its own claim.
        match self.get(id).await? {
            Some(export) if export.lease_owner.as_deref() == Some(owner) => {
                Ok(Claim::Taken(Box::new(export)))
            }
            _ => Ok(Claim::Held),
        }
    }

    /// Saves the checkpoint and renews the lease. `stalled` is 0 once the run has made progress.
    ///
    /// # Errors
    /// Returns [`LeaseError::Lost`] if another run holds the lease.
    pub async fn save(
        &self,
        id: &ExportId,
        owner: &str,
        checkpoint: &Checkpoint,
        stalled: u32,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let mut set = Set::new("UpdateItem saving an export");
        set.value("checkpoint", "checkpoint", checkpoint)?;
        leased::save(self.update(id), set, owner, stalled, now).await?;
        Ok(())
    }

    /// Releases the lease for the next run. `stalled` counts the runs in a row, including this one, that ended in an error
    /// without progress.
    ///
    /// # Errors
    /// Returns [`LeaseError::Lost`] if another run holds the lease.
    pub async fn release(
        &self,
        id: &ExportId,
        owner: &str,
        stalled: u32,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let set = Set::new("UpdateItem releasing an export");
        leased::release(self.update(id), set, owner, stalled, now).await
    }

    /// Ends an export: it has failed if there is a problem. Only the counters of the checkpoint are kept, because the last
    /// client member id is personal data that is not needed any more.
    ///
    /// # Errors
    /// Returns [`LeaseError::Lost`] if another run holds the lease.
    pub async fn end(
        &self,
        id: &ExportId,
        owner: &str,
        checkpoint: &Checkpoint,
        problem: Option<&BatchProblem>,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let status = match problem {
            None => Status::Completed,
            Some(_) => Status::Failed,
        };
        let counters = Checkpoint {
            last: None,
            upload_id: None,
            ..checkpoint.clone()
        };
        let mut set = Set::new("UpdateItem ending an export");
        set.value("#status", "status", &status)?
            .value("checkpoint", "checkpoint", &counters)?
            .value("expires_at", "expires_at", &expiry_of(now))?;
        if let Some(problem) = problem {
            set.value("problem", "problem", problem)?;
        }
        leased::end(self.update(id), set, owner, now).await
    }

    /// Releases every lease. Only the local stack uses it, when it starts and no run is active.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn release_all(&self) -> Result<(), StoreError> {
        leased::release_all(&self.client, &self.table, "export_id").await
    }

    fn listing(&self) -> Listing<'_> {
        Listing {
            client: &self.client,
            table: &self.table,
            key: "export_id",
            partition: LISTING,
            query: QUERY,
            get: "BatchGetItem of exports",
        }
    }

    fn update(&self, id: &ExportId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("export_id", text(id.as_str()))
    }
}

impl Listed for Export {
    fn id(&self) -> &str {
        self.export_id.as_str()
    }

    fn read(operation: &'static str, item: Item) -> Result<Self, StoreError> {
        from_item(item).map_err(|error| StoreError::unreadable(operation, error))
    }
}
