//! `mpulse changes`: downloads a batch's report of changes.

use std::path::PathBuf;

use clap::Args;
use mpulse_shared::batch::BatchId;
use thiserror::Error;

use crate::connection::{Connection, ConnectionError};
use crate::download::{SaveError, Source, save};

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
    /// The report was not saved.
    #[error(transparent)]
    Save(#[from] SaveError),
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
    let saved = save(&client, Source::Changes(id), args.output.as_deref()).await?;
    if let (Some(bytes), Some(path)) = (saved, &args.output) {
        let path = path.display();
        eprintln!("batch {id}: wrote the changes to {path}, {bytes} bytes");
    }
    Ok(())
}
