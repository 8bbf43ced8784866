//! Containers: recognised by their first bytes, and unpacked in a thread, a chunk at a time.

use std::io::{BufRead, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::read::MultiGzDecoder;
use mpulse_shared::batch::Container;
use mpulse_shared::readable;
use mpulse_shared::run::RunError;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use zip::ZipArchive;
use zip::result::ZipError;

use super::damage::{broken, cause, damaged, zip_problem};
use super::object_reader::{Failure, ObjectReader};
use super::output::{CHUNK, Output};
use super::{Chunk, Input, problem, workbook};

/// The bytes that are needed to recognise a container, unless the file is shorter.
pub const HEAD: usize = 8;

/// Chunks that are unpacked ahead.
const AHEAD: usize = 4;

/// The most names that a message lists.
const NAMES_SHOWN: usize = 5;

/// Files that are not rosters, by their first bytes.
const FOREIGN: [(&[u8], &str); 8] = [
    (
        b"\xD0\xCF\x11\xE0",
        "The file is an old Excel workbook (.xls) or is protected by a password. Save it as .xlsx or CSV without a \
         password, and send it again.",
    ),
    (b"7z\xBC\xAF\x27\x1C", "The file is a 7z archive."),
    (b"Rar!", "The file is a RAR archive."),
    (b"BZh", "The file is compressed by bzip2."),
    (b"\xFD7zXZ", "The file is compressed by xz."),
    (b"\x28\xB5\x2F\xFD", "The file is compressed by zstd."),
    (b"%PDF", "The file is a PDF document."),
    (b"\x89PNG", "The file is a picture."),
];

/// What a file of another kind has to become.
const ACCEPTED: &str =
    "Send CSV, plain or compressed by gzip or zip, or an Excel workbook (.xlsx).";

/// Returns the container of a file.
///
/// # Errors
/// Returns the problem of a file that cannot be a roster.
pub async fn recognise(input: &Input) -> Result<Container, RunError> {
    let mut source = input.source(0);
    let mut head = Vec::new();
    while head.len() < HEAD
        && let Some(bytes) = source.next().await?
    {
        head.extend_from_slice(&bytes);
    }
    if let Some(container) = by_head(&head)? {
        return Ok(container);
    }
    let (input, runtime) = (input.clone(), Handle::current());
    let archive = tokio::task::spawn_blocking(move || {
        let failure = Failure::default();
        of_archive(ObjectReader::new(input, runtime, failure.clone()), &failure)
    });
    archive.await.unwrap_or_else(|_| Err(damaged("zip")))
}

/// Returns the container of a file that begins with these bytes, at least [`HEAD`] if it has as many; `None` if it is a zip
/// archive, which may be a workbook.
///
/// # Errors
/// Returns the problem of a file that cannot be a roster.
pub fn by_head(head: &[u8]) -> Result<Option<Container>, RunError> {
    if let Some((_, message)) = FOREIGN.iter().find(|(start, _)| head.starts_with(start)) {
        return Err(problem("not_csv", format!("{message} {ACCEPTED}")));
    }
    if head.starts_with(b"\x1F\x8B") {
        return Ok(Some(Container::Gzip));
    }
    // The second is the end of an archive without files.
    let is_archive = head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06");
    Ok((!is_archive).then_some(Container::Plain))
}

/// Returns whether an archive is a zip archive or a workbook.
///
/// # Errors
/// Returns the problem of an archive whose list of files cannot be read.
pub fn of_archive<R: Read + Seek>(reader: R, failure: &Failure) -> Result<Container, RunError> {
    let archive =
        ZipArchive::new(reader).map_err(|error| cause(failure, || zip_problem(&error)))?;
    Ok(if workbook::is_one(&archive) {
        Container::Workbook
    } else {
        Container::Zip
    })
}

/// Unpacks a file in a thread. The receiver gets the content, or the error that ends it.
pub fn unpack(input: Input, container: Container) -> Receiver<Result<Chunk, RunError>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let failure = Failure::default();
        let packed = Packed {
            container,
            size: input.object.size,
            sheet: input.format.sheet.clone(),
        };
        let reader = ObjectReader::new(input, runtime, failure.clone());
        unpack_from(reader, &packed, &failure, &sender);
    });
    receiver
}

/// What unpacking needs to know about a file.
pub struct Packed {
    pub container: Container,
    /// The size of the object, in bytes.
    pub size: u64,
    /// The sheet of a workbook that the batch names.
    pub sheet: Option<String>,
}

/// Unpacks a file. The receiver of `sender` gets the content, or the error that ends it.
pub fn unpack_from<R: BufRead + Seek>(
    reader: R,
    packed: &Packed,
    failure: &Failure,
    sender: &Sender<Result<Chunk, RunError>>,
) {
    let unpack = || match packed.container {
        Container::Workbook => workbook::unpack(reader, packed, failure, sender),
        Container::Zip => unzip(reader, packed.size, failure, sender),
        Container::Gzip | Container::Plain => gunzip(reader, failure, sender),
    };
    // A library that panics has found a file that it cannot read. Without an error, the content would seem to end there.
    let result = catch_unwind(AssertUnwindSafe(unpack));
    let result = result.unwrap_or_else(|_| Err(damaged("packed")));
    if let Err(error) = result {
        // If nobody receives it, the run has ended.
        let _ = sender.blocking_send(Err(error));
    }
}

fn gunzip<R: BufRead + Seek>(
    reader: R,
    failure: &Failure,
    sender: &Sender<Result<Chunk, RunError>>,
) -> Result<(), RunError> {
    let mut content = MultiGzDecoder::new(reader);
    let mut out = Output::new(sender);
    let mut buffer = vec![0; CHUNK];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                let position = content.get_mut().stream_position();
                let position =
                    position.map_err(|error| cause(failure, || broken("gzip", &error)))?;
                if !out.send(&buffer[..count], position, position)? {
                    return Ok(());
                }
            }
            Err(error) => return Err(cause(failure, || broken("gzip", &error))),
        }
    }
}

fn unzip<R: Read + Seek>(
    reader: R,
    size: u64,
    failure: &Failure,
    sender: &Sender<Result<Chunk, RunError>>,
) -> Result<(), RunError> {
    let failed = |error: ZipError| cause(failure, || zip_problem(&error));
    let mut archive = ZipArchive::new(reader).map_err(failed)?;
    let index = only_file(&archive)?;
    let mut content = archive.by_index(index).map_err(failed)?;
    // The archive says how long its file is; it is no longer than the archive.
    let packed = content.compressed_size().min(size);
    let whole = content.size().max(1);
    let mut out = Output::new(sender);
    let mut buffer = vec![0; CHUNK];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                // The archive is hardly more than this file, so the share of its content is that of the object.
                let share = u128::from(out.unpacked + count as u64) * u128::from(size);
                let read = u64::try_from(share / u128::from(whole)).unwrap_or(size);
                if !out.send(&buffer[..count], packed, read.min(size))? {
                    return Ok(());
                }
            }
            Err(error) => return Err(cause(failure, || broken("zip", &error))),
        }
    }
}

/// Returns the index of the one file of an archive, apart from what an operating system adds.
fn only_file<R: Read + Seek>(archive: &ZipArchive<R>) -> Result<usize, RunError> {
    let is_added = |name: &str| {
        name.ends_with('/')
            || name
                .split('/')
                .any(|part| part.starts_with('.') || part == "__MACOSX")
    };
    let names: Vec<(usize, String)> = archive
        .file_names_raw()
        .map(|name| String::from_utf8_lossy(name).replace('\\', "/"))
        .enumerate()
        .filter(|(_, name)| !is_added(name))
        .collect();
    match names.as_slice() {
        [(index, _)] => Ok(*index),
        [] => Err(problem(
            "no_file",
            "The zip archive contains no file. Send an archive with one CSV file.",
        )),
        several => {
            let shown = several.iter().map(|(_, name)| name.as_str());
            Err(problem(
                "several_files",
                format!(
                    "The zip archive contains {} files: {}. Send an archive with one file, or each file in a \
                     batch of its own.",
                    several.len(),
                    readable::list(shown, NAMES_SHOWN)
                ),
            ))
        }
    }
}
