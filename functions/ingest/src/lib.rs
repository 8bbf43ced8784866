//! `ingest`: streams an uploaded file into the members table.
//!
//! An event names an upload. A `run` claims the batch's lease and processes the file in
//! windows: bytes → `decode` → `parse` → `row` → `reader` → `lookup` → `compare` → checkpoint →
//! `table`. An unfinished upload is returned to the queue as a batch item failure, and the next
//! run continues from the checkpoint.

use std::time::Instant;

use mpulse_shared::batch::{Batch, BatchId};
use mpulse_shared::run::{
    self as shared_run, CreatedObject, Guard, Point, RunEnd, RunError, Worker,
};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::events::Event;
use mpulse_shared::store::leased::Claim;
use mpulse_shared::store::leases::Claimant;
use mpulse_shared::time::Timestamp;
use tracing::Instrument;

use report::Kind;
use resources::Resources;
use run::Run;

pub use mpulse_shared::run::Service;
pub use tuning::Tuning;

mod account_keys;
mod change_log;
mod change_report;
mod compare;
mod decode;
mod file_keys;
#[doc(hidden)]
pub mod fuzz;
mod index;
mod layout;
mod lease;
mod limiter;
mod lookup;
mod metrics_reporter;
mod parse;
mod pipeline;
mod reader;
mod report;
mod report_form;
mod resources;
mod revert;
mod row;
mod run;
mod seen;
mod source;
mod stop_early;
mod suspicion;
mod table;
mod tuning;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    service_tuned(setup, Tuning::default())
}

/// Creates the service with other sizes and limits than the deployed ones.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service_tuned(setup: &Setup, tuning: Tuning) -> Result<Service, SetupError> {
    let setup = &setup.with_retries(shared_run::ATTEMPTS, tuning.first_wait);
    let resources = Resources::from_setup(setup, tuning)?;
    Ok(shared_run::service(Ingest { resources }))
}

/// The function.
struct Ingest {
    resources: Resources,
}

impl Worker for Ingest {
    async fn work(&self, upload: &CreatedObject, deadline: Instant) -> Result<RunEnd, RunError> {
        let Some(batch_id) = BatchId::from_upload_key(&upload.object.key) else {
            tracing::warn!(
                key = upload.object.key,
                "the object belongs to no batch; ignored"
            );
            return Ok(RunEnd::Ended);
        };
        let owner = ulid::Ulid::generate().to_string();
        let taken = Guard::now();
        let claimant = Claimant {
            owner: owner.clone(),
            uploaded_at: upload.at,
            bytes: upload.object.size,
            etag: upload.object.etag.clone(),
        };
        let claim = self
            .resources
            .batches
            .claim(&batch_id, &claimant, Timestamp::now())
            .await?;
        let (guard, stop_at) = Guard::until(deadline, taken, batch_id.as_str());
        let has_ended_before = match claim {
            Claim::Taken(batch) => {
                guard.reached(Point::Claimed).await;
                let object = upload.object.clone();
                let request_id = batch.request_id.as_deref().unwrap_or_default();
                let span = tracing::info_span!("run", %batch_id, request_id);
                let run = Run::new(
                    &self.resources,
                    *batch,
                    object,
                    owner,
                    guard.clone(),
                    stop_at,
                );
                if run.work().instrument(span).await? == RunEnd::HandBack {
                    guard.reached(Point::Released).await;
                    return Ok(RunEnd::HandBack);
                }
                guard.reached(Point::Ended).await;
                false
            }
            Claim::Held => {
                tracing::info!(%batch_id, "another run holds the lease");
                return Ok(RunEnd::HandBack);
            }
            Claim::Ended => true,
            Claim::Unknown => {
                tracing::warn!(%batch_id, "the batch of the upload does not exist; ignored");
                return Ok(RunEnd::Ended);
            }
        };
        let ended = self.resources.batches.get(&batch_id).await?;
        let arrived_after = |batch: &Batch| batch.finished_at < Some(upload.at);
        let is_late = has_ended_before && ended.as_ref().is_some_and(arrived_after);
        if is_late {
            self.note_late_upload(&batch_id, upload).await?;
        }
        let sent = match &ended {
            Some(batch) if !is_late => {
                let event = Event::batch_ended(batch);
                let sent = self.resources.events.send(event).await;
                guard.reached(Point::EventSent).await;
                sent
            }
            _ => Ok(()),
        };
        self.clean_up(upload, &batch_id, ended.as_ref(), &guard)
            .await?;
        // If the event was not sent, the next delivery of the message sends it.
        sent?;
        guard.reached(Point::Finished).await;
        Ok(RunEnd::Ended)
    }

    fn count_failed_run(&self) {
        self.resources.count_failed_run();
    }
}

impl Ingest {
    /// Deletes the upload and the parts of the reports of a batch whose end is stored.
    async fn clean_up(
        &self,
        upload: &CreatedObject,
        batch_id: &BatchId,
        ended: Option<&Batch>,
        guard: &Guard,
    ) -> Result<(), StoreError> {
        let is_kept = |batch: &Batch| batch.keeps_upload(&upload.object.etag);
        if !ended.is_some_and(is_kept) {
            self.delete_upload(upload).await?;
            guard.reached(Point::InputDeleted).await;
        }
        // The parts of a report that could not be joined are the only copy of its lines.
        for (kind, is_lost) in [
            (Kind::Rejects, ended.is_some_and(Batch::lacks_report)),
            (Kind::Changes, ended.is_some_and(Batch::lacks_changes)),
        ] {
            if !is_lost {
                let bucket = &upload.object.bucket;
                let report = self.resources.report(bucket, batch_id, kind, guard.clone());
                report.delete_parts().await?;
                guard.reached(Point::PartsDeleted).await;
            }
        }
        Ok(())
    }

    /// Records a file that arrived after the end of its batch, as a warning. It is deleted unread.
    async fn note_late_upload(
        &self,
        id: &BatchId,
        upload: &CreatedObject,
    ) -> Result<(), StoreError> {
        let bytes = upload.object.size;
        let batches = &self.resources.batches;
        if batches.add_late_upload(id, upload.at, bytes).await? {
            tracing::warn!(
                batch_id = %id,
                bytes,
                "a file arrived after the end of its batch; deleted unread"
            );
        }
        Ok(())
    }

    async fn delete_upload(&self, upload: &CreatedObject) -> Result<(), StoreError> {
        self.resources
            .s3
            .delete_object()
            .bucket(&upload.object.bucket)
            .key(&upload.object.key)
            .send()
            .await
            .map_err(|error| StoreError::sdk("DeleteObject of the upload", error))?;
        Ok(())
    }
}
