//! The bytes of an object, read in pieces of a quarter of a megabyte: s3s-fs reads four kilobytes
//! at a time, which uses most of a core at the speed of a local disk.

use std::io::{self, SeekFrom};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::stream::try_unfold;
use s3s::dto::StreamingBlob;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// The first byte of the range in a `Content-Range`; without one it is that of the object.
pub(super) fn start(content_range: Option<&str>) -> u64 {
    let range = content_range.and_then(|range| range.strip_prefix("bytes "));
    let first = range.and_then(|range| range.split('-').next());
    first.and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// Returns `length` bytes of the file from `start` on. The file is open when this returns, so an
/// object that is replaced later is still read as it was.
pub(super) async fn read(path: &Path, start: u64, length: u64) -> io::Result<StreamingBlob> {
    let mut file = File::open(path).await?;
    file.seek(SeekFrom::Start(start)).await?;
    let pieces = try_unfold((file, length), |(mut file, left)| async move {
        let wanted = usize::try_from(left)
            .unwrap_or(PIECE_BYTES)
            .min(PIECE_BYTES);
        if wanted == 0 {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(wanted);
        // Without a limit, a buffer larger than requested would be filled.
        let read = (&mut file).take(wanted as u64).read_buf(&mut piece).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let rest = (file, left - read as u64);
        Ok::<Option<(Bytes, _)>, io::Error>(Some((piece.freeze(), rest)))
    });
    // A stream that is not `Unpin` has to be pinned to be wrapped.
    Ok(StreamingBlob::wrap(Box::pin(pieces)))
}
