//! What measured processes stand on: the local machine's S3 and engine, the null table
//! before the engine, and rosters as objects with their batches.

use std::collections::HashMap;
use std::path::Path;

use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use mpulse_local::template::Function;
use mpulse_local::{BUILT_IN_TEMPLATE, Data, Machine, Options, environment_for};
use mpulse_shared::batch::{Batch, BatchId, BatchRequest, Mode};
use mpulse_shared::setup::Setup;
use mpulse_shared::store::batches::Batches;
use mpulse_shared::time::Timestamp;
use serde_json::{Value, json};

use crate::Error;
use crate::null_table::NullTable;

/// A bucket of our own: the template's tells the machine's queue of each upload, and the
/// machine would run ingest itself.
pub const BUCKET: &str = "mpulse-bench";

/// Who opens the batches.
const MAKER: &str = "key:bench";

/// The ground.
#[derive(Debug)]
pub struct Ground {
    /// The table that takes everything.
    pub table: NullTable,
    /// The batches, in a real engine.
    pub batches: Batches,
    /// What a function's environment is to be.
    pub environment: HashMap<String, String>,
    /// What the template says of ingest.
    pub function: Function,
    s3: aws_sdk_s3::Client,
    _machine: Machine,
}

/// A roster in S3.
#[derive(Debug, Clone)]
pub struct Object {
    /// The batch it was uploaded for.
    pub batch: BatchId,
    bytes: u64,
    etag: String,
}

impl Ground {
    /// Starts all of it.
    ///
    /// # Errors
    /// Where something can't start.
    pub async fn start() -> Result<Self, Error> {
        let machine = Machine::start(Options {
            template: BUILT_IN_TEMPLATE.to_owned(),
            parameters: HashMap::new(),
            data: Data::Ephemeral,
            port: 0,
            invoke: None,
        })
        .await?;
        let setup = machine.setup();
        let members = setup.required("MEMBERS_TABLE")?;
        let table = NullTable::start(members, machine.dynamodb_url()).await?;
        let functions = &machine.template().functions;
        let function = functions.iter().find(|f| f.binary == "ingest");
        let function = function.ok_or("the template has no ingest")?.clone();
        let environment = environment_for(machine.template(), &table.url, &machine.s3_url());
        let s3 = without_time_limit(&setup)?;
        s3.create_bucket().bucket(BUCKET).send().await?;
        Ok(Self {
            table,
            batches: Batches::from_setup(&setup)?,
            environment,
            function,
            s3,
            _machine: machine,
        })
    }

    /// Opens a batch and stores its file.
    ///
    /// # Errors
    /// Where that fails.
    pub async fn upload(&self, file: &Path, mode: Mode) -> Result<Object, Error> {
        let request = BatchRequest {
            mode,
            ..BatchRequest::default()
        };
        let batch = Batch::new(request, MAKER.to_owned(), Timestamp::now());
        self.batches.create(&batch).await?;
        let stored = self
            .s3
            .put_object()
            .bucket(BUCKET)
            .key(batch.batch_id.upload_key())
            .body(ByteStream::from_path(file).await?)
            .send()
            .await?;
        Ok(Object {
            batch: batch.batch_id,
            bytes: std::fs::metadata(file)?.len(),
            etag: stored.e_tag.unwrap_or_default().replace('"', ""),
        })
    }

    /// The batch as it is now.
    ///
    /// # Errors
    /// Where it can't be read.
    pub async fn batch(&self, id: &BatchId) -> Result<Batch, Error> {
        let batch = self.batches.get(id).await?;
        batch.ok_or_else(|| format!("batch {id} is gone").into())
    }
}

impl Object {
    /// The event that SQS would give to ingest: S3's, in a message.
    pub fn event(&self) -> Value {
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
                    "key": self.batch.upload_key(),
                    "size": self.bytes,
                    "eTag": self.etag,
                    "sequencer": "0",
                },
            },
        }]});
        json!({"Records": [{
            "messageId": self.batch,
            "receiptHandle": "bench",
            "body": s3.to_string(),
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:bench",
            "awsRegion": "us-east-1",
        }]})
    }
}

/// A client for uploads of any size.
fn without_time_limit(setup: &Setup) -> Result<aws_sdk_s3::Client, Error> {
    let config = setup.s3()?.config().to_builder();
    let config = config.timeout_config(TimeoutConfig::disabled());
    Ok(aws_sdk_s3::Client::from_conf(config.build()))
}
