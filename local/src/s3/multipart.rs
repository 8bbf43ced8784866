//! Multipart uploads, where s3s-fs would lose or mix up data. A part is stored completely or not at
//! all, and not after its upload has ended. It is hashed while it arrives, so a list of thousands
//! of parts reads none of them again. Completing can be retried, while s3s-fs deletes parts as it
//! joins them, so a process killed in the meantime would lose them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::StreamExt;
use s3s::crypto::{Checksum, Md5};
use s3s::dto::{CompletedPart, StreamingBlob};
use s3s::{S3ErrorCode, S3Result, s3_error};
use tempfile::TempPath;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};

use super::files::{Files, set_time};

/// The minimum size of every part except the last, in bytes (an S3 limit).
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// The highest number of a part (an S3 limit).
const MAX_PART_NUMBER: i32 = 10_000;
/// Bytes of a part read or written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// A part, as it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Described {
    modified: SystemTime,
    /// In bytes.
    pub(super) size: u64,
    md5: [u8; 16],
}

impl Described {
    /// Its `ETag`, without quotes.
    pub(super) fn e_tag(&self) -> String {
        hex(&self.md5)
    }
}

/// Known parts, by upload and number. It is a cache: an unknown or changed part is
/// read.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<(String, i32), Described>>);

impl Known {
    /// Returns the size and hash of a part.
    pub(super) async fn describe(
        &self,
        files: &Files,
        id: &str,
        number: i32,
    ) -> io::Result<Described> {
        let path = files.part(id, number);
        let (modified, size) = state(&fs::metadata(&path)?)?;
        let name = (id.to_owned(), number);
        if let Some(known) = self.all().get(&name).copied()
            && (known.modified, known.size) == (modified, size)
        {
            return Ok(known);
        }
        let md5 = hash(&path).await?;
        let described = Described {
            modified,
            size,
            md5,
        };
        self.all().insert(name, described);
        Ok(described)
    }

    /// Moves a part into its place, over one with the same number. Returns its `ETag`.
    pub(super) fn place(
        &self,
        files: &Files,
        id: &str,
        number: i32,
        part: Incoming,
    ) -> io::Result<String> {
        set_time(&part.path)?;
        let (modified, size) = state(&fs::metadata(&part.path)?)?;
        let described = Described {
            modified,
            size,
            md5: part.md5,
        };
        part.path.persist(files.part(id, number))?;
        self.all().insert((id.to_owned(), number), described);
        Ok(described.e_tag())
    }

    /// Forgets the parts of an upload that has ended.
    pub(super) fn forget(&self, id: &str) {
        self.all().retain(|(upload, _), _| upload != id);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(String, i32), Described>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when a file was written, and its size.
fn state(metadata: &fs::Metadata) -> io::Result<(SystemTime, u64)> {
    Ok((metadata.modified()?, metadata.len()))
}

/// A received part, not yet in its place.
#[derive(Debug)]
pub(super) struct Incoming {
    path: TempPath,
    md5: [u8; 16],
}

/// Receives a part completely. One that breaks off leaves nothing.
pub(super) async fn receive(
    files: &Files,
    number: i32,
    body: Option<StreamingBlob>,
) -> S3Result<Incoming> {
    if !(1..=MAX_PART_NUMBER).contains(&number) {
        return Err(s3_error!(
            InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive"
        ));
    }
    let path = TempPath::try_from_path(files.temporary()).map_err(s3s::S3Error::internal_error)?;
    let file = tokio::fs::File::create(&path).await;
    let file = file.map_err(s3s::S3Error::internal_error)?;
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut hash = Md5::new();
    let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    while let Some(piece) = body.next().await {
        let piece =
            piece.map_err(|error| s3s::S3Error::with_source(S3ErrorCode::IncompleteBody, error))?;
        hash.update(&piece);
        let written = writer.write_all(&piece).await;
        written.map_err(s3s::S3Error::internal_error)?;
    }
    let written = writer.flush().await;
    written.map_err(s3s::S3Error::internal_error)?;
    Ok(Incoming {
        path,
        md5: hash.finalize(),
    })
}

/// A completed upload.
pub(super) struct Joined {
    /// Its `ETag`: the hash of the parts' hashes, and their number.
    pub(super) e_tag: String,
    /// In bytes.
    pub(super) size: u64,
}

/// Returns whether `id` is the id of an open upload of that object.
pub(super) fn is_under_way(files: &Files, bucket: &str, key: &str, id: &str) -> bool {
    let well_formed = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    well_formed && files.upload(id).exists() && files.headers(bucket, key, Some(id)).exists()
}

/// Returns the parts to join, checked as S3 checks them.
pub(super) async fn wanted(
    files: &Files,
    known: &Known,
    id: &str,
    parts: Option<Vec<CompletedPart>>,
) -> S3Result<Vec<(i32, Described)>> {
    let parts = parts.filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| s3_error!(MalformedXML))?;
    let count = parts.len();
    let mut wanted: Vec<(i32, Described)> = Vec::with_capacity(count);
    for (index, part) in parts.into_iter().enumerate() {
        let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML))?;
        if wanted.last().is_some_and(|(last, _)| *last >= number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let there = known.describe(files, id, number).await;
        let there = there.map_err(|error| s3_error!(error, InvalidPart))?;
        let is_meant = part
            .e_tag
            .is_some_and(|e_tag| e_tag.value() == there.e_tag());
        if !is_meant {
            return Err(s3_error!(InvalidPart));
        }
        if there.size < MIN_PART_BYTES && index + 1 < count {
            return Err(s3_error!(EntityTooSmall));
        }
        wanted.push((number, there));
    }
    Ok(wanted)
}

/// Joins the parts into `target`. The kernel copies from file to file, which takes no memory and
/// little time. Fails with `NotFound` if a part has changed.
pub(super) fn join(
    files: &Files,
    id: &str,
    parts: &[(i32, Described)],
    target: &Path,
) -> io::Result<Joined> {
    let mut joined = fs::File::create(target)?;
    let mut hashes = Md5::new();
    let mut size = 0;
    for (number, wanted) in parts {
        let mut part = fs::File::open(files.part(id, *number))?;
        if state(&part.metadata()?)? != (wanted.modified, wanted.size) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        size += io::copy(&mut part, &mut joined)?;
        hashes.update(&wanted.md5);
    }
    Ok(Joined {
        e_tag: format!("{}-{}", hex(&hashes.finalize()), parts.len()),
        size,
    })
}

async fn hash(path: &Path) -> io::Result<[u8; 16]> {
    let mut part = tokio::fs::File::open(path).await?;
    let mut hash = Md5::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = part.read(&mut buffer).await?;
        if read == 0 {
            return Ok(hash.finalize());
        }
        hash.update(&buffer[..read]);
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

/// The error for an upload that does not exist.
pub(super) fn no_such_upload() -> s3s::S3Error {
    S3ErrorCode::NoSuchUpload.into()
}
