//! `mpulse upload`: sends a roster to a registry, here or in the cloud, and stays with it
//! until every row is dealt with.
//!
//! Standard output gets the result and nothing else; how far it is goes to standard
//! error, as bars on a terminal and as a line every few seconds elsewhere.

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
use thiserror::Error;

use crate::client::{Client, ClientError, NewBatch, Upload, is_this_machine};
use crate::credential::{Credential, DEFAULT_DATA, KeyFile, KeyFileError};
use crate::output::print;
use crate::sample::account_id;
use crate::signals::Signals;
use progress::Progress;
use transfer::TransferError;

/// Where `mpulse dev` is, unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:9000";

/// The largest file that is sent by one request, in bytes. A larger one comes in parts, as S3's
/// own guide advises from 100 MB on: what a cut connection costs is then a part, not all of it.
const LARGEST_PUT: u64 = 100_000_000;

/// What `mpulse upload` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 0 when every row was read and dealt with, rejects included, else with 1.\n\n\
                  Example:\n  mpulse upload members.csv --url https://api.example.com --key ops:SECRET"
)]
pub struct UploadArgs {
    /// The CSV file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The registry
    #[arg(long, env = "MPULSE_URL", default_value = DEFAULT_URL, value_parser = http_url)]
    url: Url,

    /// The key to use; without it, the one that `mpulse dev` keeps here
    #[arg(
        long,
        value_name = "ID:SECRET",
        env = "MPULSE_KEY",
        hide_env_values = true
    )]
    key: Option<Credential>,

    /// The account of the rows of a file that has no such column
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account: Option<String>,

    /// What to do with a row whose member exists [default: upsert]
    #[arg(long)]
    mode: Option<Mode>,

    /// The batch whose report of refused rows was corrected to make this file
    #[arg(long, value_name = "BATCH_ID")]
    parent: Option<String>,

    /// The batch whose upload was stopped: the parts of this file that are missing are sent
    #[arg(long, value_name = "BATCH_ID", conflicts_with_all = ["account", "mode", "parent"])]
    resume: Option<String>,

    /// Send a small file in parts too
    #[arg(long, hide = true)]
    multipart: bool,

    /// The data folder of `mpulse dev`, for its key
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DATA)]
    data: PathBuf,
}

/// What is done with a row whose member exists.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Change it where it differs
    Upsert,
    /// Leave it alone
    Create,
    /// Write it without comparing
    Overwrite,
}

impl Mode {
    /// The word that the API uses.
    fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Create => "create",
            Self::Overwrite => "overwrite",
        }
    }
}

/// The upload could not be seen through.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UploadError {
    /// No key was given or found: a matter of usage.
    #[error(
        "no key: give --key ID:SECRET or set MPULSE_KEY (the key of `mpulse dev` would be in {path}, \
         and is used for this machine only)"
    )]
    NoKey {
        /// Where one could have been.
        path: PathBuf,
    },
    /// The file of the local key is unusable.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The file to send can't be read.
    #[error("can't read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something that has no size beforehand.
    #[error("{path} is not a file; what comes from a pipe has to be saved first")]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// The API refused, or nobody answered.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The file didn't get there.
    #[error("{} was not sent", path.display())]
    Transfer {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: TransferError,
    },
    /// The batch to go on with is of another file.
    #[error("batch {id} is of a file of {expected} bytes, and {path} has {size}")]
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
    /// The batch to go on with waits for a file that doesn't come in parts.
    #[error("the file of batch {id} doesn't come in parts; send it anew, as another batch")]
    NoParts {
        /// The batch.
        id: String,
    },
    /// The upload was stopped, and can be taken up again.
    #[error("{source}")]
    Unfinished {
        /// The command line that goes on.
        how: String,
        /// Why it ended.
        source: Box<UploadError>,
    },
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
    /// The wish to stop can't be heard.
    #[error("can't listen for signals")]
    Signals(#[source] io::Error),
    /// Standard output can't be written.
    #[error("can't write the result")]
    Output(#[source] io::Error),
}

impl UploadError {
    /// The command line that goes on, where one can.
    pub fn going_on(&self) -> Option<&str> {
        match self {
            Self::Unfinished { how, .. } => Some(how),
            _ => None,
        }
    }

    /// Whether it is the command line that has to change.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoKey { .. })
    }
}

/// Sends the file and waits for the end of its batch.
///
/// # Errors
/// [`UploadError`] where the batch's end was not seen. A batch that was seen to end badly
/// is an exit code, and its report says why.
pub async fn run(args: UploadArgs) -> Result<ExitCode, UploadError> {
    let began = Instant::now();
    let client = Client::new(&args.url, credential(&args)?)?;
    let (file_name, size) = describe(&args.file).await?;

    let id = match &args.resume {
        Some(id) => {
            resume(&client, &args, id, size).await?;
            id.clone()
        }
        None => send(&client, &args, file_name, size).await?,
    };
    let sent = began.elapsed();

    eprintln!("batch {id}: sent; it goes on if this command is stopped");
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

/// Opens a batch and sends its file. Gives the batch's id.
async fn send(
    client: &Client,
    args: &UploadArgs,
    file_name: String,
    size: u64,
) -> Result<String, UploadError> {
    let created = client
        .create_batch(&NewBatch {
            file_name: file_name.clone(),
            size,
            multipart: args.multipart || size > LARGEST_PUT,
            account_id: args.account.clone(),
            mode: args.mode.map(Mode::name),
            parent_batch_id: args.parent.clone(),
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
                 if it is stopped, it goes on with: {}",
                going_on(args, &id)
            );
            in_parts(client, args, &id, size).await?;
        }
    }
    Ok(id)
}

/// Sends what is missing of a file.
async fn resume(
    client: &Client,
    args: &UploadArgs,
    id: &str,
    size: u64,
) -> Result<(), UploadError> {
    let batch = client.batch(id).await?;
    if !batch.awaits_upload() {
        // It is there already, or no longer wanted: its end tells.
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
    eprintln!("batch {id}: sending what is missing of {size} bytes");
    in_parts(client, args, id, size).await
}

/// Sends the parts that are missing and completes the upload, unless somebody stops it. An
/// error tells how to go on, where one can.
async fn in_parts(
    client: &Client,
    args: &UploadArgs,
    id: &str,
    size: u64,
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
        how: going_on(args, id),
        source: Box::new(error),
    })
}

fn not_sent(args: &UploadArgs, source: TransferError) -> UploadError {
    UploadError::Transfer {
        path: args.file.clone(),
        source,
    }
}

/// The command line that goes on with an upload, without the key.
fn going_on(args: &UploadArgs, id: &str) -> String {
    let file = args.file.display();
    let mut line = format!("mpulse upload --resume {id} {file}");
    if args.url.as_str().trim_end_matches('/') != DEFAULT_URL {
        line.push_str(" --url ");
        line.push_str(args.url.as_str());
    }
    line
}

/// The key to use. The local machine's own goes nowhere else.
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

/// The file's name and size.
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
        return Err("holds a key; use --key for it".to_owned());
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
            multipart: false,
            data: data.to_owned(),
        }
    }

    #[test]
    fn the_local_key_is_for_the_local_machine() {
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
    fn the_line_that_goes_on_holds_no_key() {
        let line = |url| going_on(&args(url, Some("ops:secret"), Path::new("data")), "01K");
        let short = "mpulse upload --resume 01K members.csv";
        assert_eq!(line("http://127.0.0.1:9000"), short);
        let url = "https://api.example.com/prod";
        assert_eq!(line(url), format!("{short} --url {url}"));
    }

    #[test]
    fn a_url_is_http_and_holds_no_key() {
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
