//! `mpulse upload`: sends a roster to a registry, here or in the cloud, and stays with it
//! until every row is dealt with.
//!
//! Standard output gets the result and nothing else; how far it is goes to standard
//! error, as bars on a terminal and as a line every few seconds elsewhere.

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

use crate::client::{Client, ClientError, NewBatch, is_this_machine};
use crate::credential::{Credential, DEFAULT_DATA, KeyFile, KeyFileError};
use crate::output::print;
use crate::sample::account_id;
use transfer::TransferError;

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
    #[arg(long, env = "MPULSE_URL", default_value = "http://127.0.0.1:9000", value_parser = http_url)]
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
    /// Standard output can't be written.
    #[error("can't write the result")]
    Output(#[source] io::Error),
}

impl UploadError {
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

    let created = client
        .create_batch(&NewBatch {
            file_name: file_name.clone(),
            size,
            account_id: args.account,
            mode: args.mode.map(Mode::name),
            parent_batch_id: args.parent,
        })
        .await?;
    let id = created.batch.id;
    eprintln!("batch {id}: sending {file_name}, {size} bytes");
    let file = transfer::Source {
        path: &args.file,
        size,
    };
    transfer::send(&client, &id, &created.upload, &file)
        .await
        .map_err(|source| UploadError::Transfer {
            path: args.file.clone(),
            source,
        })?;
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
