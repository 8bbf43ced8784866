//! Multipart uploads: files sent in parts, each with its own presigned URL.
//!
//! S3 knows which parts have arrived, so mPulse keeps no record of them, and a client that resumes
//! requests the list. Parts have no checksums, because browsers cannot provide one. S3 rejects such
//! parts if the upload was created with a checksum algorithm, so it is created [without](without_checksums).

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Config, RequestChecksumCalculation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::StoreError;
use super::files::{UPLOAD_MEDIA_TYPE, lifetime};
use crate::batch::{BatchId, UPLOAD_URL_SECONDS};
use crate::parts::{Multipart, Part};
use crate::setup::{FromSetup, Setup, SetupError};

/// The maximum number of parts that one `ListParts` returns (an S3 limit).
pub const MAX_PAGE: u64 = 1000;

/// The timeout of one attempt of `CompleteMultipartUpload`. S3 needs time for thousands of parts,
/// and API Gateway responds to the client after 30 seconds at the latest.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(20);

/// The multipart uploads of the bucket.
#[derive(Debug, Clone)]
pub struct Parts {
    client: Client,
    bucket: String,
}

/// A part that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedPart {
    /// Its number, from 1.
    pub number: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag as in S3's response, with quotes.
    pub e_tag: String,
}

impl ReceivedPart {
    /// Returns whether it has the number and the size of `part`.
    #[must_use]
    pub fn is_complete(&self, part: Part) -> bool {
        (self.number, self.size) == (part.number, part.size)
    }
}

/// The result of completing an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// The object exists.
    Completed,
    /// The upload does not exist: it was completed or aborted.
    NoSuchUpload,
    /// A part has changed or disappeared.
    PartsChanged,
}

impl FromSetup for Parts {
    /// Returns the bucket that `FILES_BUCKET` names.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.s3()?,
            bucket: setup.required("FILES_BUCKET")?.to_owned(),
        })
    }
}

impl Parts {
    /// Creates the multipart upload of a batch's file and returns its id.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn start(&self, batch: &BatchId) -> Result<String, StoreError> {
        const OPERATION: &str = "CreateMultipartUpload of an upload";
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(batch.upload_key())
            .content_type(UPLOAD_MEDIA_TYPE)
            .customize()
            .config_override(without_checksums())
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        answer
            .upload_id
            .ok_or_else(|| StoreError::unreadable(OPERATION, "the response has no id"))
    }

    /// Signs a URL for one part. The size is part of the signature.
    ///
    /// # Errors
    /// Returns an error if the URL cannot be signed.
    pub async fn url(
        &self,
        batch: &BatchId,
        upload: &Multipart,
        part: Part,
    ) -> Result<String, StoreError> {
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(batch.upload_key())
            .upload_id(&upload.upload_id)
            .part_number(i32::try_from(part.number).unwrap_or(i32::MAX))
            .content_length(i64::try_from(part.size).unwrap_or(i64::MAX))
            .presigned(lifetime(UPLOAD_URL_SECONDS)?)
            .await
            .map_err(|error| StoreError::sdk("signing a part", error))?;
        Ok(request.uri().to_owned())
    }

    /// Returns up to `max` (at most [`MAX_PAGE`]) of the parts that have arrived, in order,
    /// starting with number `from`; `None` if the upload does not exist.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn page(
        &self,
        batch: &BatchId,
        upload: &Multipart,
        from: u64,
        max: u64,
    ) -> Result<Option<Vec<ReceivedPart>>, StoreError> {
        let result = self
            .client
            .list_parts()
            .bucket(&self.bucket)
            .key(batch.upload_key())
            .upload_id(&upload.upload_id)
            // ListParts continues after the marker.
            .part_number_marker(from.saturating_sub(1).to_string())
            .max_parts(i32::try_from(max.min(MAX_PAGE)).unwrap_or(i32::MAX))
            .send()
            .await;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) if is_unknown_upload(&error) => return Ok(None),
            Err(error) => return Err(StoreError::sdk("ListParts of an upload", error)),
        };
        let received = answer.parts().iter().filter_map(|part| {
            Some(ReceivedPart {
                number: part.part_number.and_then(|n| u64::try_from(n).ok())?,
                size: part.size.and_then(|n| u64::try_from(n).ok())?,
                e_tag: part.e_tag.clone()?,
            })
        });
        Ok(Some(received.collect()))
    }

    /// Returns all parts that have arrived, in order, like [`Parts::page`].
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn all(
        &self,
        batch: &BatchId,
        upload: &Multipart,
    ) -> Result<Option<Vec<ReceivedPart>>, StoreError> {
        let mut all: Vec<ReceivedPart> = Vec::new();
        loop {
            let from = all.last().map_or(1, |last| last.number + 1);
            let Some(page) = self.page(batch, upload, from, MAX_PAGE).await? else {
                return Ok(None);
            };
            let is_full = page.len() as u64 == MAX_PAGE;
            all.extend(page);
            if !is_full {
                return Ok(Some(all));
            }
        }
    }

    /// Completes the upload: S3 joins the parts to one object.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn complete(
        &self,
        batch: &BatchId,
        upload: &Multipart,
        parts: &[ReceivedPart],
    ) -> Result<Completion, StoreError> {
        let parts = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(i32::try_from(part.number).unwrap_or(i32::MAX))
                .e_tag(&part.e_tag)
                .build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect()));
        let timeout = TimeoutConfig::builder()
            .operation_attempt_timeout(COMPLETE_TIMEOUT)
            .build();
        let result = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(batch.upload_key())
            .upload_id(&upload.upload_id)
            .multipart_upload(parts.build())
            .customize()
            .config_override(Config::builder().timeout_config(timeout))
            .send()
            .await;
        match result {
            Ok(_) => Ok(Completion::Completed),
            Err(error) if is_unknown_upload(&error) => Ok(Completion::NoSuchUpload),
            Err(error) if error.code() == Some("InvalidPart") => Ok(Completion::PartsChanged),
            Err(error) => Err(StoreError::sdk(
                "CompleteMultipartUpload of an upload",
                error,
            )),
        }
    }

    /// Aborts an upload and deletes its parts. Succeeds if the upload does not exist.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn abort(&self, batch: &BatchId, upload: &Multipart) -> Result<(), StoreError> {
        let result = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(batch.upload_key())
            .upload_id(&upload.upload_id)
            .send()
            .await;
        match result {
            Err(error) if !is_unknown_upload(&error) => {
                Err(StoreError::sdk("AbortMultipartUpload of an upload", error))
            }
            _ => Ok(()),
        }
    }
}

/// Returns settings for requests without the checksum that the SDK adds to parts by default. S3 requires that the checksums
/// of all parts have the algorithm that the creation of the upload named, and the SDK names none there; uploads that
/// differed are known to fail at their completion. The SHA-256 of a part's content is in its signature in any case.
#[must_use]
pub fn without_checksums() -> Builder {
    Config::builder().request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
}

/// Returns whether S3 reports that the multipart upload does not exist: it was completed or
/// aborted.
pub fn is_unknown_upload<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.code() == Some("NoSuchUpload")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn parts(url: &str) -> Parts {
        let vars = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL_S3", url),
            ("FILES_BUCKET", "files"),
        ];
        let vars: HashMap<_, _> = vars.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        Parts::from_setup(&Setup::new(vars)).unwrap()
    }

    #[tokio::test]
    async fn an_upload_is_created_without_a_checksum_algorithm() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                socket.read_buf(&mut request).await.unwrap();
            }
            let body = "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>";
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap().to_lowercase()
        });
        let id = BatchId::generate();
        assert_eq!(parts(&url).start(&id).await.unwrap(), "7");
        let sent = sent.await.unwrap();
        let path = format!("post /files/uploads/{id}.csv?uploads http/1.1\r\n").to_lowercase();
        assert!(sent.starts_with(&path), "{sent}");
        assert!(sent.contains("\r\ncontent-type: text/csv\r\n"), "{sent}");
        assert!(!sent.contains("checksum"), "{sent}");
    }

    #[tokio::test]
    async fn the_url_of_a_part_is_valid_for_its_size_and_requires_no_checksum() {
        let parts = parts("http://127.0.0.1:1");
        let upload = Multipart {
            upload_id: "7".to_owned(),
            part_size: 5,
        };
        for size in [0, 5] {
            let part = Part {
                number: 3,
                offset: 10,
                size,
            };
            let url = parts.url(&BatchId::generate(), &upload, part).await;
            let url = url.unwrap();
            for wanted in [
                "partNumber=3",
                "uploadId=7",
                "X-Amz-Expires=3600",
                "X-Amz-SignedHeaders=content-length%3Bhost",
            ] {
                assert!(url.contains(wanted), "{wanted} in {url}");
            }
            assert!(!url.to_lowercase().contains("checksum"), "{url}");
        }
    }
}
