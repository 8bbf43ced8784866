//! Completing an upload in parts, so that it can be tried again: s3s-fs takes the
//! upload apart while it joins it, and a process killed meanwhile loses both.

use std::fs;
use std::io;
use std::path::Path;

use s3s::crypto::{Checksum, Md5};
use s3s::dto::CompletedPart;
use s3s::{S3ErrorCode, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::files::Files;

/// S3: every part but the last has at least this many bytes.
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// How much of a part is read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// An upload that was joined.
pub(super) struct Joined {
    /// Its `ETag`: the hash of the parts' hashes, and how many there are.
    pub(super) e_tag: String,
    /// In bytes.
    pub(super) size: u64,
}

/// Whether `id` is the id of an upload that is under way.
pub(super) fn is_under_way(files: &Files, id: &str) -> bool {
    let well_formed = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    well_formed && files.upload(id).exists()
}

/// The numbers of the parts to join, checked as S3 checks them.
pub(super) fn numbers(
    files: &Files,
    id: &str,
    parts: Option<Vec<CompletedPart>>,
) -> S3Result<Vec<i32>> {
    let parts = parts.unwrap_or_default();
    let numbers: Option<Vec<i32>> = parts.into_iter().map(|part| part.part_number).collect();
    let numbers = numbers.filter(|numbers| !numbers.is_empty());
    let numbers = numbers.ok_or_else(|| s3_error!(MalformedXML))?;
    if !numbers.is_sorted_by(|a, b| a < b) {
        return Err(s3_error!(InvalidPartOrder));
    }
    for (index, number) in numbers.iter().enumerate() {
        let part = fs::metadata(files.part(id, *number)).map_err(|e| s3_error!(e, InvalidPart))?;
        if part.len() < MIN_PART_BYTES && index + 1 < numbers.len() {
            return Err(s3_error!(EntityTooSmall));
        }
    }
    Ok(numbers)
}

/// Joins the parts into `target`.
pub(super) async fn join(
    files: &Files,
    id: &str,
    numbers: &[i32],
    target: &Path,
) -> io::Result<Joined> {
    let mut file = tokio::fs::File::create(target).await?;
    let mut hashes = Md5::new();
    let mut size = 0;
    for number in numbers {
        let hash = read_part(&files.part(id, *number), Some(&mut file), &mut size).await?;
        hashes.update(&hash);
    }
    file.flush().await?;
    Ok(Joined {
        e_tag: format!("{}-{}", hex(&hashes.finalize()), numbers.len()),
        size,
    })
}

/// The `ETag` and the size of one part.
pub(super) async fn describe(path: &Path) -> io::Result<(String, u64)> {
    let mut size = 0;
    let hash = read_part(path, None, &mut size).await?;
    Ok((hex(&hash), size))
}

async fn read_part(
    path: &Path,
    mut copy: Option<&mut tokio::fs::File>,
    size: &mut u64,
) -> io::Result<[u8; 16]> {
    let mut part = tokio::fs::File::open(path).await?;
    let mut hash = Md5::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = part.read(&mut buffer).await?;
        if read == 0 {
            return Ok(hash.finalize());
        }
        hash.update(&buffer[..read]);
        if let Some(copy) = copy.as_mut() {
            copy.write_all(&buffer[..read]).await?;
        }
        *size += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The error for an upload that isn't under way.
pub(super) fn no_such_upload() -> s3s::S3Error {
    S3ErrorCode::NoSuchUpload.into()
}
