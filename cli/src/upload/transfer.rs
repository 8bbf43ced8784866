//! Sends the file by the requests that the API signed, one in all or one for each part. It is read
//! and sent in pieces, so that memory does not depend on its size, and without the key, which S3
//! would reject.
//!

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method, StatusCode};
use thiserror::Error;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::client::{Client, ClientError, Request, s3_message};
use crate::progress::Progress;
use crate::retry::Tries;

/// Bytes read from the file at once.
const PIECE: usize = 256 * 1024;

/// A range of a file's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The path of the file.
    pub path: &'a Path,
    /// The offset of the range.
    pub offset: u64,
    /// Its length, as announced when the batch was created; the signature may contain it.
    pub size: u64,
}

/// Why a file was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The file cannot be read, or changed.
    #[error("the file cannot be read")]
    File(#[source] io::Error),
    /// The API described an invalid request.
    #[error("the registry described an invalid upload request ({0})")]
    Request(&'static str),
    /// The file has changed since its upload began.
    #[error("the file changed while it was being sent")]
    Changed,
    /// The API responded with an error, or did not respond.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The connection failed.
    #[error("the connection failed")]
    Connection(#[source] reqwest::Error),
    /// An error response.
    #[error("S3 responded with {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The message of the response.
        message: String,
    },
}

impl TransferError {
    /// Returns whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Api(error) => error.is_transient(),
            Self::File(_) | Self::Request(_) | Self::Changed => false,
        }
    }
}

/// Sends the file by one request, with retries from its beginning.
///
/// # Errors
/// Returns the [`TransferError`] of the last attempt.
pub async fn send(
    client: &Client,
    batch_id: &str,
    request: &Request,
    source: &Source<'_>,
    progress: &Progress,
) -> Result<(), TransferError> {
    let mut tries = Tries::new(progress);
    loop {
        match put(client, request, source, None, progress).await {
            Err(error) if error.is_transient() => tries.again("", error).await?,
            result => return result,
        }
        // The file may have arrived, and only the response was lost.
        let batch = client.batch(batch_id).await;
        if batch.is_ok_and(|batch| !batch.awaits_upload()) {
            return Ok(());
        }
    }
}

/// Sends the content of `source` by a signed request, once, within `most` if given. If it fails,
/// the progress is taken back.
///
/// # Errors
/// Returns [`TransferError`] without a retry.
pub async fn put(
    client: &Client,
    request: &Request,
    source: &Source<'_>,
    most: Option<Duration>,
    progress: &Progress,
) -> Result<(), TransferError> {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Counter {
        progress: progress.clone(),
        sent: Arc::clone(&sent),
    };
    let result = put_counted(client, request, source, most, count).await;
    if result.is_err() {
        progress.took_back(sent.load(Ordering::Relaxed));
    }
    result
}

async fn put_counted(
    client: &Client,
    request: &Request,
    source: &Source<'_>,
    most: Option<Duration>,
    count: Counter,
) -> Result<(), TransferError> {
    let method = Method::from_str(&request.method)
        .map_err(|_| TransferError::Request("its method is not an HTTP method"))?;
    let headers = headers(request, source.size)?;
    let file = open(source).await.map_err(TransferError::File)?;
    let fault = Arc::new(OnceLock::new());
    let body = Pieces {
        file,
        left: source.size,
        count,
        fault: Arc::clone(&fault),
    };
    let mut put = client
        .http()
        .request(method, &request.url)
        .headers(headers)
        .body(body.into_body());
    if let Some(most) = most {
        put = put.timeout(most);
    }
    let answer = put.send().await;
    // An unreadable file causes a broken connection too; the file is the better reason.
    if let Some(error) = Arc::into_inner(fault).and_then(OnceLock::into_inner) {
        return Err(TransferError::File(error));
    }
    // The URL is as secret as a key while it is valid: messages do not contain it.
    let answer = answer.map_err(|error| match error.without_url() {
        error if error.is_builder() => TransferError::Request("its URL is not an HTTP URL"),
        error => TransferError::Connection(error),
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = answer.bytes().await.unwrap_or_default();
    Err(TransferError::Refused {
        status,
        message: s3_message(&body),
    })
}

/// Opens the file at the offset of the range.
pub async fn open(source: &Source<'_>) -> io::Result<File> {
    let mut file = File::open(source.path).await?;
    if source.offset > 0 {
        file.seek(io::SeekFrom::Start(source.offset)).await?;
    }
    Ok(file)
}

/// Returns the signed headers, and the length: without one, the request would be chunked, which S3
/// does not accept.
fn headers(request: &Request, size: u64) -> Result<HeaderMap, TransferError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let name = HeaderName::from_str(name);
        let value = HeaderValue::from_str(value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(TransferError::Request("one of its headers is not valid"));
        };
        headers.insert(name, value);
    }
    headers.insert(CONTENT_LENGTH, size.into());
    Ok(headers)
}

/// Counts what is sent, to show it and to take it back.
struct Counter {
    progress: Progress,
    sent: Arc<AtomicU64>,
}

impl Counter {
    fn count(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.progress.sent(bytes);
    }
}

/// The file as a body.
struct Pieces {
    file: File,
    /// Bytes still to send: as many as were announced, even if the file grows.
    left: u64,
    count: Counter,
    /// Receives an error of the file, for the caller that waits for the response.
    fault: Arc<OnceLock<io::Error>>,
}

/// The body ends early; the cause is stored separately.
#[derive(Debug)]
struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file cannot be read")
    }
}

impl Error for Interrupted {}

impl Pieces {
    fn into_body(self) -> Body {
        Body::wrap_stream(stream::try_unfold(self, |mut pieces| async {
            match pieces.next().await {
                Ok(Some(piece)) => Ok(Some((piece, pieces))),
                Ok(None) => Ok(None),
                Err(error) => {
                    let _ = pieces.fault.set(error);
                    Err(Interrupted)
                }
            }
        }))
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = (&mut self.file)
            .take(self.left)
            .read_buf(&mut piece)
            .await?;
        if read == 0 {
            let kind = io::ErrorKind::UnexpectedEof;
            return Err(io::Error::new(
                kind,
                "it became shorter while it was being sent",
            ));
        }
        let read = read as u64;
        self.left -= read;
        self.count.count(read);
        Ok(Some(piece.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(headers: &[(&str, &str)]) -> Request {
        Request {
            method: "PUT".into(),
            url: "http://127.0.0.1:9001/files/uploads/01K.csv".into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn the_headers_are_the_signed_ones_and_the_length() {
        let headers = headers(
            &upload(&[("Content-Type", "text/csv"), ("content-length", "5")]),
            5,
        );
        let headers = headers.unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["content-type"], "text/csv");
        assert_eq!(headers["content-length"], "5");
    }

    #[test]
    fn invalid_headers_are_rejected() {
        assert!(headers(&upload(&[("a b", "c")]), 5).is_err());
        assert!(headers(&upload(&[("a", "b\nc")]), 5).is_err());
    }

    #[tokio::test]
    async fn a_file_that_grew_is_sent_as_announced_and_one_that_shrank_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("members.csv");
        std::fs::write(&path, b"0123456789").unwrap();
        let pieces_from = async |offset, size| {
            let path = &path;
            let source = Source { path, offset, size };
            let mut pieces = Pieces {
                file: open(&source).await.unwrap(),
                left: size,
                count: Counter {
                    progress: Progress::sending(size),
                    sent: Arc::default(),
                },
                fault: Arc::default(),
            };
            let mut all = Vec::new();
            while let Some(piece) = pieces.next().await? {
                all.extend_from_slice(&piece);
            }
            io::Result::Ok(all)
        };
        let pieces = async |size| pieces_from(0, size).await;
        assert_eq!(pieces(4).await.unwrap(), b"0123");
        assert_eq!(pieces(10).await.unwrap(), b"0123456789");
        assert!(pieces(11).await.is_err());
        assert_eq!(pieces_from(4, 3).await.unwrap(), b"456");
        assert!(pieces_from(8, 3).await.is_err());
    }
}
