//! The batches table: the operations of ingest runs. A run holds a [lease](super::leased) on its batch.

use super::batches::{Batches, read};
use super::item::text;
use super::leased::{self, Before, Claim, LeaseError};
use super::update::Set;
use super::{StoreError, if_condition_held};
use crate::batch::{Batch, BatchId, BatchProblem, Checkpoint, LateUploads, Status, expiry_of};
use crate::time::Timestamp;

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
    ) -> Result<Claim<Batch>, StoreError> {
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
        set.value("#status", "status", &status)?;
        // The first run records which object is the batch's file; later runs compare theirs with it.
        if before.started_at.is_none() {
            // A batch that applies a dry run has the time of the dry run's upload.
            let uploaded_at = before.uploaded_at.unwrap_or(claimant.uploaded_at);
            set.value("started_at", "started_at", &now)?
                .value("uploaded_at", "uploaded_at", &uploaded_at)?
                .value("etag", "etag", &claimant.etag)?
                .value("bytes_total", "bytes_total", &claimant.bytes)?;
        }
        let (attempts, owner) = (before.attempts, &claimant.owner);
        let status = before.status.name();
        let before = Before { status, attempts };
        if let Some(item) = leased::claim(self.update(id), set, before, owner, now).await? {
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
        set.value("checkpoint", "checkpoint", checkpoint)?;
        let item = leased::save(self.update(id), set, owner, stalled, now).await?;
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
        let set = Set::new("UpdateItem releasing a batch");
        leased::release(self.update(id), set, owner, stalled, now).await
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
            .value("expires_at", "expires_at", &expiry_of(now))?;
        if let Some(problem) = &final_state.problem {
            set.value("problem", "problem", &problem.readable())?;
        }
        leased::end(self.update(id), set, owner, now).await
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
        leased::release_all(&self.client, &self.table, "batch_id").await
    }
}
