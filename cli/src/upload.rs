//! `mpulse upload`: sends a roster to a registry, on this computer or in the cloud, and waits until
//! every row is processed. After a dry run it shows the plan.
//!
//! Standard output contains the result only; progress goes to standard error, as bars on a terminal
//! and as a line every few seconds elsewhere.

mod effect;
mod format;
mod parts;
mod preview;
mod transfer;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{ArgGroup, Args};
use tempfile::NamedTempFile;
use thiserror::Error;
use ulid::Ulid;

use crate::client::{Client, ClientError, Created, NewBatch, Upload};
use crate::connection::{Connection, ConnectionError};
use crate::follow::{self, Clock, FollowError};
use crate::progress::Progress;
use crate::retry::Tries;
use crate::signals::Signals;
use effect::EffectArgs;
use format::FormatArgs;
use preview::{PreviewArgs, PreviewError};
use transfer::TransferError;

/// The largest file that is sent by one request, in bytes. A larger one is sent in parts, as S3's
/// documentation recommends from 100 MB on: a broken connection then costs a part, not the whole
/// file.
const LARGEST_PUT: u64 = 100_000_000;

/// The arguments of `mpulse upload`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("previewed").args(["dry_run", "resume"]),
    after_help = "\
Exit codes:
  0  every row was processed, rejected rows included; of a dry run: the plan was shown
  1  anything else, such as more members to remove than the limit allows
  2  invalid arguments
  3  with --detailed-exit-code: the plan of a dry run has changes, and was not applied

Examples:
  mpulse upload members.csv --url https://api.example.com --key ops:SECRET
  mpulse upload members.csv --replace --account 4 --removal-limit 5% --dry-run"
)]
pub struct UploadArgs {
    /// The roster: CSV, plain or compressed by gzip or zip, or an Excel workbook (.xlsx)
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    effect: EffectArgs,

    /// The batch whose corrected report of rejected rows this file is
    #[arg(long, value_name = "BATCH_ID")]
    parent: Option<String>,

    /// Resume the stopped upload of this batch: send the parts that are missing
    #[arg(
        long,
        value_name = "BATCH_ID",
        conflicts_with_all = [
            "account", "mode", "replace", "removal_limit", "despite_unreadable_rows", "no_changes", "parent"
        ]
    )]
    resume: Option<String>,

    /// Send in parts, whatever the size
    #[arg(long, hide = true)]
    multipart: bool,

    #[command(flatten)]
    preview: PreviewArgs,

    #[command(flatten)]
    format: FormatArgs,
}

/// The upload failed, or its end is unknown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The registry cannot be called.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Removals were described without a replacement: invalid arguments.
    #[error("--removal-limit and --despite-unreadable-rows need --replace")]
    NotReplace,
    /// The registry ignores that the batch is a dry run. Nothing was sent.
    #[error("the registry does not support dry runs; nothing was sent")]
    NoDryRun,
    /// The file to send cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The path is a folder or a pipe, which has no size.
    #[error("{path} is not a file; save the output of a pipe to a file first")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The API responded with an error, or did not respond.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The file was not sent.
    #[error("{} was not sent", path.display())]
    Transfer {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: TransferError,
    },
    /// The batch to resume has another file.
    #[error("the file of batch {id} has {expected} bytes, but {path} has {size}")]
    OtherFile {
        /// The batch.
        id: String,
        /// The size of its file.
        expected: u64,
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The file of the batch to resume is not sent in parts.
    #[error("the file of batch {id} is not sent in parts; send it in a new batch")]
    NoParts {
        /// The batch.
        id: String,
    },
    /// The upload was interrupted and can be resumed.
    #[error("{source}")]
    Unfinished {
        /// The command that resumes it.
        how: String,
        /// The cause.
        source: Box<UploadError>,
    },
    /// The user stopped the command.
    #[error("stopped")]
    Stopped,
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
    /// The end of the batch is unknown.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The plan was not shown or not applied.
    #[error(transparent)]
    Preview(#[from] PreviewError),
}

impl UploadError {
    /// Returns the command that resumes the upload, if possible.
    pub fn going_on(&self) -> Option<&str> {
        match self {
            Self::Unfinished { how, .. } => Some(how),
            _ => None,
        }
    }

    /// Returns whether the arguments are invalid.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_usage(),
            Self::NotReplace => true,
            _ => false,
        }
    }
}

/// Sends the file and waits for the end of its batch.
///
/// # Errors
/// Returns [`UploadError`] if the end of the batch is unknown. For a batch that failed, the exit
/// code is 1 and the printed summary says why.
pub async fn run(mut args: UploadArgs) -> Result<ExitCode, UploadError> {
    let began = Instant::now();
    if args.effect.misses_replace() {
        return Err(UploadError::NotReplace);
    }
    let client = args.connection.client()?;
    let (mut file_name, mut size) = describe(&args.file).await?;
    let compressed = if args.format.gzip {
        let compressed = compress(&args.file).await?;
        (_, size) = describe(compressed.path()).await?;
        file_name.push_str(".gz");
        Some(compressed)
    } else {
        None
    };
    let going_on = going_on(&args);
    if let Some(compressed) = &compressed {
        args.file = compressed.path().to_owned();
    }

    let id = match &args.resume {
        Some(id) => {
            resume(&client, &args, id, size, &going_on).await?;
            id.clone()
        }
        None => send(&client, &args, file_name, size, &going_on).await?,
    };
    let clock = Clock {
        began,
        sent: Some(began.elapsed()),
    };

    eprintln!("batch {id}: sent; processing continues if this command is stopped");
    let batch = follow::to_the_end(&client, &args.connection, &id, clock).await?;
    if batch.dry_run {
        let code = preview::preview(&client, &args.connection, args.preview, &batch).await?;
        return Ok(code);
    }
    Ok(follow::exit_code(&batch))
}

/// Compresses a file.
async fn compress(path: &Path) -> Result<NamedTempFile, UploadError> {
    let failed = |source| UploadError::File {
        path: path.to_owned(),
        source,
    };
    let source = path.to_owned();
    let made = tokio::task::spawn_blocking(move || format::compress(&source)).await;
    made.map_err(|error| failed(error.into()))?.map_err(failed)
}

/// Creates a batch. If the response is lost, the call is repeated; its key prevents a second batch.
async fn create(client: &Client, batch: &NewBatch) -> Result<Created, ClientError> {
    let key = Ulid::generate().to_string();
    let progress = Progress::hidden();
    let mut tries = Tries::new(&progress);
    loop {
        match client.create_batch(batch, &key).await {
            Err(error) if error.leaves_outcome_open() => tries.again("", error).await?,
            result => return result,
        }
    }
}

/// Creates a batch and sends its file. Returns the batch's id.
async fn send(
    client: &Client,
    args: &UploadArgs,
    file_name: String,
    size: u64,
    going_on: &ResumeCommand,
) -> Result<String, UploadError> {
    let batch = NewBatch {
        file_name: file_name.clone(),
        size,
        multipart: args.multipart || size > LARGEST_PUT,
        account_id: args.effect.account.clone(),
        mode: args.effect.mode(),
        removal: args.effect.removal(),
        changes: args.effect.changes(),
        dry_run: args.preview.dry_run,
        parent_batch_id: args.parent.clone(),
        format: args.format.request(),
    };
    let created = create(client, &batch).await?;
    if args.preview.dry_run && !created.batch.dry_run {
        return Err(UploadError::NoDryRun);
    }
    let id = created.batch.id;
    match &created.upload {
        Upload::Whole(request) => {
            eprintln!("batch {id}: sending {file_name}, {size} bytes");
            let source = transfer::Source {
                path: &args.file,
                offset: 0,
                size,
            };
            let progress = Progress::sending(size);
            let result = transfer::send(client, &id, request, &source, &progress).await;
            progress.finish();
            result.map_err(|source| not_sent(args, source))?;
        }
        Upload::InParts { part_count } => {
            eprintln!(
                "batch {id}: sending {file_name}, {size} bytes, in {part_count} parts\n\
                 to resume after an interruption: {}",
                going_on.of(&id)
            );
            in_parts(client, args, &id, size, going_on).await?;
        }
    }
    Ok(id)
}

/// Sends the missing parts of a file.
async fn resume(
    client: &Client,
    args: &UploadArgs,
    id: &str,
    size: u64,
    going_on: &ResumeCommand,
) -> Result<(), UploadError> {
    let batch = client.batch(id).await?;
    if !batch.awaits_upload() {
        // The file has arrived, or the batch was cancelled: its end is reported.
        return Ok(());
    }
    if batch.links.parts.is_none() {
        return Err(UploadError::NoParts { id: id.to_owned() });
    }
    if let Some(expected) = batch.bytes.total.filter(|expected| *expected != size) {
        return Err(UploadError::OtherFile {
            id: id.to_owned(),
            expected,
            path: args.file.clone(),
            size,
        });
    }
    eprintln!("batch {id}: sending the missing parts of {size} bytes");
    in_parts(client, args, id, size, going_on).await
}

/// Sends the missing parts and completes the upload, unless the user stops it. The error contains
/// the command that resumes it, if possible.
async fn in_parts(
    client: &Client,
    args: &UploadArgs,
    id: &str,
    size: u64,
    going_on: &ResumeCommand,
) -> Result<(), UploadError> {
    let mut signals = Signals::new().map_err(UploadError::Signals)?;
    let progress = Progress::sending(size);
    let result = tokio::select! {
        result = parts::send(client, id, &args.file, &progress) => {
            result.map_err(|source| not_sent(args, source))
        }
        () = signals.next() => Err(UploadError::Stopped),
    };
    progress.finish();
    result.map_err(|error| UploadError::Unfinished {
        how: going_on.of(id),
        source: Box::new(error),
    })
}

fn not_sent(args: &UploadArgs, source: TransferError) -> UploadError {
    UploadError::Transfer {
        path: args.file.clone(),
        source,
    }
}

/// The command that resumes an upload, without the key.
struct ResumeCommand {
    connection: Connection,
    arguments: String,
}

impl ResumeCommand {
    fn of(&self, id: &str) -> String {
        self.connection
            .command(&format!("upload --resume {id} {}", self.arguments))
    }
}

fn going_on(args: &UploadArgs) -> ResumeCommand {
    let mut arguments = args.file.display().to_string();
    for (is_given, argument) in [
        (args.format.gzip, " --gzip"),
        (args.preview.yes, " --yes"),
        (args.preview.detailed_exit_code, " --detailed-exit-code"),
    ] {
        if is_given {
            arguments.push_str(argument);
        }
    }
    ResumeCommand {
        connection: args.connection.clone(),
        arguments,
    }
}

/// Returns the file's name and size.
async fn describe(path: &Path) -> Result<(String, u64), UploadError> {
    let failed = |source| UploadError::File {
        path: path.to_owned(),
        source,
    };
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(UploadError::NotAFile {
            path: path.to_owned(),
        });
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok((name.to_string_lossy().into_owned(), metadata.len()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        upload: UploadArgs,
    }

    fn args(args: &[&str]) -> Result<UploadArgs, clap::Error> {
        let all = [&["x", "members.csv"], args].concat();
        Command::try_parse_from(all).map(|command| command.upload)
    }

    #[test]
    fn the_command_to_resume_contains_what_is_needed() {
        let line = |arguments: &[&str]| going_on(&args(arguments).unwrap()).of("01K");
        let short = "mpulse upload --resume 01K members.csv";
        let local = ["--url", "http://127.0.0.1:9000"];
        assert_eq!(line(&local), short);
        let url = "https://api.example.com/prod";
        let remote = ["--url", url, "--key", "ops:secret"];
        assert_eq!(line(&remote), format!("{short} --url {url}"));
        let dry_run = ["--dry-run", "--yes", "--gzip", "--account", "4"];
        assert_eq!(
            line(&[&local[..], &dry_run].concat()),
            format!("{short} --gzip --yes")
        );
    }

    #[test]
    fn arguments_of_a_plan_need_a_dry_run() {
        for argument in ["--yes", "--detailed-exit-code"] {
            assert!(args(&[argument]).is_err(), "{argument}");
            assert!(args(&[argument, "--dry-run"]).is_ok(), "{argument}");
            // Whether the batch is a dry run was said when it was created.
            assert!(args(&[argument, "--resume", "01K"]).is_ok(), "{argument}");
        }
        for argument in ["--dry-run", "--replace", "--no-changes"] {
            assert!(args(&[argument, "--resume", "01K"]).is_err(), "{argument}");
        }
    }

    #[tokio::test]
    async fn a_folder_is_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = describe(folder.path()).await.unwrap_err();
        assert!(matches!(error, UploadError::NotAFile { .. }));
        let error = describe(&folder.path().join("none.csv")).await.unwrap_err();
        assert!(matches!(error, UploadError::File { .. }));
    }
}
