//! The first changes of a batch's report, of which no more is read than that.

use bytes::BytesMut;

use crate::change::{Change, Kind};
use crate::client::{Batch, Client};
use crate::download::{Download, DownloadError, Source};
use crate::progress::Progress;
use crate::retry::Tries;

/// The bytes at the end of a report in which removed members are looked for: more than twenty of the longest records.
const TAIL: u64 = 64 * 1024;

/// Returns the first changes of a dry run: those of removed members before others, which are in the order of the file.
///
/// # Errors
/// Returns [`DownloadError`] after retries.
pub async fn first_changes(
    client: &Client,
    batch: &Batch,
    most: usize,
) -> Result<Vec<Change>, DownloadError> {
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
) -> Result<Vec<Change>, DownloadError> {
    let mut changes = Vec::new();
    let report = Source::Changes(&batch.id);
    let whole = Download::open(client, report, None).await?;
    // They are at the end of the report, because members are removed after the last row.
    if batch.rows.removed > 0 {
        let range = tail(whole.size());
        let tail = Download::open(client, report, range.as_deref()).await?;
        let is_removed = |change: &Change| change.kind == Kind::Removed;
        collect(tail, most, is_removed, &mut changes).await?;
    }
    if changes.len() < most && batch.rows.created + batch.rows.updated > 0 {
        let is_other = |change: &Change| change.kind != Kind::Removed;
        collect(whole, most, is_other, &mut changes).await?;
    }
    Ok(changes)
}

/// Returns the range of the end of a report; `None` for all of it. A range of the form `bytes=-65536` would be simpler, but
/// not every S3 accepts one that is longer than the object.
fn tail(size: Option<u64>) -> Option<String> {
    let first = size?.checked_sub(TAIL)?;
    Some(format!("bytes={first}-"))
}

/// Adds the wanted changes of a download until there are `most`.
async fn collect(
    mut download: Download,
    most: usize,
    is_wanted: impl Fn(&Change) -> bool,
    changes: &mut Vec<Change>,
) -> Result<(), DownloadError> {
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
    fn the_end_of_a_report_is_requested_by_its_first_byte() {
        assert_eq!(tail(None), None);
        assert_eq!(tail(Some(TAIL - 1)), None);
        assert_eq!(tail(Some(TAIL + 7)).as_deref(), Some("bytes=7-"));
    }

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
