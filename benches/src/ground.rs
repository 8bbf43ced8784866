//! The environment of the measured processes: the local stack's S3 and engine, and the null table
//! in front of the engine.

use std::collections::HashMap;

use mpulse_local::template::Function;
use mpulse_local::{Data, Endpoints, LocalStack, environment_for};
use mpulse_shared::time::Timestamp;
use serde_json::{Value, json};

use crate::error::Error;
use crate::local_stack;
use crate::null_table::NullTable;
use crate::uploads::{Object, Uploads};

/// A bucket of its own: the template's bucket notifies the local stack's queue, and the local stack
/// would run ingest itself.
pub const BUCKET: &str = "mpulse-bench";

/// The environment.
#[derive(Debug)]
pub struct Ground {
    /// The table that accepts everything.
    pub table: NullTable,
    /// Files for it, whose batches are in a real engine.
    pub uploads: Uploads,
    /// A function's environment variables.
    pub environment: HashMap<String, String>,
    /// The template's ingest function.
    pub function: Function,
    _local_stack: LocalStack,
}

impl Ground {
    /// Starts all of it.
    ///
    /// # Errors
    /// Returns an error if a part cannot start.
    pub async fn start() -> Result<Self, Error> {
        let local_stack = local_stack::start(Data::Ephemeral, None).await?;
        let setup = local_stack.setup();
        let members = setup.required("MEMBERS_TABLE")?;
        let endpoints = local_stack.endpoints();
        let table = NullTable::start(members, endpoints.dynamodb.clone()).await?;
        let functions = &local_stack.template().functions;
        let function = functions.iter().find(|f| f.binary == "ingest");
        let function = function.ok_or("the template has no ingest")?.clone();
        let endpoints = Endpoints {
            dynamodb: table.url.clone(),
            ..endpoints
        };
        let environment = environment_for(local_stack.template(), &endpoints);
        let uploads = Uploads::new(&setup, BUCKET)?;
        uploads.make_bucket().await?;
        Ok(Self {
            table,
            uploads,
            environment,
            function,
            _local_stack: local_stack,
        })
    }
}

/// Returns the event that SQS would send to ingest for an object: S3's, in a message.
pub fn event(object: &Object) -> Value {
    let key = object.batch.upload_key();
    event_of(object.batch.as_str(), &key, object.bytes, &object.etag)
}

/// Returns the event that SQS would send for an object of [`BUCKET`]: S3's, in a message.
pub fn event_of(message_id: &str, key: &str, bytes: u64, etag: &str) -> Value {
    let s3 = json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": Timestamp::now(),
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:bench"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "bench",
            "bucket": {
                "name": BUCKET,
                "ownerIdentity": {"principalId": "bench"},
                "arn": format!("arn:aws:s3:::{BUCKET}"),
            },
            "object": {
                "key": key,
                "size": bytes,
                "eTag": etag,
                "sequencer": "0",
            },
        },
    }]});
    json!({"Records": [{
        "messageId": message_id,
        "receiptHandle": "bench",
        "body": s3.to_string(),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:bench",
        "awsRegion": "us-east-1",
    }]})
}
