//! The service of a function that works on created objects: an SQS or S3 event in, batch item failures out.
//!
//! A message whose work is not finished is returned to the queue as a batch item failure, because acknowledging it would
//! delete the only copy. SQS then delivers it to the next run.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Context, Error, LambdaEvent};
use serde_json::{Value, json};
use tower::util::BoxCloneSyncService;

use super::RunError;
use super::event::{self, CreatedObject, Message};

/// The service: an SQS or S3 event in, batch item failures out.
pub type Service = BoxCloneSyncService<LambdaEvent<Value>, Value, Error>;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// The batch or the export has ended, and nothing is left to do.
    Ended,
    /// The next run has to continue.
    HandBack,
}

/// A function that works on created objects.
pub trait Worker: Send + Sync + 'static {
    /// Works on an object until `deadline`, when Lambda ends the invocation.
    fn work(
        &self,
        created: &CreatedObject,
        deadline: Instant,
    ) -> impl Future<Output = Result<RunEnd, RunError>> + Send;

    /// Counts a run that failed, for a reason that may not pass by itself.
    fn count_failed_run(&self);
}

/// Creates the service of a worker.
pub fn service(worker: impl Worker) -> Service {
    let worker = Arc::new(worker);
    Service::new(tower::service_fn(move |event: LambdaEvent<Value>| {
        let worker = Arc::clone(&worker);
        async move { handle(&*worker, event).await }
    }))
}

async fn handle(worker: &impl Worker, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let deadline = deadline(&event.context);
    let mut failures = Vec::new();
    for message in event::messages(event.payload)? {
        let done = is_done(worker, &message, deadline).await;
        match (done, message.id) {
            (true, _) => {}
            (false, Some(id)) => failures.push(json!({"itemIdentifier": id})),
            // A bare event has no item to return; an error makes the sender retry.
            (false, None) => return Err("the work is not finished".into()),
        }
    }
    Ok(json!({"batchItemFailures": failures}))
}

/// Processes a message. Returns whether it can be acknowledged.
async fn is_done(worker: &impl Worker, message: &Message, deadline: Instant) -> bool {
    let objects = match &message.objects {
        Ok(objects) => objects,
        Err(error) => {
            tracing::error!(%error, "unreadable message");
            worker.count_failed_run();
            return false;
        }
    };
    for created in objects {
        match worker.work(created, deadline).await {
            Ok(RunEnd::Ended) => {}
            Ok(RunEnd::HandBack) => return false,
            Err(error) => {
                let cause = crate::store::chain(&error);
                tracing::warn!(key = created.object.key, cause, "a run ended early");
                worker.count_failed_run();
                return false;
            }
        }
    }
    true
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
