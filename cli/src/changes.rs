//! `mpulse changes`: downloads a batch's report of changes.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;
use mpulse_shared::batch::BatchId;
use reqwest::StatusCode;
use thiserror::Error;

use crate::change_report::{Download, ReportError};
use crate::client::Client;
use crate::connection::{Connection, ConnectionError};
use crate::progress::Progress;
use crate::retry::Tries;

/// The arguments of `mpulse changes`.
#[derive(Debug, Args)]
#[command(
    after_help = "The report has a row for each change: the line of the file, what happened (created, updated or removed),\n\
                  the new and the old values, and who wrote the old ones and when. It is made at the end of the batch and\n\
                  kept for 30 days.\n\n\
                  Exit code 0: the report was downloaded. Exit code 1: anything else; if nothing changed, there is no report.\n\n\
                  Example:\n  mpulse changes 01KAVT7R3G8W2QZJ5XN4M6P9CD -o changes.csv"
)]
pub struct ChangesArgs {
    /// The batch, ended; it may be a dry run
    #[arg(value_name = "BATCH")]
    batch: BatchId,

    /// The file to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    connection: Connection,
}

/// The report was not downloaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChangesError {
    /// The registry cannot be called.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The report cannot be read.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The file cannot be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write the report")]
    Output(#[source] io::Error),
}

impl ChangesError {
    /// Returns whether the arguments are invalid.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Connection(error) if error.is_usage())
    }
}

/// Downloads the report. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// Returns [`ChangesError`].
pub async fn run(args: ChangesArgs) -> Result<(), ChangesError> {
    let client = args.connection.client()?;
    let id = args.batch.as_str();
    // The file is not created before there is something to write to it.
    let mut report = Report::new(&client, id);
    let failed = |source| match &args.output {
        Some(path) => ChangesError::File {
            path: path.clone(),
            source,
        },
        None => ChangesError::Output(source),
    };
    let mut to: Option<Box<dyn Write>> = None;
    while let Some(piece) = report.next().await? {
        let to = match &mut to {
            Some(to) => to,
            None => to.insert(match &args.output {
                Some(path) => Box::new(File::create(path).map_err(failed)?),
                None => Box::new(io::stdout()),
            }),
        };
        match to.write_all(&piece).and_then(|()| to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(failed)?,
        }
    }
    if let Some(path) = &args.output {
        eprintln!(
            "batch {id}: wrote the changes to {}, {} bytes",
            path.display(),
            report.received
        );
    }
    Ok(())
}

/// A report in pieces. After a broken connection it goes on where it stopped.
struct Report<'a> {
    client: &'a Client,
    batch_id: &'a str,
    download: Option<Download>,
    received: u64,
}

impl<'a> Report<'a> {
    fn new(client: &'a Client, batch_id: &'a str) -> Self {
        Self {
            client,
            batch_id,
            download: None,
            received: 0,
        }
    }

    async fn next(&mut self) -> Result<Option<bytes::Bytes>, ReportError> {
        let progress = Progress::hidden();
        let mut tries = Tries::new(&progress);
        loop {
            match self.try_next().await {
                Err(error) if error.is_transient() => {
                    self.download = None;
                    tries.again("", error).await?;
                }
                result => return result,
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<bytes::Bytes>, ReportError> {
        let download = match &mut self.download {
            Some(download) => download,
            None => {
                let rest = (self.received > 0).then(|| format!("bytes={}-", self.received));
                let download = Download::open(self.client, self.batch_id, rest.as_deref()).await?;
                if rest.is_some() && !download.is_range() {
                    return Err(ReportError::Refused {
                        status: StatusCode::OK,
                        message: "it sends the whole report again".to_owned(),
                    });
                }
                self.download.insert(download)
            }
        };
        let piece = download.next().await?;
        self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }
}
