//! `mpulse upload`: sends a roster to a registry, on this computer or in the cloud, and waits until
//! every row is processed.
//!
//! Standard output contains the result only; progress goes to standard error, as bars on a terminal
//! and as a line every few seconds elsewhere.

mod format;
mod parts;
mod progress;
mod report;
mod transfer;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use reqwest::Url;
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::client::{Client, ClientError, NewBatch, Upload, is_this_machine};
use crate::credential::{Credential, DEFAULT_DATA, KeyFile, KeyFileError};
use crate::output::print;
use crate::sample::account_id;
use crate::signals::Signals;
use format::FormatArgs;
use progress::Progress;
use transfer::TransferError;

/// The default URL, that of `mpulse dev`.
const DEFAULT_URL: &str = "http://127.0.0.1:9000";

/// The largest file that is sent by one request, in bytes. A larger one is sent in parts, as S3's
/// documentation recommends from 100 MB on: a broken connection then costs a part, not the whole
/// file.
const LARGEST_PUT: u64 = 100_000_000;

/// The arguments of `mpulse upload`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: every row was processed, rejected rows included. Exit code 1: anything else.\n\n\
                  Example:\n  mpulse upload members.csv --url https://api.example.com --key ops:SECRET"
)]
pub struct UploadArgs {
    /// The roster: CSV, plain or compressed by gzip or zip, or an Excel workbook (.xlsx)
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The URL of the registry
    #[arg(long, env = "MPULSE_URL", default_value = DEFAULT_URL, value_parser = http_url)]
    url: Url,

    /// The key (ID:SECRET); for `mpulse dev` on this computer, the stored admin key is the default
    #[arg(
        long,
        value_name = "ID:SECRET",
        env = "MPULSE_KEY",
        hide_env_values = true
    )]
    key: Option<Credential>,

    /// The account of the rows, for a file without an account column
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account: Option<String>,

    /// How to handle rows of existing members [default: upsert]
    #[arg(long)]
    mode: Option<Mode>,

    /// The batch whose corrected report of rejected rows this file is
    #[arg(long, value_name = "BATCH_ID")]
    parent: Option<String>,

    /// Resume the stopped upload of this batch: send the parts that are missing
    #[arg(long, value_name = "BATCH_ID", conflicts_with_all = ["account", "mode", "parent"])]
    resume: Option<String>,

    #[command(flatten)]
    format: FormatArgs,

    /// Send in parts, whatever the size
    #[arg(long, hide = true)]
    multipart: bool,

    /// The data folder of `mpulse dev`, for its key
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DATA)]
    data: PathBuf,
}

/// How rows of existing members are handled.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Update members that differ
    Upsert,
    /// Do not change existing members
    Create,
    /// Write every row without comparing
    Overwrite,
}

impl Mode {
    /// Returns the API's name of the mode.
    fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Create => "create",
            Self::Overwrite => "overwrite",
        }
    }
}

/// The upload failed, or its end is unknown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UploadError {
    /// No key was given or found: invalid arguments.
    #[error(
        "no key: use --key ID:SECRET or set MPULSE_KEY (the key of `mpulse dev` in {path} is used for \
         this computer only)"
    )]
    NoKey {
        /// Where the local key would be.
        path: PathBuf,
    },
    /// The file of the local key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
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
    /// Standard output cannot be written.
    #[error("cannot write the result")]
    Output(#[source] io::Error),
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
        matches!(self, Self::NoKey { .. })
    }
}

/// Sends the file and waits for the end of its batch.
///
/// # Errors
/// Returns [`UploadError`] if the end of the batch is unknown. For a batch that failed, the exit
/// code is 1 and the printed summary says why.
pub async fn run(mut args: UploadArgs) -> Result<ExitCode, UploadError> {
    let began = Instant::now();
    let client = Client::new(&args.url, credential(&args)?)?;
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
    let sent = began.elapsed();

    eprintln!("batch {id}: sent; processing continues if this command is stopped");
    let batch = watch::until_ended(&client, &id).await?;
    let report = report::Report {
        batch: &batch,
        rejects_url: client.rejects_url(&batch),
        key_id: client.credential().id.as_str(),
        sent,
        elapsed: began.elapsed(),
    };
    print(&report.to_string()).map_err(UploadError::Output)?;
    Ok(if batch.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

/// Creates a batch and sends its file. Returns the batch's id.
async fn send(
    client: &Client,
    args: &UploadArgs,
    file_name: String,
    size: u64,
    going_on: &ResumeCommand,
) -> Result<String, UploadError> {
    let created = client
        .create_batch(&NewBatch {
            file_name: file_name.clone(),
            size,
            multipart: args.multipart || size > LARGEST_PUT,
            account_id: args.account.clone(),
            mode: args.mode.map(Mode::name),
            parent_batch_id: args.parent.clone(),
            format: args.format.request(),
        })
        .await?;
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
    arguments: String,
}

impl ResumeCommand {
    fn of(&self, id: &str) -> String {
        format!("mpulse upload --resume {id} {}", self.arguments)
    }
}

fn going_on(args: &UploadArgs) -> ResumeCommand {
    let mut arguments = args.file.display().to_string();
    if args.format.gzip {
        arguments.push_str(" --gzip");
    }
    if args.url.as_str().trim_end_matches('/') != DEFAULT_URL {
        arguments.push_str(" --url ");
        arguments.push_str(args.url.as_str());
    }
    ResumeCommand { arguments }
}

/// Returns the key to use. The local stack's own key is never sent elsewhere.
fn credential(args: &UploadArgs) -> Result<Credential, UploadError> {
    if let Some(credential) = &args.key {
        return Ok(credential.clone());
    }
    let file = KeyFile::of(&args.data);
    let found = if is_this_machine(&args.url) {
        file.read()?
    } else {
        None
    };
    found.ok_or_else(|| UploadError::NoKey {
        path: file.path().to_owned(),
    })
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

/// Reads an http or https URL with a host.
fn http_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a key; use --key".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str, key: Option<&str>, data: &Path) -> UploadArgs {
        UploadArgs {
            file: "members.csv".into(),
            url: url.parse().unwrap(),
            key: key.map(|key| key.parse().unwrap()),
            account: None,
            mode: None,
            parent: None,
            resume: None,
            format: FormatArgs::default(),
            multipart: false,
            data: data.to_owned(),
        }
    }

    #[test]
    fn the_local_key_is_used_for_loopback_only() {
        let data = tempfile::tempdir().unwrap();
        let file = KeyFile::of(data.path());
        let local = "http://127.0.0.1:9000";
        let found = |url, key| credential(&args(url, key, data.path()));

        assert!(found(local, None).unwrap_err().is_usage());
        file.write(&"admin:local".parse().unwrap()).unwrap();
        assert_eq!(found(local, None).unwrap().secret, "local");
        assert_eq!(found(local, Some("ops:other")).unwrap().secret, "other");
        assert!(
            found("https://api.example.com", None)
                .unwrap_err()
                .is_usage()
        );
    }

    #[test]
    fn the_command_to_resume_contains_no_key() {
        let line = |url| going_on(&args(url, Some("ops:secret"), Path::new("data"))).of("01K");
        let short = "mpulse upload --resume 01K members.csv";
        assert_eq!(line("http://127.0.0.1:9000"), short);
        let url = "https://api.example.com/prod";
        assert_eq!(line(url), format!("{short} --url {url}"));
    }

    #[test]
    fn a_url_is_http_and_contains_no_key() {
        assert!(http_url("http://127.0.0.1:9000").is_ok());
        assert!(http_url("https://x.execute-api.us-east-1.amazonaws.com/prod").is_ok());
        for text in [
            "127.0.0.1:9000",
            "ftp://x",
            "http://",
            "http://admin:secret@x",
            "",
        ] {
            assert!(http_url(text).is_err(), "{text}");
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
