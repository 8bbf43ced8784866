//! `ingest`: streams an uploaded file into the members table.
//!
//! An event tells of an upload; a [`run`](mod@run) takes the batch's lease and works
//! through the file in windows: bytes → [`parse`] → [`row`] → [`reader`] → [`lookup`] →
//! [`compare`] → checkpoint → [`table`]. What can't be finished is returned to the queue as a batch item
//! failure, and another run goes on from the checkpoint.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Context, Error, LambdaEvent};
use mpulse_shared::batch::BatchId;
use mpulse_shared::member::Rules;
use mpulse_shared::metrics::{Figure, Metrics};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::batches::{Batches, Claim, Claimant};
use mpulse_shared::time::Timestamp;
use serde_json::{Value, json};
use tower::util::BoxCloneSyncService;
use tracing::Instrument;

use error::RunError;
use event::{Message, Upload};
use guard::Guard;
use report::Report;
use run::{Outcome, Run};
use table::Table;

mod backoff;
mod compare;
mod error;
mod event;
mod guard;
mod index;
mod layout;
mod lease;
mod limiter;
mod lookup;
mod parse;
mod reader;
mod report;
mod row;
mod run;
mod source;
mod table;
mod telling;

/// Runs in a row that end in an error without progress before the batch fails.
const MAX_STALLED: u32 = 3;

/// How often a request for a checkpoint or a part of the report is tried: nobody waits for
/// it, and giving up costs a whole run.
const ATTEMPTS: u32 = 12;

/// The most time kept before the deadline for putting things in order; of a short timeout,
/// a quarter.
const MARGIN: Duration = Duration::from_secs(30);

/// The function as a service: an SQS or S3 event in, batch item failures out.
pub type Service = BoxCloneSyncService<LambdaEvent<Value>, Value, Error>;

/// How much a run holds and does at once. The default is what is deployed; tests make
/// it small, so that small files have many windows and pages.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// The most members of a window: rows that are compared, counted and written together.
    pub window_members: usize,
    /// The bytes of refused rows that close a window.
    pub window_report: usize,
    /// Windows whose writes are on their way while the next is read and compared.
    pub depth: usize,
    /// The most fingerprints of members that a run holds.
    pub most_fingerprints: usize,
    /// What the first page of an account may cost, in read units: fewer rows buy none.
    pub first_page: u32,
    /// The longest wait before a request is tried again for the first time.
    pub first_wait: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            window_members: 2000,
            window_report: 1024 * 1024,
            depth: 3,
            most_fingerprints: index::MOST_FINGERPRINTS,
            first_page: index::FIRST_PAGE,
            first_wait: backoff::FIRST,
        }
    }
}

/// What every run needs.
struct Ingest {
    table: Table,
    batches: Batches,
    s3: aws_sdk_s3::Client,
    rules: Rules,
    metrics: Metrics,
    tuning: Tuning,
}

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    service_tuned(setup, Tuning::default())
}

/// The function as a service, tuned otherwise than what is deployed.
///
/// # Errors
/// Where a setting is missing.
pub fn service_tuned(setup: &Setup, tuning: Tuning) -> Result<Service, SetupError> {
    let setup = &setup.with_retries(ATTEMPTS, tuning.first_wait);
    let ingest = Arc::new(Ingest {
        table: Table::from_setup(setup)?,
        batches: Batches::from_setup(setup)?,
        s3: setup.s3()?,
        rules: Rules {
            region: setup.default_region()?,
        },
        metrics: Metrics::from_setup(setup),
        tuning,
    });
    Ok(Service::new(tower::service_fn(
        move |event: LambdaEvent<Value>| {
            let ingest = Arc::clone(&ingest);
            async move { ingest.handle(event).await }
        },
    )))
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
                // A bare event has no item to return; an error makes its sender try again.
                (false, None) => return Err("the upload is not finished".into()),
            }
        }
        Ok(json!({"batchItemFailures": failures}))
    }

    /// Works on a message. Gives whether it is done with.
    async fn message(&self, message: &Message, deadline: Instant) -> bool {
        let uploads = match &message.uploads {
            Ok(uploads) => uploads,
            Err(error) => {
                tracing::error!(%error, "a message that can't be read");
                self.note_failure();
                return false;
            }
        };
        for upload in uploads {
            match self.upload(upload, deadline).await {
                Ok(Outcome::Ended) => {}
                Ok(Outcome::HandBack) => return false,
                Err(error) => {
                    let cause = mpulse_shared::store::chain(&error);
                    tracing::warn!(key = upload.object.key, cause, "a run ended early");
                    self.note_failure();
                    return false;
                }
            }
        }
        true
    }

    /// Tells that a message is not done with, for a reason that may not pass by itself.
    fn note_failure(&self) {
        self.metrics.tell(&[Figure::count("RunsFailed", 1.0)], &[]);
    }

    async fn upload(&self, upload: &Upload, deadline: Instant) -> Result<Outcome, RunError> {
        let Some(batch_id) = BatchId::from_upload_key(&upload.object.key) else {
            tracing::warn!(key = upload.object.key, "no batch's upload; left alone");
            return Ok(Outcome::Ended);
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
            .batches
            .claim(&batch_id, &claimant, Timestamp::now())
            .await?;
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let margin = MARGIN.min(left / 4);
        // No request begins in the second half of the margin.
        let guard = Guard::new(taken, now + left.saturating_sub(margin / 2));
        match claim {
            Claim::Taken(batch) => {
                let stop_at = now + left.saturating_sub(margin);
                let object = upload.object.clone();
                let request_id = batch.request_id.as_deref().unwrap_or_default();
                let span = tracing::info_span!("run", %batch_id, request_id);
                let run = Run::new(self, *batch, object, owner, guard.clone(), stop_at);
                if run.work().instrument(span).await? == Outcome::HandBack {
                    return Ok(Outcome::HandBack);
                }
            }
            Claim::Held => {
                tracing::info!(%batch_id, "another run has the batch");
                return Ok(Outcome::HandBack);
            }
            Claim::Ended => {}
            Claim::Unknown => {
                tracing::warn!(%batch_id, "an upload of no batch; left alone");
                return Ok(Outcome::Ended);
            }
        }
        // The end is written: only now may the upload and what led to the report go.
        self.delete_upload(upload).await?;
        // The parts of a report that could not be joined are all there is of its rows.
        let ended = self.batches.get(&batch_id).await?;
        if ended.is_some_and(|batch| batch.owes_report()) {
            return Ok(Outcome::Ended);
        }
        self.report(&upload.object.bucket, &batch_id, guard)
            .delete_parts()
            .await?;
        Ok(Outcome::Ended)
    }

    fn report(&self, bucket: &str, batch_id: &BatchId, guard: Guard) -> Report {
        Report::new(
            self.s3.clone(),
            bucket.to_owned(),
            batch_id.clone(),
            guard,
            self.tuning.first_wait,
        )
    }

    async fn delete_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        self.s3
            .delete_object()
            .bucket(&upload.object.bucket)
            .key(&upload.object.key)
            .send()
            .await
            .map_err(|error| StoreError::sdk("DeleteObject of the upload", error))?;
        Ok(())
    }
}

/// When Lambda ends the invocation.
fn deadline(context: &Context) -> Instant {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Instant::now() + time_left(Duration::from_millis(context.deadline), now)
}

/// The time until a deadline; both since 1970. One on the first day of 1970 is no moment but
/// a length: `cargo lambda watch` counts its ten minutes from there.
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
    fn a_deadline_is_a_moment_or_a_length() {
        let now = Duration::from_mins(29_924_286);
        let minutes = Duration::from_mins(10);
        assert_eq!(time_left(now + minutes, now), minutes);
        assert_eq!(time_left(minutes, now), minutes);
        assert_eq!(time_left(now, now + minutes), Duration::ZERO);
    }
}
