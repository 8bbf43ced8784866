//! A batch's report of changes, as S3 sends it: in pieces, so that memory does not depend on its size.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::RANGE;
use reqwest::{Response, StatusCode};
use thiserror::Error;
use tokio::time::timeout;

use crate::change::{Change, Kind};
use crate::client::{Batch, Client, ClientError, s3_message};
use crate::progress::Progress;
use crate::retry::Tries;

/// The longest wait for the next piece.
const STALLED: Duration = Duration::from_mins(1);

/// The bytes at the end of a report that are read to find removed members: more than twenty of the longest records.
const TAIL: &str = "bytes=-65536";

/// The report cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The API responded with an error, or did not respond.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The connection failed.
    #[error("the connection to S3 failed")]
    Connection(#[source] reqwest::Error),
    /// Nothing arrived for a minute.
    #[error("the connection to S3 stalled")]
    Stalled,
    /// An error response.
    #[error("S3 responded with {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The message of the response.
        message: String,
    },
}

impl ReportError {
    /// Returns whether a retry, with a new URL, may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Api(error) => error.is_transient(),
            Self::Connection(_) | Self::Stalled => true,
            Self::Refused { status, .. } => status.is_server_error(),
        }
    }
}

/// A report that is being received.
pub struct Download(Response);

impl Download {
    /// Requests the report of a batch, or a range of its bytes (RFC 9110).
    ///
    /// # Errors
    /// Returns [`ReportError`] without a retry.
    pub async fn open(
        client: &Client,
        batch_id: &str,
        range: Option<&str>,
    ) -> Result<Self, ReportError> {
        let report = client.changes(batch_id).await?;
        let mut request = client.http().get(&report.url);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let answer = timeout(STALLED, request.send()).await;
        let answer = answer
            .map_err(|_| ReportError::Stalled)?
            .map_err(connection)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Self(answer));
        }
        let body = answer.bytes().await.unwrap_or_default();
        Err(ReportError::Refused {
            status,
            message: s3_message(&body),
        })
    }

    /// Returns whether it is the requested range, not the whole report.
    pub fn is_range(&self) -> bool {
        self.0.status() == StatusCode::PARTIAL_CONTENT
    }

    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    /// Returns [`ReportError`] if the connection breaks before the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReportError> {
        let piece = timeout(STALLED, self.0.chunk()).await;
        piece.map_err(|_| ReportError::Stalled)?.map_err(connection)
    }
}

/// The URL is as secret as a key while it is valid: messages do not contain it.
fn connection(error: reqwest::Error) -> ReportError {
    ReportError::Connection(error.without_url())
}

/// Returns the first changes of a dry run: those of removed members before others, which are in the order of the file.
///
/// # Errors
/// Returns [`ReportError`] after retries.
pub async fn first_changes(
    client: &Client,
    batch: &Batch,
    most: usize,
) -> Result<Vec<Change>, ReportError> {
    let progress = Progress::hidden();
    let mut tries = Tries::new(&progress);
    loop {
        match try_first_changes(client, batch, most).await {
            Err(error) if error.is_transient() => tries.again("", error).await?,
            result => return result,
        }
    }
}

async fn try_first_changes(
    client: &Client,
    batch: &Batch,
    most: usize,
) -> Result<Vec<Change>, ReportError> {
    let mut changes = Vec::new();
    let others = batch.rows.created + batch.rows.updated;
    // They are at the end of the report, because members are removed after the last row.
    if batch.rows.removed > 0 {
        let tail = Download::open(client, &batch.id, Some(TAIL)).await?;
        let is_removed = |change: &Change| change.kind == Kind::Removed;
        collect(tail, most, is_removed, &mut changes).await?;
    }
    if changes.len() < most && others > 0 {
        let head = Download::open(client, &batch.id, None).await?;
        let is_other = |change: &Change| change.kind != Kind::Removed;
        collect(head, most, is_other, &mut changes).await?;
    }
    Ok(changes)
}

/// Adds the wanted changes of a download until there are `most`.
async fn collect(
    mut download: Download,
    most: usize,
    is_wanted: impl Fn(&Change) -> bool,
    changes: &mut Vec<Change>,
) -> Result<(), ReportError> {
    let mut lines = Lines::default();
    while let Some(piece) = download.next().await? {
        lines.buffer.extend_from_slice(&piece);
        while let Some(line) = lines.next() {
            changes.extend(Change::parse(&line).filter(&is_wanted));
            if changes.len() >= most {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The whole lines of what has arrived. No value of the report contains a line end.
#[derive(Default)]
struct Lines {
    buffer: BytesMut,
}

impl Lines {
    fn next(&mut self) -> Option<BytesMut> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        Some(self.buffer.split_to(end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_from_pieces() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in ["a,", "b\nc\n", "", "d"] {
            lines.buffer.extend_from_slice(piece.as_bytes());
            while let Some(line) = lines.next() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        assert_eq!(found, ["a,b\n", "c\n"]);
        assert_eq!(&lines.buffer[..], b"d");
    }
}
