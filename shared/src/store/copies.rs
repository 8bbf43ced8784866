//! The bucket: copies of objects, which S3 makes itself. A batch that applies or reverts another one gets its file so.
//!
//! A copy is conditional on the ETag of its original. Large objects are copied in parts, several at once, because one
//! request copies a few hundred megabytes per second at best, and a client waits for the result.

use std::time::Duration;

use aws_sdk_s3::config::Config;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::files::{Files, UPLOAD_MEDIA_TYPE};
use super::{HasStatus, StoreError};
use crate::batch::BatchId;

/// How long a copy may take. API Gateway responds to the client after 30 seconds at the latest.
const COPY_TIMEOUT: Duration = Duration::from_secs(25);

/// The largest object that one request copies, and the size of a part of a larger one, in bytes. It fits into
/// `COPY_TIMEOUT` several times at 100 MB/s, which is less than S3 does usually. S3 requires parts for more than 5 GiB.
pub const COPY_PART_BYTES: u64 = 256 * 1024 * 1024;

/// The maximum number of parts of an object (an S3 limit).
const MAX_PARTS: u64 = 10_000;

/// The number of parts that are copied at once.
const CONCURRENT_PARTS: usize = 100;

/// Which object of a batch is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Its file.
    Upload,
    /// Its report of changes.
    Changes,
}

/// An object to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    key: String,
    /// Its size.
    pub bytes: u64,
    /// Its ETag, with quotes.
    e_tag: String,
}

impl Original {
    /// Returns whether it has an ETag, which may be without quotes.
    #[must_use]
    pub fn has_e_tag(&self, e_tag: &str) -> bool {
        self.e_tag.trim_matches('"') == e_tag.trim_matches('"')
    }
}

/// The result of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// The copy exists.
    Made,
    /// The original does not exist, or has another ETag.
    Gone,
    /// S3 did not finish in time. It may still do.
    TooSlow,
}

/// Why an object was not copied.
enum NotCopied {
    Gone,
    Failed(StoreError),
}

impl From<StoreError> for NotCopied {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Files {
    /// Returns an object of a batch, if it exists.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn find_original(
        &self,
        batch: &BatchId,
        source: Source,
    ) -> Result<Option<Original>, StoreError> {
        const OPERATION: &str = "HeadObject of an original";
        let key = match source {
            Source::Upload => batch.upload_key(),
            Source::Changes => batch.changes_key(),
        };
        let head = self.client.head_object().bucket(&self.bucket).key(&key);
        let head = match head.send().await {
            Ok(head) => head,
            Err(SdkError::ServiceError(error)) if error.err().is_not_found() => return Ok(None),
            Err(error) => return Err(StoreError::sdk(OPERATION, error)),
        };
        let missing = || StoreError::unreadable(OPERATION, "the response has no ETag");
        Ok(Some(Original {
            key,
            bytes: head
                .content_length
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or_default(),
            e_tag: head.e_tag.ok_or_else(missing)?,
        }))
    }

    /// Copies an object to the key of a batch's upload, if it still has its ETag.
    ///
    /// # Errors
    /// Returns an error if an S3 request fails.
    pub async fn copy_original(
        &self,
        original: &Original,
        to: &BatchId,
    ) -> Result<Copied, StoreError> {
        if original.bytes > COPY_PART_BYTES {
            return self.copy_in_parts(original, to, COPY_PART_BYTES).await;
        }
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(to.upload_key())
            .copy_source(self.copy_source(original))
            .copy_source_if_match(&original.e_tag)
            .metadata_directive(MetadataDirective::Replace)
            .content_type(UPLOAD_MEDIA_TYPE)
            .customize()
            .config_override(patient());
        match tokio::time::timeout(COPY_TIMEOUT, request.send()).await {
            Ok(result) => outcome(checked("CopyObject", result).map(|_| ())),
            Err(_) => Ok(Copied::TooSlow),
        }
    }

    /// Copies an object like [`Files::copy_original`], in parts of `part_bytes` (S3: 5 MiB to 5 GiB) or more, so that there
    /// are at most ten thousand.
    ///
    /// # Errors
    /// Returns an error if an S3 request fails.
    pub async fn copy_in_parts(
        &self,
        original: &Original,
        to: &BatchId,
        part_bytes: u64,
    ) -> Result<Copied, StoreError> {
        let upload_id = self.begin_copy(to).await?;
        let copying = self.copy_parts(original, to, &upload_id, part_bytes);
        let copied = match tokio::time::timeout(COPY_TIMEOUT, copying).await {
            Ok(result) => outcome(result),
            Err(_) => Ok(Copied::TooSlow),
        };
        if !matches!(copied, Ok(Copied::Made)) {
            self.abort_copy(to, &upload_id).await;
        }
        copied
    }

    async fn begin_copy(&self, to: &BatchId) -> Result<String, StoreError> {
        const OPERATION: &str = "CreateMultipartUpload of a copy";
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(to.upload_key())
            .content_type(UPLOAD_MEDIA_TYPE)
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        begun
            .upload_id
            .ok_or_else(|| StoreError::unreadable(OPERATION, "the response has no id"))
    }

    async fn copy_parts(
        &self,
        original: &Original,
        to: &BatchId,
        upload_id: &str,
        part_bytes: u64,
    ) -> Result<(), NotCopied> {
        let ranges = ranges(original.bytes, part_bytes);
        let parts: Vec<CompletedPart> = stream::iter(ranges)
            .map(|(number, range)| self.copy_part(original, to, upload_id, number, range))
            .buffered(CONCURRENT_PARTS)
            .try_collect()
            .await?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        let result = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(to.upload_key())
            .upload_id(upload_id)
            .multipart_upload(parts.build())
            .customize()
            .config_override(patient())
            .send()
            .await;
        result.map_err(|error| StoreError::sdk("CompleteMultipartUpload of a copy", error))?;
        Ok(())
    }

    async fn copy_part(
        &self,
        original: &Original,
        to: &BatchId,
        upload_id: &str,
        number: i32,
        range: String,
    ) -> Result<CompletedPart, NotCopied> {
        const OPERATION: &str = "UploadPartCopy";
        let result = self
            .client
            .upload_part_copy()
            .bucket(&self.bucket)
            .key(to.upload_key())
            .upload_id(upload_id)
            .part_number(number)
            .copy_source(self.copy_source(original))
            .copy_source_range(range)
            .copy_source_if_match(&original.e_tag)
            .customize()
            .config_override(patient())
            .send()
            .await;
        let copied = checked(OPERATION, result)?;
        let e_tag = copied.copy_part_result.and_then(|part| part.e_tag);
        let missing = || StoreError::unreadable(OPERATION, "the response has no ETag");
        Ok(CompletedPart::builder()
            .part_number(number)
            .e_tag(e_tag.ok_or_else(missing)?)
            .build())
    }

    /// Deletes the parts of a copy that failed. If that fails too, the bucket's lifecycle rule deletes them.
    async fn abort_copy(&self, to: &BatchId, upload_id: &str) {
        let result = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(to.upload_key())
            .upload_id(upload_id)
            .send()
            .await;
        if let Err(error) = result {
            let error = StoreError::sdk("AbortMultipartUpload of a copy", error);
            tracing::warn!(batch_id = %to, cause = super::chain(&error), "a copy was not aborted");
        }
    }

    /// Returns the value of `x-amz-copy-source`. No key of this bucket needs escaping.
    fn copy_source(&self, original: &Original) -> String {
        format!("{}/{}", self.bucket, original.key)
    }
}

/// Returns the settings of a request that copies data.
fn patient() -> aws_sdk_s3::config::Builder {
    let timeout = TimeoutConfig::builder().operation_attempt_timeout(COPY_TIMEOUT);
    Config::builder().timeout_config(timeout.build())
}

/// Returns the parts of an object as number and range, for `x-amz-copy-source-range`.
fn ranges(bytes: u64, part_bytes: u64) -> impl Iterator<Item = (i32, String)> {
    let part_bytes = part_bytes.max(bytes.div_ceil(MAX_PARTS)).max(1);
    let starts = (0..bytes.div_ceil(part_bytes)).map(move |index| index * part_bytes);
    starts.zip(1..).map(move |(start, number)| {
        let last = (start + part_bytes).min(bytes) - 1;
        (number, format!("bytes={start}-{last}"))
    })
}

/// Returns the result of a request that reads an original.
fn checked<T, E, R>(
    operation: &'static str,
    result: Result<T, SdkError<E, R>>,
) -> Result<T, NotCopied>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + HasStatus + 'static,
{
    result.map_err(|error| match error.code() {
        Some("NoSuchKey" | "PreconditionFailed") => NotCopied::Gone,
        _ => NotCopied::Failed(StoreError::sdk(operation, error)),
    })
}

fn outcome(result: Result<(), NotCopied>) -> Result<Copied, StoreError> {
    match result {
        Ok(()) => Ok(Copied::Made),
        Err(NotCopied::Gone) => Ok(Copied::Gone),
        Err(NotCopied::Failed(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_object_and_are_at_most_ten_thousand() {
        let parts: Vec<_> = ranges(25, 10).collect();
        let expected = [
            (1, "bytes=0-9".to_owned()),
            (2, "bytes=10-19".to_owned()),
            (3, "bytes=20-24".to_owned()),
        ];
        assert_eq!(parts, expected);
        assert_eq!(ranges(20, 10).count(), 2);
        assert_eq!(ranges(1_000_000, 10).count(), 10_000);
        // Of 101 bytes each.
        let (number, range) = ranges(1_000_001, 10).last().unwrap();
        assert_eq!((number, &*range), (9_901, "bytes=999900-1000000"));
    }

    #[test]
    fn an_e_tag_is_compared_without_its_quotes() {
        let original = Original {
            key: "uploads/x.csv".into(),
            bytes: 1,
            e_tag: "\"a\"".into(),
        };
        assert!(original.has_e_tag("a") && original.has_e_tag("\"a\""));
        assert!(!original.has_e_tag("b"));
    }
}
