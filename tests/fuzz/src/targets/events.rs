//! The events that start runs: SQS messages whose bodies are S3 events, as `ingest` and `export` read them.

use mpulse_shared::run::messages;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// Any JSON as an event and as the body of a message; and any key of an object.
pub fn event(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(event) = serde_json::from_str::<Value>(text) {
        let _ = messages(event);
    }
    let read = messages(message(text)).expect("the event of a queue");
    assert_eq!(read.len(), 1);
    let key = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let read = messages(message(&s3_event(&key).to_string())).expect("the event of a queue");
    let objects = read[0].objects.as_ref().expect("an S3 event");
    assert_eq!(objects[0].object.key, text);
    assert_eq!(objects[0].at.to_string(), "2026-11-23T18:06:00.123Z");
}

fn message(body: &str) -> Value {
    json!({"Records": [{"messageId": "m", "eventSource": "aws:sqs", "body": body}]})
}

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
