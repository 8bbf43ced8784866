//! The file of an export in the bucket: one object, sent at once or in pieces. Each request checks the guard right before
//! it is sent, so a run that has lost its lease replaces no piece of the run that holds it.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use mpulse_shared::export::Export;
use mpulse_shared::run::{Guard, Point, RunError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::parts::{is_unknown_upload, without_checksums};

/// The file.
#[derive(Debug)]
pub struct ExportFile {
    client: Client,
    bucket: String,
    key: String,
    media_type: &'static str,
    guard: Guard,
}

/// The pieces of an upload that S3 has stored.
#[derive(Debug)]
pub struct Pieces {
    /// The bytes of all.
    pub bytes: u64,
    parts: Vec<CompletedPart>,
}

impl ExportFile {
    /// Returns the file of an export.
    pub fn new(client: Client, bucket: String, export: &Export, guard: Guard) -> Self {
        Self {
            client,
            bucket,
            key: export.file_key(),
            media_type: export.format.media_type(),
            guard,
        }
    }

    /// Stores the file at once.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn put(&self, content: Bytes) -> Result<(), RunError> {
        self.guard.check()?;
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .content_type(self.media_type)
            .body(ByteStream::from(content))
            .customize()
            .interceptor(self.guard.clone())
            .send()
            .await
            .map_err(|error| StoreError::sdk("PutObject of an export", error))?;
        self.guard.reached(Point::FileStored).await;
        Ok(())
    }

    /// Creates the upload of the pieces, and returns its id.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn create_upload(&self) -> Result<String, RunError> {
        const OPERATION: &str = "CreateMultipartUpload of an export";
        self.guard.check()?;
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .content_type(self.media_type)
            .customize()
            .config_override(without_checksums())
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        self.guard.reached(Point::UploadCreated).await;
        let missing = || StoreError::unreadable(OPERATION, "the response has no id");
        Ok(answer.upload_id.ok_or_else(missing)?)
    }

    /// Stores a piece. `number` counts from 1.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn send(&self, upload: &str, number: u32, content: Bytes) -> Result<(), RunError> {
        self.guard.check()?;
        self.client
            .upload_part()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(upload)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .body(ByteStream::from(content))
            .customize()
            .config_override(without_checksums())
            .interceptor(self.guard.clone())
            .send()
            .await
            .map_err(|error| StoreError::sdk("UploadPart of an export", error))?;
        self.guard.reached(Point::PieceSent).await;
        Ok(())
    }

    /// Returns the first `count` pieces of an upload; `None` if not all of them are stored, or the upload does not exist.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn pieces(&self, upload: &str, count: u32) -> Result<Option<Pieces>, RunError> {
        self.guard.check()?;
        let mut pages = self
            .client
            .list_parts()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(upload)
            .into_paginator()
            .send();
        let mut parts = Vec::new();
        let mut bytes = 0;
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) if is_unknown_upload(&error) => return Ok(None),
                Err(error) => return Err(StoreError::sdk("ListParts of an export", error).into()),
            };
            for part in page.parts() {
                // A piece that follows them was sent by a run that has not saved it.
                if parts.len() < usize::try_from(count).unwrap_or(usize::MAX) {
                    bytes += part.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                    parts.push(
                        CompletedPart::builder()
                            .set_part_number(part.part_number())
                            .set_e_tag(part.e_tag.clone())
                            .build(),
                    );
                }
            }
            self.guard.check()?;
        }
        let are_all = (1..=count)
            .map(|number| i32::try_from(number).ok())
            .eq(parts.iter().map(CompletedPart::part_number));
        Ok(are_all.then_some(Pieces { bytes, parts }))
    }

    /// Makes one object of the pieces.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn complete(&self, upload: &str, pieces: Pieces) -> Result<(), RunError> {
        let Pieces { bytes, parts } = pieces;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        self.guard.check()?;
        let result = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(upload)
            .multipart_upload(parts)
            .customize()
            .interceptor(self.guard.clone())
            .send()
            .await;
        match result {
            Ok(_) => {}
            // A retry, after a lost response, finds the upload completed.
            Err(error) if is_unknown_upload(&error) && self.is_stored(bytes).await? => {}
            Err(error) => {
                return Err(StoreError::sdk("CompleteMultipartUpload of an export", error).into());
            }
        }
        self.guard.reached(Point::FileStored).await;
        Ok(())
    }

    /// Returns whether the whole file, of `bytes` bytes, is stored.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn is_stored(&self, bytes: u64) -> Result<bool, RunError> {
        self.guard.check()?;
        let result = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .send()
            .await;
        match result {
            Ok(head) => {
                let length = head.content_length.and_then(|n| u64::try_from(n).ok());
                Ok(length == Some(bytes))
            }
            Err(SdkError::ServiceError(error)) if error.err().is_not_found() => Ok(false),
            Err(error) => Err(StoreError::sdk("HeadObject of an export", error).into()),
        }
    }

    /// Aborts an upload, so that its pieces are deleted. Succeeds if the upload does not exist.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn abort(&self, upload: &str) -> Result<(), RunError> {
        self.guard.check()?;
        let result = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(upload)
            .customize()
            .interceptor(self.guard.clone())
            .send()
            .await;
        match result {
            Err(error) if !is_unknown_upload(&error) => {
                Err(StoreError::sdk("AbortMultipartUpload of an export", error).into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use mpulse_shared::export::Format;
    use mpulse_shared::member::AccountId;
    use mpulse_shared::setup::Setup;
    use mpulse_shared::time::Timestamp;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Receives a request and responds. Returns its headers in lower case.
    async fn receive(listener: &TcpListener, body: &str) -> String {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            socket.read_buf(&mut request).await.unwrap();
        }
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request).to_lowercase()
    }

    #[tokio::test]
    async fn neither_the_creation_of_an_upload_nor_its_pieces_have_a_checksum() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let variables = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL_S3", &url),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let client = Setup::new(variables.into()).s3().unwrap();
        let account = AccountId::parse("4").unwrap();
        let export = Export::new(account, Format::Csv, "key:a".into(), Timestamp::now());
        let guard = Guard::new(Guard::now(), Instant::now() + Duration::from_mins(1));
        let file = ExportFile::new(client, "files".into(), &export, guard);

        let body =
            "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>";
        let (created, upload) = tokio::join!(receive(&listener, body), file.create_upload());
        let piece = Bytes::from_static(b"4,1\r\n");
        let upload = upload.unwrap();
        let (sent, stored) = tokio::join!(receive(&listener, ""), file.send(&upload, 1, piece));
        stored.unwrap();
        assert!(sent.contains("\r\ncontent-length: 5\r\n"), "{sent}");
        for request in [created, sent] {
            assert!(!request.contains("checksum"), "{request}");
            assert!(!request.contains("streaming"), "{request}");
        }
    }
}
