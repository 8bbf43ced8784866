//! What measured processes stand on: the local machine's S3 and engine, and the null table
//! before the engine.

use std::collections::HashMap;

use mpulse_local::template::Function;
use mpulse_local::{Data, Machine, environment_for};
use mpulse_shared::time::Timestamp;
use serde_json::{Value, json};

use crate::null_table::NullTable;
use crate::uploads::{Object, Uploads};
use crate::{Error, machine};

/// A bucket of our own: the template's tells the machine's queue of each upload, and the
/// machine would run ingest itself.
pub const BUCKET: &str = "mpulse-bench";

/// The ground.
#[derive(Debug)]
pub struct Ground {
    /// The table that takes everything.
    pub table: NullTable,
    /// Files for it, whose batches are in a real engine.
    pub uploads: Uploads,
    /// What a function's environment is to be.
    pub environment: HashMap<String, String>,
    /// What the template says of ingest.
    pub function: Function,
    _machine: Machine,
}

impl Ground {
    /// Starts all of it.
    ///
    /// # Errors
    /// Where something can't start.
    pub async fn start() -> Result<Self, Error> {
        let machine = machine::start(Data::Ephemeral, None).await?;
        let setup = machine.setup();
        let members = setup.required("MEMBERS_TABLE")?;
        let table = NullTable::start(members, machine.dynamodb_url()).await?;
        let functions = &machine.template().functions;
        let function = functions.iter().find(|f| f.binary == "ingest");
        let function = function.ok_or("the template has no ingest")?.clone();
        let environment = environment_for(machine.template(), &table.url, &machine.s3_url());
        let uploads = Uploads::new(&setup, BUCKET)?;
        uploads.make_bucket().await?;
        Ok(Self {
            table,
            uploads,
            environment,
            function,
            _machine: machine,
        })
    }
}

/// The event that SQS would give to ingest for an object: S3's, in a message.
pub fn event(object: &Object) -> Value {
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
                "key": object.batch.upload_key(),
                "size": object.bytes,
                "eTag": object.etag,
                "sequencer": "0",
            },
        },
    }]});
    json!({"Records": [{
        "messageId": object.batch,
        "receiptHandle": "bench",
        "body": s3.to_string(),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:bench",
        "awsRegion": "us-east-1",
    }]})
}
