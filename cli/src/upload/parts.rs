//! Sends a file in parts: several at once, each with its own retries, and only those that S3 does
//! not have. The registry lists the missing parts, so starting and resuming are the same.
//!
//! A part that exists counts as sent if its ETag is the MD5 of the file's bytes; else it is sent
//! again. So a file that changed between two runs is not mixed.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, TryStreamExt};
use md5::{Digest, Md5};
use reqwest::StatusCode;
use tokio::io::AsyncReadExt;

use super::transfer::{self, Source, TransferError};
use crate::client::{Client, Part, PartPage, Request};
use crate::progress::Progress;
use crate::retry::{Tries, patiently};

/// Parts in flight at once, enough to use a connection with high latency.
const AT_ONCE: usize = 4;

/// Parts that are listed at once. Their URLs are valid for an hour; after that, new ones are
/// requested.
const PAGE: u64 = 100;

/// The minimum speed of a part in bytes per second, and a base time; a slower connection counts as
/// broken.
const SLOWEST: u64 = 16 * 1024;
const GRACE: Duration = Duration::from_secs(30);

/// Bytes read at once for hashing.
const READ: usize = 256 * 1024;

/// A file that is being sent.
struct Sender<'a> {
    client: &'a Client,
    batch_id: &'a str,
    path: &'a Path,
    progress: &'a Progress,
}

/// Sends the missing parts, and completes the upload.
///
/// # Errors
/// Returns the [`TransferError`] of the first part that cannot be sent. Parts that were sent are
/// kept.
pub async fn send(
    client: &Client,
    batch_id: &str,
    path: &Path,
    progress: &Progress,
) -> Result<(), TransferError> {
    let sender = Sender {
        client,
        batch_id,
        path,
        progress,
    };
    let before = state(path).await?;
    stream::try_unfold(Some(1), |from| sender.page(from))
        .map_ok(|parts| stream::iter(parts.into_iter().map(Ok)))
        .try_flatten()
        .try_for_each_concurrent(AT_ONCE, |part| sender.deliver(part))
        .await?;
    // Parts from before and after a change must not become one file.
    if state(path).await? != before {
        return Err(TransferError::Changed);
    }
    patiently(progress, || client.complete(batch_id)).await?;
    Ok(())
}

/// Returns when the file was last changed, and its size.
async fn state(path: &Path) -> Result<(Option<SystemTime>, u64), TransferError> {
    let metadata = tokio::fs::metadata(path).await;
    let metadata = metadata.map_err(TransferError::File)?;
    Ok((metadata.modified().ok(), metadata.len()))
}

impl Sender<'_> {
    /// Returns a page of parts, starting with a number, and the number of the next page.
    async fn page(
        &self,
        from: Option<u64>,
    ) -> Result<Option<(Vec<Part>, Option<u64>)>, TransferError> {
        let Some(from) = from else {
            return Ok(None);
        };
        let page: PartPage = patiently(self.progress, || {
            self.client.parts(self.batch_id, from, PAGE)
        })
        .await?;
        let next = page.results.last().map(|last| last.number + 1);
        let next = next.filter(|next| *next <= page.part_count);
        Ok(Some((page.results, next)))
    }

    /// Sends the part unless S3 has it.
    async fn deliver(&self, mut part: Part) -> Result<(), TransferError> {
        if self.is_there(&part).await? {
            self.progress.sent(part.size);
            return Ok(());
        }
        let mut tries = Tries::new(self.progress);
        let what = format!("part {}: ", part.number);
        loop {
            match self.put(&part).await {
                Err(error) if may_pass(&error) => tries.again(&what, error).await?,
                result => return result,
            }
            // The URL may have expired; or the part has arrived and only the response was lost.
            match self.client.parts(self.batch_id, part.number, 1).await {
                Ok(page) => part = page.results.into_iter().next().unwrap_or(part),
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
            if self.is_there(&part).await? {
                self.progress.sent(part.size);
                return Ok(());
            }
        }
    }

    /// Sends the part once.
    async fn put(&self, part: &Part) -> Result<(), TransferError> {
        let request = Request {
            method: "PUT".to_owned(),
            url: part.url.clone().unwrap_or_default(),
            headers: [].into(),
        };
        let most = GRACE + Duration::from_secs(part.size / SLOWEST);
        let source = self.source(part);
        transfer::put(self.client, &request, &source, Some(most), self.progress).await
    }

    /// Returns whether S3 has the part with the file's present content.
    async fn is_there(&self, part: &Part) -> Result<bool, TransferError> {
        let Some(md5) = part.etag.as_deref().and_then(md5_of) else {
            return Ok(false);
        };
        let own = hash(&self.source(part)).await;
        Ok(own.map_err(TransferError::File)? == md5)
    }

    fn source(&self, part: &Part) -> Source<'_> {
        Source {
            path: self.path,
            offset: part.offset,
            size: part.size,
        }
    }
}

/// Returns whether a retry may succeed, perhaps with another URL. S3 returns 403 for an expired
/// URL, and 404 for an upload that has ended, of which the registry knows why.
fn may_pass(error: &TransferError) -> bool {
    let refused = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
    error.is_transient()
        || matches!(error, TransferError::Refused { status, .. } if refused.contains(status))
}

/// Returns the MD5 in an ETag, if it is one: with encryption by KMS keys it is not.
fn md5_of(etag: &str) -> Option<String> {
    let etag = etag.trim_matches('"');
    let is_md5 = etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_md5.then(|| etag.to_ascii_lowercase())
}

/// Returns the MD5 of some of the file's bytes, in hexadecimal.
async fn hash(source: &Source<'_>) -> io::Result<String> {
    let mut bytes = transfer::open(source).await?.take(source.size);
    let mut hash = Md5::new();
    let mut buffer = vec![0; READ];
    loop {
        let read = bytes.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    let mut hex = String::new();
    for byte in hash.finalize() {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_an_md5_or_unknown() {
        let md5 = "827ccb0eea8a706c4c34a16891f84e7b";
        assert_eq!(md5_of(&format!("\"{md5}\"")).as_deref(), Some(md5));
        assert_eq!(md5_of(&md5.to_uppercase()).as_deref(), Some(md5));
        for other in ["", "\"\"", "\"827ccb0eea8a706c4c34a16891f84e7b-2\"", "xyz"] {
            assert_eq!(md5_of(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_part_is_hashed_at_its_offset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("members.csv");
        std::fs::write(&path, b"xx12345yy").unwrap();
        let source = Source {
            path: &path,
            offset: 2,
            size: 5,
        };
        let md5 = hash(&source).await.unwrap();
        assert_eq!(md5, "827ccb0eea8a706c4c34a16891f84e7b");
    }
}
