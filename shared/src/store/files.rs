//! The bucket: uploads, reports and exports. Copies are in [`copies`](super::copies).

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::StoreError;
use crate::batch::{Batch, Status, UPLOAD_URL_SECONDS, UploadedObject};
use crate::export::Export;
use crate::media_type;
use crate::setup::{FromSetup, Setup, SetupError};

/// The media type of uploads, whatever they contain.
pub const UPLOAD_MEDIA_TYPE: &str = "text/csv";

/// A report of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// The rejected rows, as CSV.
    Rejects,
    /// The rejected rows, as a workbook with text cells.
    RejectsWorkbook,
    /// The changes, as CSV.
    Changes,
}

/// How long the URL of a report or an export is valid.
pub const REPORT_URL_SECONDS: u64 = 300;

/// The bucket of files.
#[derive(Debug, Clone)]
pub struct Files {
    pub(super) client: Client,
    pub(super) bucket: String,
}

impl FromSetup for Files {
    /// Returns the bucket that `FILES_BUCKET` names.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.s3()?,
            bucket: setup.required("FILES_BUCKET")?.to_owned(),
        })
    }
}

impl Files {
    /// Signs a URL for one PUT of the batch's file. The size, if announced, is part of the signature. The media type is
    /// not: what a file is, is recognised by its content.
    ///
    /// # Errors
    /// Returns an error if the URL cannot be signed.
    pub async fn upload_url(&self, batch: &Batch) -> Result<String, StoreError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(batch.batch_id.upload_key())
            .set_content_length(batch.bytes_total.and_then(|n| i64::try_from(n).ok()))
            .presigned(lifetime(UPLOAD_URL_SECONDS)?)
            .await
            .map_err(|error| StoreError::sdk("signing an upload", error))?;
        Ok(request.uri().to_owned())
    }

    /// Stores a batch's file under the key of its upload.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
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

    /// Returns the uploaded object of a batch that waits for its file. Returns `None` if the object
    /// does not exist, or if a run has started: then the batch's record has the information.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn find_awaited(&self, batch: &Batch) -> Result<Option<UploadedObject>, StoreError> {
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
            Ok(head) => Ok(Some(UploadedObject {
                bytes: head
                    .content_length
                    .and_then(|n| u64::try_from(n).ok())
                    .unwrap_or_default(),
            })),
            Err(SdkError::ServiceError(error)) if error.err().is_not_found() => Ok(None),
            Err(error) => Err(StoreError::sdk("HeadObject of an upload", error)),
        }
    }

    /// Deletes a batch's file. Succeeds if the file does not exist.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
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

    /// Signs a URL to download the report, with a recognisable file name; or, with `is_head`, for a HEAD of the report,
    /// because a URL is signed for one method.
    ///
    /// # Errors
    /// Returns an error if the URL cannot be signed.
    pub async fn report_url(
        &self,
        batch: &Batch,
        kind: ReportKind,
        is_head: bool,
    ) -> Result<String, StoreError> {
        const SIGNING: &str = "signing a report";
        let id = &batch.batch_id;
        let (key, media_type, name) = match kind {
            ReportKind::Rejects => (
                id.rejects_key(),
                media_type::CSV,
                format!("rejects-{id}.csv"),
            ),
            ReportKind::RejectsWorkbook => (
                id.rejects_workbook_key(),
                media_type::WORKBOOK,
                format!("rejects-{id}.xlsx"),
            ),
            ReportKind::Changes => (
                id.changes_key(),
                media_type::CSV,
                format!("changes-{id}.csv"),
            ),
        };
        let disposition = format!("attachment; filename=\"{name}\"");
        let lifetime = lifetime(REPORT_URL_SECONDS)?;
        if is_head {
            let head = self.client.head_object().bucket(&self.bucket).key(key);
            let head = head
                .response_content_type(media_type)
                .response_content_disposition(disposition)
                .presigned(lifetime);
            let signed = head
                .await
                .map_err(|error| StoreError::sdk(SIGNING, error))?;
            return Ok(signed.uri().to_owned());
        }
        let get = self.client.get_object().bucket(&self.bucket).key(key);
        let get = get
            .response_content_type(media_type)
            .response_content_disposition(disposition)
            .presigned(lifetime);
        let signed = get.await.map_err(|error| StoreError::sdk(SIGNING, error))?;
        Ok(signed.uri().to_owned())
    }
}

impl Files {
    /// Stores the object that starts an export: the bucket's notification sends its event to the queue of exports.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn request_export(&self, export: &Export) -> Result<(), StoreError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(export.export_id.request_key())
            .content_type("application/json")
            .body(ByteStream::from_static(b"{}"))
            .send()
            .await
            .map_err(|error| StoreError::sdk("PutObject of a request for an export", error))?;
        Ok(())
    }

    /// Signs a URL to download the file of an export, with a recognisable file name.
    ///
    /// # Errors
    /// Returns an error if the URL cannot be signed.
    pub async fn export_url(&self, export: &Export) -> Result<String, StoreError> {
        let name = export.file_name();
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(export.file_key())
            .response_content_type(export.format.media_type())
            .response_content_disposition(format!("attachment; filename=\"{name}\""))
            .presigned(lifetime(REPORT_URL_SECONDS)?)
            .await
            .map_err(|error| StoreError::sdk("signing an export", error))?;
        Ok(request.uri().to_owned())
    }
}

/// Returns the configuration of a URL that is valid for some seconds.
pub(super) fn lifetime(seconds: u64) -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(Duration::from_secs(seconds))
        .map_err(|error| StoreError::unreadable("signing", error))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::batch::BatchRequest;
    use crate::scope::Scope;
    use crate::time::Timestamp;

    fn files(region: &str) -> Files {
        let vars = [
            ("AWS_REGION", region),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
            ("FILES_BUCKET", "files"),
        ];
        let vars: HashMap<_, _> = vars.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        Files::from_setup(&Setup::new(vars)).unwrap()
    }

    /// S3 redirects requests for a new bucket from `s3.amazonaws.com` to its region for some hours. Neither a page of another
    /// origin nor a signature survives a redirect, so URLs name the region. The template allows the console this host.
    #[tokio::test]
    async fn urls_are_of_the_bucket_s_region_and_require_no_checksum() {
        let request = BatchRequest {
            size: Some(5),
            ..BatchRequest::default()
        };
        let batch = Batch::new(request, "key:a".into(), Scope::ALL, Timestamp::now());
        for region in ["us-east-1", "eu-central-1"] {
            let files = files(region);
            let upload = files.upload_url(&batch).await.unwrap();
            let report = files
                .report_url(&batch, ReportKind::Rejects, false)
                .await
                .unwrap();
            for url in [&upload, &report] {
                let host = format!("https://files.s3.{region}.amazonaws.com/");
                assert!(url.starts_with(&host), "{url}");
                assert!(url.contains("X-Amz-Security-Token=token"), "{url}");
                assert!(!url.to_lowercase().contains("checksum"), "{url}");
            }
            let signed = "X-Amz-SignedHeaders=content-length%3Bhost&";
            assert!(upload.contains(signed), "{upload}");
        }
    }
}
