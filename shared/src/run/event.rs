//! Reads the created objects from an event. The body of an SQS message is an S3 event; a bare S3 event is
//! read too.

use aws_lambda_events::event::s3::{S3Event, S3EventRecord};
use aws_lambda_events::event::sqs::SqsEvent;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use thiserror::Error;

use crate::time::Timestamp;

/// Identifies an object.
#[derive(Debug, Clone)]
pub struct Object {
    /// The bucket it is in.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its `ETag`, without quotes.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
}

/// An object that was created.
#[derive(Debug, Clone)]
pub struct CreatedObject {
    /// The object.
    pub object: Object,
    /// When S3 reported it complete.
    pub at: Timestamp,
}

/// One message of an event, with its objects.
#[derive(Debug)]
pub struct Message {
    /// The SQS message id; `None` for a bare S3 event.
    pub id: Option<String>,
    /// The objects, or why the message is unreadable.
    pub objects: Result<Vec<CreatedObject>, EventError>,
}

/// The event has an unknown shape.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventError {
    /// It is not the JSON of an SQS or S3 event.
    #[error("not an SQS or S3 event")]
    Shape(#[from] serde_json::Error),
    /// A record lacks a required field.
    #[error("the S3 event has no {0}")]
    Lacks(&'static str),
    /// The object's key is not URL-encoded UTF-8.
    #[error("the object's key is not URL-encoded UTF-8")]
    Key,
}

/// Reads an event.
///
/// # Errors
/// Returns an error if it is neither an SQS nor an S3 event.
pub fn messages(event: Value) -> Result<Vec<Message>, EventError> {
    let source = event
        .pointer("/Records/0/eventSource")
        .and_then(Value::as_str);
    if source != Some("aws:sqs") {
        return Ok(vec![Message {
            id: None,
            objects: objects(event),
        }]);
    }
    let event: SqsEvent = serde_json::from_value(event)?;
    Ok(event
        .records
        .into_iter()
        .map(|record| Message {
            id: record.message_id,
            objects: serde_json::from_str(record.body.as_deref().unwrap_or_default())
                .map_err(EventError::from)
                .and_then(objects),
        })
        .collect())
}

/// Returns the objects of an S3 event; none for the test event that S3 sends when a notification is
/// configured.
fn objects(event: Value) -> Result<Vec<CreatedObject>, EventError> {
    if event.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    let event: S3Event = serde_json::from_value(event)?;
    event.records.into_iter().map(created).collect()
}

fn created(record: S3EventRecord) -> Result<CreatedObject, EventError> {
    let object = record.s3.object;
    let key = object
        .key
        .ok_or(EventError::Lacks("object key"))?
        .replace('+', " ");
    Ok(CreatedObject {
        object: Object {
            bucket: record
                .s3
                .bucket
                .name
                .ok_or(EventError::Lacks("bucket name"))?,
            key: percent_decode_str(&key)
                .decode_utf8()
                .map_err(|_| EventError::Key)?
                .into_owned(),
            etag: object.e_tag.ok_or(EventError::Lacks("object ETag"))?,
            // S3 omits the size of an empty object.
            size: object
                .size
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or_default(),
        },
        at: Timestamp::from_millis(record.event_time.timestamp_millis()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn s3_event(key: &str) -> Value {
        json!({"Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-11-23T18:06:00.123Z", "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "A"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {},
            "s3": {"s3SchemaVersion": "1.0", "configurationId": "c",
                "bucket": {"name": "b", "ownerIdentity": {"principalId": "A"}, "arn": "arn:aws:s3:::b"},
                "object": {"key": key, "size": 7, "eTag": "e", "sequencer": "0"}}
        }]})
    }

    #[test]
    fn the_body_of_a_message_is_an_s3_event_with_an_encoded_key() {
        let event = json!({"Records": [{
            "messageId": "m", "eventSource": "aws:sqs",
            "body": s3_event("uploads/a+b%C3%A9%2B.csv").to_string()
        }]});
        let messages = messages(event).unwrap();
        assert_eq!(messages[0].id.as_deref(), Some("m"));
        let objects = messages[0].objects.as_ref().unwrap();
        assert_eq!(objects[0].object.key, "uploads/a bé+.csv");
        assert_eq!(objects[0].at.to_string(), "2026-11-23T18:06:00.123Z");
    }

    #[test]
    fn a_bare_s3_event_and_the_test_event_are_read() {
        let bare = messages(s3_event("uploads/a.csv")).unwrap();
        assert!(bare[0].id.is_none());
        assert_eq!(bare[0].objects.as_ref().unwrap().len(), 1);
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"});
        let body = json!({"Records": [{
            "messageId": "m", "eventSource": "aws:sqs", "body": test.to_string()
        }]});
        assert!(
            messages(body).unwrap()[0]
                .objects
                .as_ref()
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn other_events_are_errors() {
        let body = json!({"Records": [{"messageId": "m", "eventSource": "aws:sqs", "body": "x"}]});
        assert!(messages(body).unwrap()[0].objects.is_err());
        assert!(messages(json!({"a": 1})).unwrap()[0].objects.is_err());
    }
}
