//! A file of the registry, as S3 sends it: in pieces, so that memory does not depend on its size. After a broken connection
//! a download continues where it stopped, with a new URL.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::RANGE;
use reqwest::{Response, StatusCode};
use thiserror::Error;
use tokio::time::timeout;

use crate::client::{Client, ClientError, s3_message};
use crate::progress::Progress;
use crate::retry::Tries;

/// The longest wait for the next piece.
const STALLED: Duration = Duration::from_mins(1);

/// A file of the registry.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The report of changes of a batch.
    Changes(&'a str),
    /// The file of an export.
    Export(&'a str),
}

impl Source<'_> {
    /// Returns a signed URL of the file.
    async fn url(self, client: &Client) -> Result<String, DownloadError> {
        match self {
            Self::Changes(batch_id) => Ok(client.changes(batch_id).await?.url),
            Self::Export(id) => {
                let export = client.export(id).await?;
                export.links.file.ok_or(DownloadError::Gone)
            }
        }
    }
}

/// The file cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The API responded with an error, or did not respond.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The file has been deleted.
    #[error("the file of the export has been deleted")]
    Gone,
    /// The connection failed.
    #[error("the connection to S3 failed")]
    Connection(#[source] reqwest::Error),
    /// Nothing arrived for a minute.
    #[error("the connection to S3 stalled")]
    Stalled,
    /// The rest of the file was requested.
    #[error("S3 sends the whole file instead of its rest")]
    WholeFile,
    /// An error response.
    #[error("S3 responded with {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The message of the response.
        message: String,
    },
}

impl DownloadError {
    /// Returns whether a retry, with a new URL, may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Api(error) => error.is_transient(),
            Self::Connection(_) | Self::Stalled => true,
            Self::WholeFile | Self::Gone => false,
            Self::Refused { status, .. } => status.is_server_error(),
        }
    }
}

/// A file that is being received.
pub struct Download(Response);

impl Download {
    /// Requests a file, or a range of its bytes (RFC 9110).
    ///
    /// # Errors
    /// Returns [`DownloadError`] without a retry.
    pub async fn open(
        client: &Client,
        source: Source<'_>,
        range: Option<&str>,
    ) -> Result<Self, DownloadError> {
        let mut request = client.http().get(source.url(client).await?);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let answer = timeout(STALLED, request.send()).await;
        let answer = answer
            .map_err(|_| DownloadError::Stalled)?
            .map_err(connection)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Self(answer));
        }
        let body = answer.bytes().await.unwrap_or_default();
        Err(DownloadError::Refused {
            status,
            message: s3_message(&body),
        })
    }

    /// Returns its size in bytes, if S3 says it.
    pub fn size(&self) -> Option<u64> {
        self.0.content_length()
    }

    /// Returns whether it is the requested range, not the whole file.
    fn is_range(&self) -> bool {
        self.0.status() == StatusCode::PARTIAL_CONTENT
    }

    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    /// Returns [`DownloadError`] if the connection breaks before the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let piece = timeout(STALLED, self.0.chunk()).await;
        piece
            .map_err(|_| DownloadError::Stalled)?
            .map_err(connection)
    }
}

/// The URL is as secret as a key while it is valid: messages do not contain it.
fn connection(error: reqwest::Error) -> DownloadError {
    DownloadError::Connection(error.without_url())
}

/// The file was not saved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SaveError {
    /// It cannot be read.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// It cannot be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

/// Saves a file in `output`, or writes it to standard output. Returns its size in bytes; `None` if standard output is a pipe
/// that was closed (`| head`), which is not an error.
///
/// # Errors
/// Returns [`SaveError`].
pub async fn save(
    client: &Client,
    source: Source<'_>,
    output: Option<&Path>,
) -> Result<Option<u64>, SaveError> {
    let failed = |source| match output {
        Some(path) => SaveError::File {
            path: path.to_owned(),
            source,
        },
        None => SaveError::Output(source),
    };
    let mut pieces = Pieces {
        client,
        source,
        download: None,
        received: 0,
    };
    // The file is not created before there is something to write to it.
    let mut to: Option<Box<dyn Write>> = None;
    while let Some(piece) = pieces.next().await? {
        let to = match &mut to {
            Some(to) => to,
            None => to.insert(match output {
                Some(path) => Box::new(File::create(path).map_err(failed)?),
                None => Box::new(io::stdout()),
            }),
        };
        match to.write_all(&piece).and_then(|()| to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(None),
            written => written.map_err(failed)?,
        }
    }
    Ok(Some(pieces.received))
}

/// A file in pieces. After a broken connection it goes on where it stopped.
struct Pieces<'a> {
    client: &'a Client,
    source: Source<'a>,
    download: Option<Download>,
    received: u64,
}

impl Pieces<'_> {
    /// Returns the next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let progress = Progress::hidden();
        let mut tries = Tries::new(&progress);
        loop {
            match self.try_next().await {
                Err(error) if error.is_transient() => tries.again("", error).await?,
                result => return result,
            }
        }
    }

    /// Returns the next piece, without a retry. An error ends the download.
    async fn try_next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let mut download = match self.download.take() {
            Some(download) => download,
            None => self.open().await?,
        };
        let piece = download.next().await?;
        self.download = Some(download);
        self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    /// Requests what has not been received.
    async fn open(&self) -> Result<Download, DownloadError> {
        let rest = (self.received > 0).then(|| format!("bytes={}-", self.received));
        let download = Download::open(self.client, self.source, rest.as_deref()).await?;
        if rest.is_some() && !download.is_range() {
            return Err(DownloadError::WholeFile);
        }
        Ok(download)
    }
}
