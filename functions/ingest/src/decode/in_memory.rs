//! Files in memory, for the fuzz targets: unpacked and decoded by the code that reads objects.

use std::io::Cursor;

use bytes::Bytes;
use mpulse_shared::batch::Container;
use mpulse_shared::run::RunError;
use tokio::sync::mpsc;

use super::container::{self, HEAD, Packed};
use super::object_reader::Failure;
use super::{Chunk, Content, Decoder, Encoding, Opening};

/// More chunks than [`super::limit`] allows for a file of a few megabytes.
const ALL_CHUNKS: usize = 4096;

/// Returns the container of a file, and its content.
///
/// # Errors
/// Returns the problem of a file that cannot be unpacked.
pub fn unpacked(bytes: &[u8], sheet: Option<&str>) -> Result<(Container, Vec<u8>), RunError> {
    let failure = Failure::default();
    let container = match container::by_head(&bytes[..bytes.len().min(HEAD)])? {
        Some(container) => container,
        None => container::of_archive(Cursor::new(bytes), &failure)?,
    };
    if container == Container::Plain {
        return Ok((container, bytes.to_vec()));
    }
    let packed = Packed {
        container,
        size: bytes.len() as u64,
        sheet: sheet.map(str::to_owned),
    };
    let (sender, mut receiver) = mpsc::channel(ALL_CHUNKS);
    container::unpack_from(Cursor::new(bytes), &packed, &failure, &sender);
    let mut content = Vec::new();
    while let Ok(chunk) = receiver.try_recv() {
        content.extend_from_slice(&chunk?.bytes);
    }
    Ok((container, content))
}

/// Opens a content, which arrives in pieces, at an offset of its text. `known` is how it was found to be encoded.
///
/// # Errors
/// As [`Decoder::open`].
pub async fn decoder(
    container: Container,
    pieces: &[&[u8]],
    known: Option<Encoding>,
    offset: u64,
    label: Option<&str>,
) -> Result<Decoder, RunError> {
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    let opening = Opening {
        container,
        known,
        offset,
        label,
        size,
    };
    let (sender, receiver) = mpsc::channel(pieces.len().max(1));
    let mut at = 0;
    for piece in pieces {
        let before = at;
        at += piece.len() as u64;
        // A plain file is read from its offset on.
        let first = opening.first_byte().saturating_sub(before);
        let first = usize::try_from(first).map_or(piece.len(), |first| first.min(piece.len()));
        let chunk = Chunk {
            bytes: Bytes::copy_from_slice(&piece[first..]),
            object_bytes: at,
        };
        let _ = sender.try_send(Ok(chunk));
    }
    drop(sender);
    Decoder::of(Content::Unpacked(receiver), opening).await
}
