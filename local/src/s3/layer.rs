//! The operations on buckets and objects: s3s-fs does the work, and this layer corrects what
//! differs from S3.
//!
//! - New objects are assembled elsewhere and moved into place, so that after a failed checksum or a
//!   killed process the earlier object still exists.
//! - A created object is announced before the response, even if the sender has disconnected.
//! - `If-Match` and `If-None-Match` are honoured for reads, and `x-amz-copy-source-if-match` for parts; folders are not objects; keys cannot
//!   lead out of their bucket; deleting leaves nothing behind.

use std::fs;
use std::io;
use std::sync::Arc;

use mpulse_shared::time::Timestamp;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopySource,
    CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETag, ETagCondition, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, Part, PutObjectInput, PutObjectOutput,
    Range, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use tempfile::TempPath;
use tokio::sync::RwLock;
use ulid::Ulid;

use super::body;
use super::event::{Announcer, Created};
use super::files::{Files, STAGING};
use super::lifecycle::{self, Deleted};
use super::multipart::{self, Known};
use crate::tasks::Tasks;
use crate::template::Bucket;

/// The maximum number of parts in one list (an S3 limit).
const MAX_LISTED_PARTS: i32 = 1000;

/// The layer. Cloning it is cheap.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

#[derive(Debug)]
struct Shared {
    files: Files,
    announcer: Announcer,
    /// Held to read or change an object's file and its `ETag` together, and to place a part of an
    /// upload, or to end the upload.
    changing: RwLock<()>,
    parts: Known,
}

impl Layer {
    pub(super) fn new(files: Files, announcer: Announcer, tasks: Arc<Tasks>) -> Self {
        Self {
            shared: Arc::new(Shared {
                files,
                announcer,
                changing: RwLock::new(()),
                parts: Known::default(),
            }),
            tasks,
        }
    }

    /// Deletes what the lifecycle rules of the buckets say. It blocks the thread that calls it.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read or changed.
    pub(super) fn apply_lifecycle(
        &self,
        buckets: &[Bucket],
        now: Timestamp,
    ) -> io::Result<Deleted> {
        let Shared {
            files,
            changing,
            parts,
            ..
        } = &*self.shared;
        lifecycle::Round {
            files,
            changing,
            parts,
            now,
        }
        .apply(buckets)
    }

    /// Runs `work` to its end, whether or not the client waits for it.
    async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = S3Result<T>> + Send + 'static,
    ) -> S3Result<T> {
        let result = self.tasks.run(work).await;
        result.unwrap_or_else(|| Err(s3_error!(InternalError)))
    }
}

impl Shared {
    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        if self.files.has_bucket(bucket) {
            Ok(())
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    /// Checks, for writing, that the bucket exists and can contain the key.
    fn check_writable(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.check_bucket(bucket)?;
        if !self.files.can_hold(bucket, key) || self.files.object(bucket, key).is_dir() {
            return Err(s3_error!(
                InvalidArgument,
                "This key cannot be the name of a file on this computer"
            ));
        }
        Ok(())
    }

    /// Checks, for reading, that the object exists.
    fn check_readable(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.check_bucket(bucket)?;
        if !self.files.can_hold(bucket, key) || !self.files.object(bucket, key).is_file() {
            return Err(s3_error!(NoSuchKey));
        }
        Ok(())
    }

    fn check_upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<()> {
        self.check_writable(bucket, key)?;
        if multipart::is_under_way(&self.files, bucket, key, id) {
            Ok(())
        } else {
            Err(multipart::no_such_upload())
        }
    }

    /// Checks whether an object may be replaced, according to `If-Match` and `If-None-Match`.
    async fn check_unchanged(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
    ) -> S3Result<()> {
        if if_match.is_none() && if_none_match.is_none() {
            return Ok(());
        }
        let mut input = HeadObjectInput::default();
        bucket.clone_into(&mut input.bucket);
        key.clone_into(&mut input.key);
        let existing = match self.check_readable(bucket, key) {
            Ok(()) => {
                let head = self.files.system.head_object(request(input)).await?;
                head.output.e_tag
            }
            Err(_) => None,
        };
        let fails = match (existing, if_match) {
            (None, Some(_)) => true,
            (Some(existing), Some(wanted)) => !is_met(&wanted, &existing),
            (Some(existing), None) => if_none_match.is_some_and(|not| is_met(&not, &existing)),
            (None, None) => false,
        };
        if fails {
            return Err(s3_error!(PreconditionFailed));
        }
        Ok(())
    }

    /// Moves a staged object into place and announces it.
    async fn publish(
        &self,
        event: &str,
        staged: &str,
        created: (&str, &str),
        e_tag: Option<&ETag>,
    ) -> S3Result<()> {
        let (bucket, key) = created;
        let size = {
            let _changing = self.changing.write().await;
            let size = fs::metadata(self.files.object(STAGING, staged)).map_err(internal)?;
            self.files
                .publish_staged(staged, bucket, key)
                .map_err(internal)?;
            size.len()
        };
        self.announce(&Created {
            event,
            bucket,
            key,
            size,
            e_tag: e_tag.map_or("", ETag::value),
        })
    }

    fn announce(&self, created: &Created<'_>) -> S3Result<()> {
        self.announcer.announce(created).map_err(|error| {
            tracing::error!(%error, "an upload was not announced");
            s3_error!(InternalError)
        })
    }

    /// Deletes what a failed request staged.
    fn discard(&self, staged: &str) {
        if let Err(error) = self.files.remove(STAGING, staged) {
            tracing::warn!(%error, "the rest of a failed upload was not deleted");
        }
    }

    async fn put(&self, mut request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        let input = &mut request.input;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        self.check_writable(&bucket, &key)?;
        let (if_match, if_none_match) = (input.if_match.take(), input.if_none_match.take());
        let staged = Ulid::generate().to_string();
        STAGING.clone_into(&mut input.bucket);
        input.key.clone_from(&staged);
        let result = async {
            let output = self.files.system.put_object(request).await?.output;
            self.check_unchanged(&bucket, &key, if_match, if_none_match)
                .await?;
            let e_tag = output.e_tag.as_ref();
            self.publish("ObjectCreated:Put", &staged, (&bucket, &key), e_tag)
                .await?;
            Ok(output)
        };
        let result = result.await;
        if result.is_err() {
            self.discard(&staged);
        }
        result
    }

    async fn copy(&self, mut request: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
        let input = &mut request.input;
        self.check_source(&input.copy_source)?;
        let (source, if_match) = (
            input.copy_source.clone(),
            input.copy_source_if_match.clone(),
        );
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        self.check_writable(&bucket, &key)?;
        let staged = Ulid::generate().to_string();
        STAGING.clone_into(&mut input.bucket);
        input.key.clone_from(&staged);
        let result = async {
            let output = self.files.system.copy_object(request).await?.output;
            // It may have been replaced while it was copied.
            self.check_copied(&source, if_match).await?;
            let e_tag = output
                .copy_object_result
                .as_ref()
                .and_then(|one| one.e_tag.as_ref());
            self.publish("ObjectCreated:Copy", &staged, (&bucket, &key), e_tag)
                .await?;
            Ok(output)
        };
        let result = result.await;
        if result.is_err() {
            self.discard(&staged);
        }
        result
    }

    fn check_source(&self, source: &CopySource) -> S3Result<()> {
        match source {
            CopySource::Bucket { bucket, key, .. } => self.check_readable(bucket, key),
            _ => Err(s3_error!(NotImplemented)),
        }
    }

    /// Checks whether the source of a copy has the wanted `ETag`.
    async fn check_copied(
        &self,
        source: &CopySource,
        if_match: Option<ETagCondition>,
    ) -> S3Result<()> {
        match source {
            CopySource::Bucket { bucket, key, .. } => {
                self.check_unchanged(bucket, key, if_match, None).await
            }
            _ => Err(s3_error!(NotImplemented)),
        }
    }

    async fn complete(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
        self.check_upload(&bucket, &key, &id)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts);
        let parts = multipart::wanted(&self.files, &self.parts, &id, parts).await?;
        self.check_unchanged(&bucket, &key, input.if_match, input.if_none_match)
            .await?;
        let target = TempPath::try_from_path(self.files.temporary()).map_err(internal)?;
        let joined = {
            let (files, id) = (self.files.clone(), id.clone());
            let path = target.to_path_buf();
            tokio::task::spawn_blocking(move || multipart::join(&files, &id, &parts, &path)).await
        };
        let joined = joined.map_err(S3Error::internal_error)?;
        let joined = joined.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => s3_error!(InvalidPart),
            _ => internal(error),
        })?;
        {
            let _changing = self.changing.write().await;
            // It may have been aborted in the meantime.
            self.check_upload(&bucket, &key, &id)?;
            self.files
                .publish_joined(&target, &bucket, &key, &id, &joined.e_tag)
                .map_err(internal)?;
        }
        self.announce(&Created {
            event: "ObjectCreated:CompleteMultipartUpload",
            bucket: &bucket,
            key: &key,
            size: joined.size,
            e_tag: &joined.e_tag,
        })?;
        self.end_upload(&bucket, &key, &id).await?;
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(ETag::Strong(joined.e_tag)),
            ..Default::default()
        })
    }

    /// Deletes an upload with all its parts, including parts that were not listed.
    async fn end_upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<()> {
        let _changing = self.changing.write().await;
        let parts = self.files.parts(id).map_err(internal)?;
        self.parts.forget(id);
        self.files
            .end_upload(bucket, key, id, parts.into_iter())
            .map_err(internal)
    }

    async fn take_part(&self, input: UploadPartInput) -> S3Result<UploadPartOutput> {
        let (bucket, key, id) = (&input.bucket, &input.key, &input.upload_id);
        self.check_upload(bucket, key, id)?;
        let number = input.part_number;
        let part = multipart::receive(&self.files, number, input.body).await?;
        let _changing = self.changing.write().await;
        // If the upload has ended in the meantime, nothing else would delete the part.
        self.check_upload(bucket, key, id)?;
        let e_tag = self.parts.place(&self.files, id, number, part);
        Ok(UploadPartOutput {
            e_tag: Some(ETag::Strong(e_tag.map_err(internal)?)),
            ..Default::default()
        })
    }

    async fn list_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let id = &input.upload_id;
        self.check_upload(&input.bucket, &input.key, id)?;
        let most = input.max_parts.unwrap_or(MAX_LISTED_PARTS);
        let most = most.clamp(0, MAX_LISTED_PARTS);
        let after = input.part_number_marker.unwrap_or_default();
        let mut numbers = self.files.parts(id).map_err(internal)?;
        numbers.retain(|number| *number > after);
        let listed = usize::try_from(most).unwrap_or_default().min(numbers.len());
        let is_truncated = listed < numbers.len();
        numbers.truncate(listed);
        let mut parts = Vec::with_capacity(listed);
        for &number in &numbers {
            let there = self.parts.describe(&self.files, id, number).await;
            let there = there.map_err(internal)?;
            parts.push(Part {
                part_number: Some(number),
                e_tag: Some(ETag::Strong(there.e_tag())),
                size: i64::try_from(there.size).ok(),
                ..Default::default()
            });
        }
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(after),
            max_parts: Some(most),
            is_truncated: Some(is_truncated),
            next_part_number_marker: numbers.last().copied(),
            parts: Some(parts),
            ..Default::default()
        })
    }

    async fn delete(&self, bucket: &str, key: &str) -> S3Result<()> {
        if self.check_readable(bucket, key).is_err() {
            return Ok(());
        }
        let _changing = self.changing.write().await;
        self.files.remove(bucket, key).map_err(internal)
    }
}

#[async_trait::async_trait]
impl S3 for Layer {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        if self.shared.files.has_bucket(&request.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        self.shared.files.system.create_bucket(request).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.shared.check_bucket(&request.input.bucket)?;
        self.shared.files.system.head_bucket(request).await
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.shared.check_bucket(&request.input.bucket)?;
        self.shared.files.system.get_bucket_location(request).await
    }

    async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let mut response = self.shared.files.system.list_buckets(request).await?;
        if let Some(buckets) = &mut response.output.buckets {
            buckets.retain(|bucket| bucket.name.as_deref() != Some(STAGING));
        }
        Ok(response)
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.shared.check_bucket(&request.input.bucket)?;
        self.shared.files.system.list_objects(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.shared.check_bucket(&request.input.bucket)?;
        self.shared.files.system.list_objects_v2(request).await
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let shared = Arc::clone(&self.shared);
        let work = async move { shared.put(request).await };
        self.finish(work).await.map(S3Response::new)
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let shared = Arc::clone(&self.shared);
        let work = async move { shared.copy(request).await };
        self.finish(work).await.map(S3Response::new)
    }

    async fn get_object(
        &self,
        mut request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &mut request.input;
        self.shared.check_readable(&input.bucket, &input.key)?;
        let (if_match, if_none_match) = (input.if_match.take(), input.if_none_match.take());
        let path = self.shared.files.object(&input.bucket, &input.key);
        let _reading = self.shared.changing.read().await;
        if let Some(Range::Suffix { length }) = &mut input.range
            && let Ok(metadata) = tokio::fs::metadata(&path).await
        {
            // More than there is means all of it.
            *length = metadata.len().min(*length);
        }
        let mut response = self.shared.files.system.get_object(request).await?;
        let output = &mut response.output;
        check_read(
            output.e_tag.as_ref(),
            if_match.as_ref(),
            if_none_match.as_ref(),
        )?;
        let length = output.content_length.and_then(|n| u64::try_from(n).ok());
        if let Some(length) = length {
            let start = body::start(output.content_range.as_deref());
            output.body = Some(body::read(&path, start, length).await.map_err(internal)?);
        }
        Ok(response)
    }

    async fn head_object(
        &self,
        mut request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &mut request.input;
        self.shared.check_readable(&input.bucket, &input.key)?;
        let (if_match, if_none_match) = (input.if_match.take(), input.if_none_match.take());
        let _reading = self.shared.changing.read().await;
        let response = self.shared.files.system.head_object(request).await?;
        check_read(
            response.output.e_tag.as_ref(),
            if_match.as_ref(),
            if_none_match.as_ref(),
        )?;
        Ok(response)
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        self.shared.check_bucket(&input.bucket)?;
        self.shared.delete(&input.bucket, &input.key).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        self.shared.check_bucket(&input.bucket)?;
        let mut deleted = Vec::new();
        for object in input.delete.objects {
            self.shared.delete(&input.bucket, &object.key).await?;
            deleted.push(DeletedObject {
                key: Some(object.key),
                ..Default::default()
            });
        }
        let deleted = (input.delete.quiet != Some(true)).then_some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &request.input;
        self.shared.check_writable(&input.bucket, &input.key)?;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let files = &self.shared.files;
        let created = files.system.create_multipart_upload(request).await?;
        if let Some(id) = &created.output.upload_id {
            files.set_upload_time(&bucket, &key, id).map_err(internal)?;
        }
        Ok(created)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let output = self.shared.take_part(request.input).await?;
        Ok(S3Response::new(output))
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = &request.input;
        self.shared
            .check_upload(&input.bucket, &input.key, &input.upload_id)?;
        self.shared.check_source(&input.copy_source)?;
        let (source, if_match) = (
            input.copy_source.clone(),
            input.copy_source_if_match.clone(),
        );
        self.shared.check_copied(&source, if_match.clone()).await?;
        let copied = self.shared.files.system.upload_part_copy(request).await?;
        self.shared.check_copied(&source, if_match).await?;
        Ok(copied)
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let output = self.shared.list_parts(request.input).await?;
        Ok(S3Response::new(output))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let shared = Arc::clone(&self.shared);
        let work = async move { shared.complete(request.input).await };
        self.finish(work).await.map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput {
            bucket,
            key,
            upload_id,
            ..
        } = request.input;
        self.shared.check_upload(&bucket, &key, &upload_id)?;
        self.shared.end_upload(&bucket, &key, &upload_id).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// `If-Match` fails with 412, `If-None-Match` with 304.
fn check_read(
    e_tag: Option<&ETag>,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let Some(e_tag) = e_tag else {
        return Ok(());
    };
    if if_match.is_some_and(|wanted| !is_met(wanted, e_tag)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(|unwanted| is_met(unwanted, e_tag)) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

fn is_met(condition: &ETagCondition, e_tag: &ETag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == e_tag.value(),
    }
}

fn internal(error: io::Error) -> S3Error {
    tracing::error!(%error, "the folder of the buckets failed");
    S3Error::internal_error(error)
}

/// Creates a request to s3s-fs.
fn request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: http::Method::GET,
        uri: http::Uri::default(),
        headers: http::HeaderMap::new(),
        extensions: http::Extensions::new(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}
