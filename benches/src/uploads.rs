//! Uploads rosters as clients do: creates a batch, and stores its file.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use mpulse_shared::batch::{Batch, BatchId, BatchRequest, FileFormat, Mode};
use mpulse_shared::member::AccountId;
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::{FromSetup, Setup};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::time::Timestamp;

use crate::error::Error;
use crate::roster::ACCOUNT;

/// The author of the batches.
const MAKER: &str = "key:bench";

/// The time between two polls of a batch.
const GLANCE: Duration = Duration::from_millis(50);

/// Creates batches, stores their files in one bucket, and reads their results.
#[derive(Debug)]
pub struct Uploads {
    s3: aws_sdk_s3::Client,
    batches: Batches,
    bucket: String,
}

/// A stored file.
#[derive(Debug, Clone)]
pub struct Object {
    /// The batch that it was stored for.
    pub batch: BatchId,
    /// Its size.
    pub bytes: u64,
    /// Its `ETag`, without quotes.
    pub etag: String,
}

impl Uploads {
    /// Uploads into `bucket`, which exists.
    ///
    /// # Errors
    /// Returns an error if a setting is missing.
    pub fn new(setup: &Setup, bucket: &str) -> Result<Self, Error> {
        let config = setup.s3()?.config().to_builder();
        // A file of any size is sent by one request.
        let config = config.timeout_config(TimeoutConfig::disabled());
        Ok(Self {
            s3: aws_sdk_s3::Client::from_conf(config.build()),
            batches: Batches::from_setup(setup)?,
            bucket: bucket.to_owned(),
        })
    }

    /// Creates a batch and stores its file.
    ///
    /// # Errors
    /// Returns an error if a request fails.
    pub async fn upload(&self, file: &Path, mode: Mode) -> Result<Object, Error> {
        let request = BatchRequest {
            mode,
            account_id: (mode == Mode::Replace).then(|| AccountId::from_stored(ACCOUNT.to_owned())),
            ..BatchRequest::default()
        };
        self.upload_for(request, file).await
    }

    /// Creates a batch for a request and stores its file.
    ///
    /// # Errors
    /// Returns an error if a request fails.
    pub async fn upload_for(&self, request: BatchRequest, file: &Path) -> Result<Object, Error> {
        let request = BatchRequest {
            format: FileFormat {
                stop_early: false,
                ..FileFormat::default()
            },
            ..request
        };
        let batch = Batch::new(request, MAKER.to_owned(), Scope::ALL, Timestamp::now());
        self.batches.create(&batch).await?;
        let stored = self
            .s3
            .put_object()
            .bucket(&self.bucket)
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

    /// Returns the batch as it is now.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub async fn batch(&self, id: &BatchId) -> Result<Batch, Error> {
        let batch = self.batches.get(id).await?;
        batch.ok_or_else(|| format!("batch {id} does not exist").into())
    }

    /// Waits for the end of the batch.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub async fn wait(&self, id: &BatchId) -> Result<Batch, Error> {
        loop {
            let batch = self.batch(id).await?;
            if batch.status.has_ended() {
                return Ok(batch);
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Creates the bucket.
    ///
    /// # Errors
    /// Returns an error if a request fails.
    pub async fn make_bucket(&self) -> Result<(), Error> {
        self.s3.create_bucket().bucket(&self.bucket).send().await?;
        Ok(())
    }
}
