//! `ingest`: streams an uploaded file into the members table.
//!
//! An event names an upload. A `run` claims the batch's lease and processes the file in
//! windows: bytes → `decode` → `parse` → `row` → `reader` → `lookup` → `compare` → checkpoint →
//! `table`. An unfinished upload is returned to the queue as a batch item failure, and the next
//! run continues from the checkpoint.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Context, Error, LambdaEvent};
use mpulse_shared::batch::{Batch, BatchId};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::events::Event;
use mpulse_shared::store::leases::{Claim, Claimant};
use mpulse_shared::time::Timestamp;
use serde_json::{Value, json};
use tower::util::BoxCloneSyncService;
use tracing::Instrument;

use error::RunError;
use event::{Message, Upload};
use guard::Guard;
use report::Kind;
use resources::Resources;
use run::{Run, RunEnd};

pub use tuning::Tuning;

mod account_keys;
mod backoff;
mod change_log;
mod change_report;
mod compare;
mod decode;
mod error;
mod event;
mod file_keys;
mod guard;
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

/// The number of attempts to save a checkpoint or a part of the report: no client waits for it, and
/// giving up costs a whole run.
const ATTEMPTS: u32 = 12;

/// The maximum time reserved before the deadline for an orderly end; a quarter of a short
/// timeout.
const MARGIN: Duration = Duration::from_secs(30);

/// The service: an SQS or S3 event in, batch item failures out.
pub type Service = BoxCloneSyncService<LambdaEvent<Value>, Value, Error>;

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
    let setup = &setup.with_retries(ATTEMPTS, tuning.first_wait);
    let ingest = Arc::new(Ingest {
        resources: Resources::from_setup(setup, tuning)?,
    });
    Ok(Service::new(tower::service_fn(
        move |event: LambdaEvent<Value>| {
            let ingest = Arc::clone(&ingest);
            async move { ingest.handle(event).await }
        },
    )))
}

/// The function.
struct Ingest {
    resources: Resources,
}

impl Ingest {
    async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let deadline = deadline(&event.context);
        let mut failures = Vec::new();
        for message in event::messages(event.payload)? {
            let done = self.message(&message, deadline).await;
            match (done, message.id) {
                (true, _) => {}
                (false, Some(id)) => failures.push(json!({"itemIdentifier": id})),
                // A bare event has no item to return; an error makes the sender retry.
                (false, None) => return Err("the upload is not finished".into()),
            }
        }
        Ok(json!({"batchItemFailures": failures}))
    }

    /// Processes a message. Returns whether it can be acknowledged.
    async fn message(&self, message: &Message, deadline: Instant) -> bool {
        let uploads = match &message.uploads {
            Ok(uploads) => uploads,
            Err(error) => {
                tracing::error!(%error, "unreadable message");
                self.resources.count_failed_run();
                return false;
            }
        };
        for upload in uploads {
            match self.upload(upload, deadline).await {
                Ok(RunEnd::Ended) => {}
                Ok(RunEnd::HandBack) => return false,
                Err(error) => {
                    let cause = mpulse_shared::store::chain(&error);
                    tracing::warn!(key = upload.object.key, cause, "a run ended early");
                    self.resources.count_failed_run();
                    return false;
                }
            }
        }
        true
    }

    async fn upload(&self, upload: &Upload, deadline: Instant) -> Result<RunEnd, RunError> {
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
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let margin = MARGIN.min(left / 4);
        // No request begins in the second half of the margin.
        let guard = Guard::new(taken, now + left.saturating_sub(margin / 2));
        let is_late = match claim {
            Claim::Taken(batch) => {
                let stop_at = now + left.saturating_sub(margin);
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
                    return Ok(RunEnd::HandBack);
                }
                false
            }
            Claim::Held => {
                tracing::info!(%batch_id, "another run holds the lease");
                return Ok(RunEnd::HandBack);
            }
            Claim::Ended => self.note_late_upload(&batch_id, upload).await?,
            Claim::Unknown => {
                tracing::warn!(%batch_id, "the batch of the upload does not exist; ignored");
                return Ok(RunEnd::Ended);
            }
        };
        let ended = self.resources.batches.get(&batch_id).await?;
        let sent = match &ended {
            Some(batch) if !is_late => {
                let event = Event::batch_ended(batch);
                self.resources.events.send(event).await
            }
            _ => Ok(()),
        };
        self.clean_up(upload, &batch_id, ended.as_ref(), guard)
            .await?;
        // If the event was not sent, the next delivery of the message sends it.
        sent?;
        Ok(RunEnd::Ended)
    }

    /// Deletes the upload and the parts of the reports of a batch whose end is stored.
    async fn clean_up(
        &self,
        upload: &Upload,
        batch_id: &BatchId,
        ended: Option<&Batch>,
        guard: Guard,
    ) -> Result<(), StoreError> {
        let is_kept = |batch: &Batch| batch.keeps_upload(&upload.object.etag);
        if !ended.is_some_and(is_kept) {
            self.delete_upload(upload).await?;
        }
        // The parts of a report that could not be joined are the only copy of its lines.
        for (kind, is_lost) in [
            (Kind::Rejects, ended.is_some_and(Batch::lacks_report)),
            (Kind::Changes, ended.is_some_and(Batch::lacks_changes)),
        ] {
            if !is_lost {
                let bucket = &upload.object.bucket;
                let report = self
                    .resources
                    .report(bucket, batch_id, kind, guard.clone());
                report.delete_parts().await?;
            }
        }
        Ok(())
    }

    /// Records a file that arrived after the end of its batch, as a warning. It is deleted unread. Returns whether it
    /// arrived after the end.
    async fn note_late_upload(&self, id: &BatchId, upload: &Upload) -> Result<bool, StoreError> {
        let ended = self.resources.batches.get(id).await?;
        let is_late = ended.is_some_and(|batch| batch.finished_at < Some(upload.at));
        let bytes = upload.object.size;
        if is_late
            && self
                .resources
                .batches
                .add_late_upload(id, upload.at, bytes)
                .await?
        {
            tracing::warn!(
                batch_id = %id,
                bytes,
                "a file arrived after the end of its batch; deleted unread"
            );
        }
        Ok(is_late)
    }

    async fn delete_upload(&self, upload: &Upload) -> Result<(), StoreError> {
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

/// Returns when Lambda ends the invocation.
fn deadline(context: &Context) -> Instant {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Instant::now() + time_left(Duration::from_millis(context.deadline), now)
}

/// Returns the time until a deadline; both are since 1970. A deadline on the first day of 1970 is a
/// duration, not a time: `cargo lambda watch` counts its ten minutes from 1970.
fn time_left(deadline: Duration, now: Duration) -> Duration {
    const FIRST_DAY: Duration = Duration::from_hours(24);
    if deadline < FIRST_DAY {
        return deadline;
    }
    deadline.saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_time_or_a_duration() {
        let now = Duration::from_mins(29_924_286);
        let minutes = Duration::from_mins(10);
        assert_eq!(time_left(now + minutes, now), minutes);
        assert_eq!(time_left(minutes, now), minutes);
        assert_eq!(time_left(now, now + minutes), Duration::ZERO);
    }
}
