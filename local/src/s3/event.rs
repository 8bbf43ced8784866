//! The event that S3 sends when an object was created.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use ulid::Ulid;

use crate::queue::{Queue, QueueError};
use crate::template::{Bucket, PARTITION, REGION};

/// The characters that S3 does not encode in the keys of its events; a space becomes a plus.
const KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b' ');

/// An object that was created.
#[derive(Debug)]
pub(super) struct Created<'a> {
    /// The kind of event, such as `ObjectCreated:Put`.
    pub(super) event: &'a str,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    /// The size in bytes.
    pub(super) size: u64,
    /// The ETag, without quotes.
    pub(super) e_tag: &'a str,
}

/// Sends events to the queues in a bucket's configuration.
#[derive(Debug)]
pub(super) struct Announcer {
    buckets: Vec<Bucket>,
    queues: BTreeMap<String, Arc<Queue>>,
    sequence: AtomicU64,
}

impl Announcer {
    pub(super) fn new(buckets: &[Bucket], queues: BTreeMap<String, Arc<Queue>>) -> Self {
        // The time, so that the order continues after a restart.
        let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default();
        Self {
            buckets: buckets.to_vec(),
            queues,
            sequence: AtomicU64::new(now),
        }
    }

    /// Sends a message to each matching queue. The messages are durable on return.
    ///
    /// # Errors
    /// Returns an error if a queue cannot store it.
    pub(super) fn announce(&self, created: &Created<'_>) -> Result<(), QueueError> {
        let bucket = self
            .buckets
            .iter()
            .find(|bucket| bucket.name == created.bucket);
        for notification in bucket.into_iter().flat_map(|bucket| &bucket.notifications) {
            if !notification.takes(created.event, created.key) {
                continue;
            }
            if let Some(queue) = self.queues.get(&notification.queue_arn) {
                queue.send(self.message(created))?;
            }
        }
        Ok(())
    }

    fn message(&self, created: &Created<'_>) -> String {
        // The clock that tests move.
        let now = mpulse_shared::time::Timestamp::now();
        let id = Ulid::generate().to_string();
        json!({
            "Records": [{
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": REGION,
                "eventTime": now,
                "eventName": created.event,
                "userIdentity": {"principalId": "AWS:local"},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {"x-amz-request-id": id, "x-amz-id-2": id},
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "local",
                    "bucket": {
                        "name": created.bucket,
                        "ownerIdentity": {"principalId": "local"},
                        "arn": format!("arn:{PARTITION}:s3:::{}", created.bucket),
                    },
                    "object": {
                        "key": encoded(created.key),
                        "size": created.size,
                        "eTag": created.e_tag,
                        "sequencer": format!(
                            "{:018X}",
                            self.sequence.fetch_add(1, Ordering::Relaxed)
                        ),
                    },
                },
            }],
        })
        .to_string()
    }
}

fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string().replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_in_s3() {
        assert_eq!(
            encoded("uploads/a b+c(é).csv"),
            "uploads/a+b%2Bc%28%C3%A9%29.csv"
        );
    }
}
