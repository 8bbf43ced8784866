//! Ingest without the machine's queue: events that a test makes, deliveries that it can kill,
//! and leases that it takes away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingest::Service;
use lambda_runtime::{Context, LambdaEvent};
use mpulse_local::Machine;
use mpulse_shared::batch::Batch;
use mpulse_shared::time::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A bucket that no notification watches.
pub const BUCKET: &str = "by-hand";

/// Stores a batch's file in [`BUCKET`]. Gives the event that tells of it, as the queue
/// delivers it.
pub async fn put_file(
    s3: &aws_sdk_s3::Client,
    batch: &Batch,
    at: Timestamp,
    file: String,
) -> Value {
    let (size, key) = (file.len(), batch.batch_id.upload_key());
    let put = s3.put_object().bucket(BUCKET).key(&key);
    let stored = put.body(file.into_bytes().into()).send().await;
    let etag = stored.expect("the file is stored").e_tag.expect("an ETag");
    let body = json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
        "eventTime": at.to_string(), "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "test"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"}, "responseElements": {},
        "s3": {"s3SchemaVersion": "1.0", "configurationId": "uploads",
               "bucket": {"name": BUCKET, "arn": "", "ownerIdentity": {"principalId": "test"}},
               "object": {"key": key, "size": size, "eTag": etag.replace('"', ""),
                          "sequencer": "1"}}}]});
    json!({"Records": [{"messageId": "m1", "receiptHandle": "r1", "body": body.to_string(),
        "attributes": {}, "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs",
        "eventSourceARN": "", "awsRegion": "us-east-1"}]})
}

/// One delivery. Gives whether the message is done with. Dropping it kills the run.
pub async fn deliver(service: &Service, event: Value, time: Duration) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let mut context = Context::default();
    context.deadline = u64::try_from((now + time).as_millis()).expect("a time");
    let answer = service
        .clone()
        .oneshot(LambdaEvent::new(event, context))
        .await;
    let answer = answer.expect("messages from a queue fail one by one");
    answer["batchItemFailures"] == json!([])
}

/// Takes a dead run's lease away, as a minute would, once nothing of it is on its way.
pub async fn bury(machine: &Machine, dynamodb: &aws_sdk_dynamodb::Client, batch: &Batch) {
    tokio::time::sleep(Duration::from_millis(40)).await;
    let id = aws_sdk_dynamodb::types::AttributeValue::S(batch.batch_id.to_string());
    dynamodb
        .update_item()
        .table_name(machine.setup().required("BATCHES_TABLE").expect("set"))
        .key("batch_id", id)
        .update_expression("REMOVE lease_owner, lease_until")
        .send()
        .await
        .expect("the engine itself doesn't fail");
}
