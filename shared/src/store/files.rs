//! The bucket: uploads on their way in, reports on their way out.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::StoreError;
use crate::batch::{Batch, Status, UPLOAD_URL_SECONDS};
use crate::http::batch_view::Uploaded;
use crate::setup::{Setup, SetupError};

/// The media type that an upload URL is signed for.
pub const UPLOAD_MEDIA_TYPE: &str = "text/csv";

/// How long the URL of a report is good.
pub const REPORT_URL_SECONDS: u64 = 300;

/// The bucket of files.
#[derive(Debug, Clone)]
pub struct Files {
    client: Client,
    bucket: String,
}

impl Files {
    /// The bucket that `FILES_BUCKET` names.
    ///
    /// # Errors
    /// Where a setting is missing.
    pub fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.s3()?,
            bucket: setup.required("FILES_BUCKET")?.to_owned(),
        })
    }

    /// A URL that takes one PUT of the batch's file, and of nothing else: the media type
    /// and, where it was announced, the size are signed into it.
    ///
    /// # Errors
    /// Where the URL can't be signed.
    pub async fn upload_url(&self, batch: &Batch) -> Result<String, StoreError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(batch.batch_id.upload_key())
            .content_type(UPLOAD_MEDIA_TYPE)
            .set_content_length(batch.bytes_total.and_then(|n| i64::try_from(n).ok()))
            .presigned(lifetime(UPLOAD_URL_SECONDS)?)
            .await
            .map_err(|error| StoreError::sdk("signing an upload", error))?;
        Ok(request.uri().to_owned())
    }

    /// Stores a batch's file, as its upload would.
    ///
    /// # Errors
    /// Where S3 can't be asked.
    pub async fn put_upload(&self, batch: &Batch, content: Bytes) -> Result<(), StoreError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(batch.batch_id.upload_key())
            .content_type(UPLOAD_MEDIA_TYPE)
            .body(ByteStream::from(content))
            .send()
            .await
            .map_err(|error| StoreError::sdk("PutObject of an upload", error))?;
        Ok(())
    }

    /// What is there of the file of a batch that still awaits it; `None` where it isn't
    /// there, or a run has begun and the record itself tells more.
    ///
    /// # Errors
    /// Where S3 can't be asked.
    pub async fn find_awaited(&self, batch: &Batch) -> Result<Option<Uploaded>, StoreError> {
        if batch.status != Status::AwaitingUpload {
            return Ok(None);
        }
        let result = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(batch.batch_id.upload_key())
            .send()
            .await;
        match result {
            Ok(head) => Ok(Some(Uploaded {
                bytes: head
                    .content_length
                    .and_then(|n| u64::try_from(n).ok())
                    .unwrap_or_default(),
            })),
            Err(SdkError::ServiceError(error)) if error.err().is_not_found() => Ok(None),
            Err(error) => Err(StoreError::sdk("HeadObject of an upload", error)),
        }
    }

    /// Deletes a batch's file, if it is there.
    ///
    /// # Errors
    /// Where S3 can't be asked.
    pub async fn delete_upload(&self, batch: &Batch) -> Result<(), StoreError> {
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(batch.batch_id.upload_key())
            .send()
            .await
            .map_err(|error| StoreError::sdk("DeleteObject of an upload", error))?;
        Ok(())
    }

    /// A URL from which the report can be fetched, under a name that people recognise.
    ///
    /// # Errors
    /// Where the URL can't be signed.
    pub async fn report_url(&self, batch: &Batch) -> Result<String, StoreError> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(batch.batch_id.rejects_key())
            .response_content_type("text/csv; charset=utf-8")
            .response_content_disposition(format!(
                "attachment; filename=\"rejects-{}.csv\"",
                batch.batch_id
            ))
            .presigned(lifetime(REPORT_URL_SECONDS)?)
            .await
            .map_err(|error| StoreError::sdk("signing a report", error))?;
        Ok(request.uri().to_owned())
    }
}

/// How long something that is signed now is good.
pub(super) fn lifetime(seconds: u64) -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(Duration::from_secs(seconds))
        .map_err(|error| StoreError::unreadable("signing", error))
}
