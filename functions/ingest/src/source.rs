//! The uploaded object as a stream. It reopens broken connections, and detects an object that is
//! not the one of the event.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use mpulse_shared::batch::BatchProblem;
use mpulse_shared::run::{Object, RunError, backoff};
use mpulse_shared::store::StoreError;

/// Attempts in a row without a byte before a run returns up on the stream.
const TRIES: u32 = 8;

/// The stream. It returns the bytes in order, each once.
#[derive(Debug)]
pub struct Source {
    client: Client,
    object: Object,
    offset: u64,
    body: Option<ByteStream>,
    first_wait: Duration,
}

impl Source {
    /// Creates a stream of the object's bytes from `offset` on. The first wait before it is opened
    /// again is at most `first_wait`.
    pub fn new(client: Client, object: Object, offset: u64, first_wait: Duration) -> Self {
        Self {
            client,
            object,
            offset,
            body: None,
            first_wait,
        }
    }

    /// Returns the number of bytes before the next one.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next bytes; `None` at the end.
    ///
    /// # Errors
    /// Returns [`RunError::Failed`] if the object was replaced or deleted, [`RunError::Store`] if S3
    /// cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RunError> {
        let mut retry = 0;
        while self.offset < self.object.size {
            let result = match &mut self.body {
                Some(body) => body
                    .next()
                    .await
                    .unwrap_or_else(|| Ok(Bytes::new()))
                    .map_err(|error| StoreError::unreadable("reading the upload", error)),
                None => match self.open().await {
                    Ok(body) => {
                        self.body = Some(body);
                        continue;
                    }
                    Err(RunError::Store(error)) if error.is_transient() => Err(error),
                    Err(error) => return Err(error),
                },
            };
            match result {
                Ok(bytes) if !bytes.is_empty() => {
                    self.offset += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                // The stream broke off, or ended before the object did.
                cut => {
                    self.body = None;
                    retry += 1;
                    if retry == TRIES {
                        return Err(match cut {
                            Err(error) => error.into(),
                            Ok(_) => StoreError::unreadable(
                                "reading the upload",
                                "the stream ends before the object does",
                            )
                            .into(),
                        });
                    }
                    tokio::time::sleep(backoff::wait(self.first_wait, retry)).await;
                }
            }
        }
        Ok(None)
    }

    async fn open(&self) -> Result<ByteStream, RunError> {
        let range = (self.offset > 0).then(|| format!("bytes={}-", self.offset));
        let result = self
            .client
            .get_object()
            .bucket(&self.object.bucket)
            .key(&self.object.key)
            .if_match(format!("\"{}\"", self.object.etag))
            .set_range(range)
            .send()
            .await;
        match result {
            Ok(answer) => Ok(answer.body),
            Err(error) if status(&error) == Some(412) => Err(replaced()),
            Err(error) if error.code() == Some("NoSuchKey") || status(&error) == Some(404) => {
                Err(file_problem(
                    "file_gone",
                    "The uploaded file no longer exists. Send it again in a new batch.",
                ))
            }
            Err(error) => Err(StoreError::sdk("GetObject of the upload", error).into()),
        }
    }
}

fn status(error: &SdkError<GetObjectError>) -> Option<u16> {
    error.raw_response().map(|raw| raw.status().as_u16())
}

/// The object is not the one that the batch began with.
pub fn replaced() -> RunError {
    file_problem(
        "file_replaced",
        "Another file was sent to the same URL while this one was being read. Create a batch for \
         each file.",
    )
}

fn file_problem(code: &str, message: &str) -> RunError {
    RunError::Failed(BatchProblem {
        code: code.to_owned(),
        message: message.to_owned(),
    })
}
