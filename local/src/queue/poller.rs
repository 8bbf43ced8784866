//! The event source mapping: receives messages from a queue, invokes a function with them as an SQS
//! event, and deletes the messages that the function has processed.
//!
//! It behaves like Lambda: a failed or unfinished message stays invisible until its visibility
//! timeout ends and is then delivered again. With `ReportBatchItemFailures` only the messages that
//! the function names have failed; an invalid result fails the whole batch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use s3s::crypto::{Checksum, Md5};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::{Message, Queue};
use crate::host::Host;
use crate::template::{QueueSource, REGION};

/// Lambda starts with five concurrent invocations; the local stack keeps that number.
const DEFAULT_CONCURRENCY: usize = 5;
/// The wait after the queue's own storage failed.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// A running event source mapping.
#[derive(Debug)]
pub(crate) struct Poller {
    task: JoinHandle<()>,
}

impl Poller {
    /// Starts to invoke `function` with messages from `queue`.
    pub(crate) fn start(
        queue: Arc<Queue>,
        source: QueueSource,
        function: String,
        host: Arc<Host>,
    ) -> Self {
        let task = tokio::spawn(poll(queue, source, function, host));
        Self { task }
    }

    /// Stops; messages in flight stay in the queue.
    pub(crate) async fn stop(self) {
        self.task.abort();
        // Aborted: its result has no information.
        let _ = self.task.await;
    }
}

async fn poll(queue: Arc<Queue>, source: QueueSource, function: String, host: Arc<Host>) {
    let concurrency = source.maximum_concurrency.unwrap_or(DEFAULT_CONCURRENCY);
    let permits = Arc::new(Semaphore::new(concurrency));
    // Dropped, and so aborted, with this task.
    let mut batches = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while batches.try_join_next().is_some() {}
        let messages = match queue.receive_waiting(source.batch_size).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(queue = queue.settings().name, %error, "receiving failed");
                tokio::time::sleep(STORAGE_PAUSE).await;
                continue;
            }
        };
        let (queue, host) = (Arc::clone(&queue), Arc::clone(&host));
        let (function, report) = (function.clone(), source.report_batch_item_failures);
        batches.spawn(async move {
            deliver(&queue, &host, &function, report, messages).await;
            drop(permit);
        });
    }
}

async fn deliver(queue: &Queue, host: &Host, function: &str, report: bool, messages: Vec<Message>) {
    let event = event(&queue.settings().arn, &messages);
    let failed = match host.invoke(function, event).await {
        Ok(answer) if report => failures(&answer, &messages),
        Ok(_) => Some(BTreeSet::new()),
        Err(error) => {
            tracing::warn!(function, %error, "a batch of messages failed");
            None
        }
    };
    let Some(failed) = failed else {
        return;
    };
    for message in &messages {
        if failed.contains(&message.id) {
            continue;
        }
        if let Err(error) = queue.delete(&message.id, &message.receipt) {
            tracing::error!(queue = queue.settings().name, %error, "a message was not deleted");
        }
    }
}

/// Returns the ids that failed, or `None` if the result is invalid and all have failed.
fn failures(answer: &Value, messages: &[Message]) -> Option<BTreeSet<String>> {
    let answer = match answer {
        Value::Null => return Some(BTreeSet::new()),
        Value::Object(answer) => answer,
        _ => return None,
    };
    let items = match answer.get("batchItemFailures") {
        None | Some(Value::Null) => return Some(BTreeSet::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return None,
    };
    items
        .iter()
        .map(|item| {
            let id = item.get("itemIdentifier")?.as_str()?;
            let known = messages.iter().any(|message| message.id == id);
            known.then(|| id.to_owned())
        })
        .collect()
}

fn event(arn: &str, messages: &[Message]) -> Value {
    let records: Vec<Value> = messages
        .iter()
        .map(|message| {
            json!({
                "messageId": message.id,
                "receiptHandle": message.receipt,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receive_count.to_string(),
                    "SentTimestamp": message.sent.to_string(),
                    "SenderId": "AIDAMPULSELOCALS3EVENT",
                    "ApproximateFirstReceiveTimestamp": message.first_received.to_string(),
                },
                "messageAttributes": {},
                "md5OfBody": md5(&message.body),
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": REGION,
            })
        })
        .collect();
    json!({ "Records": records })
}

/// Returns the MD5 of the body in hexadecimal, which SQS sends along.
fn md5(body: &str) -> String {
    use std::fmt::Write;

    let mut hasher = Md5::new();
    hasher.update(body.as_bytes());
    let mut hex = String::new();
    for byte in hasher.finalize() {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        ["a", "b"]
            .map(|id| Message {
                id: id.into(),
                receipt: "r".into(),
                body: "{}".into(),
                sent: 1,
                first_received: 2,
                receive_count: 3,
            })
            .to_vec()
    }

    #[test]
    fn results_are_read_as_lambda_reads_them() {
        let some = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
        let cases = [
            (json!(null), some(&[])),
            (json!({}), some(&[])),
            (json!({"batchItemFailures": null}), some(&[])),
            (json!({"batchItemFailures": []}), some(&[])),
            (
                json!({"batchItemFailures": [{"itemIdentifier": "b"}]}),
                some(&["b"]),
            ),
            (
                json!({"batchItemFailures": [{"itemIdentifier": "c"}]}),
                None,
            ),
            (json!({"batchItemFailures": [{"itemIdentifier": ""}]}), None),
            (
                json!({"batchItemFailures": [{"itemIdentifier": null}]}),
                None,
            ),
            (json!({"batchItemFailures": [{"id": "a"}]}), None),
            (json!({"batchItemFailures": "a"}), None),
            (json!("done"), None),
        ];
        for (answer, expected) in cases {
            assert_eq!(failures(&answer, &messages()), expected, "{answer}");
        }
    }

    #[test]
    fn the_event_is_an_sqs_event() {
        let event = event("arn:aws:sqs:us-east-1:000000000000:q", &messages());
        let record = &event["Records"][1];
        assert_eq!(record["messageId"], "b");
        assert_eq!(record["attributes"]["ApproximateReceiveCount"], "3");
        assert_eq!(record["md5OfBody"], "99914b932bd37a50b983c5e7c90ae93b");
    }
}
