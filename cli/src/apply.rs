//! `mpulse apply`: does what a dry run has predicted, with the file that the dry run has read.

use std::process::ExitCode;

use clap::Args;
use mpulse_shared::batch::BatchId;
use thiserror::Error;

use crate::client::{Client, ClientError};
use crate::connection::{Connection, ConnectionError};
use crate::follow::{self, Clock, FollowError};
use crate::progress::Progress;
use crate::retry::Tries;

/// The arguments of `mpulse apply`.
#[derive(Debug, Args)]
#[command(
    after_help = "A dry run can be applied once, while its file is kept: for 7 days. Members that were written since the upload\n\
                  are not overwritten.\n\n\
                  Exit code 0: every row was processed, rejected rows included. Exit code 1: anything else.\n\n\
                  Example:\n  mpulse apply 01KAVT7R3G8W2QZJ5XN4M6P9CD"
)]
pub struct ApplyArgs {
    /// The dry run
    #[arg(value_name = "BATCH")]
    batch: BatchId,

    #[command(flatten)]
    connection: Connection,
}

/// The dry run was not applied, or the end is unknown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The registry cannot be called.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The API responded with an error, or did not respond.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The end of the batch is unknown.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl ApplyError {
    /// Returns whether the arguments are invalid.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Connection(error) if error.is_usage())
    }
}

/// Runs the command.
///
/// # Errors
/// Returns [`ApplyError`]. For a batch that failed, the exit code is 1 and the printed summary says why.
pub async fn run(args: ApplyArgs) -> Result<ExitCode, ApplyError> {
    let client = args.connection.client()?;
    apply(&client, &args.connection, args.batch.as_str()).await
}

/// Applies a dry run and waits for the end.
///
/// # Errors
/// Returns [`ApplyError`]. For a batch that failed, the exit code is 1 and the printed summary says why.
pub async fn apply(
    client: &Client,
    connection: &Connection,
    dry_run: &str,
) -> Result<ExitCode, ApplyError> {
    let clock = Clock::start();
    let id = start(client, dry_run).await?;
    eprintln!(
        "batch {id}: applies the dry run {dry_run}; processing continues if this command is stopped"
    );
    let batch = follow::to_the_end(client, connection, &id, clock).await?;
    Ok(follow::exit_code(&batch))
}

/// Creates the batch that applies a dry run and returns its id. The call can be repeated: a dry run is applied once.
async fn start(client: &Client, dry_run: &str) -> Result<String, ClientError> {
    let progress = Progress::hidden();
    let mut tries = Tries::new(&progress);
    let mut may_have_started = false;
    loop {
        match client.apply(dry_run).await {
            Err(error) if error.is_transient() => {
                may_have_started = true;
                tries.again("", error).await?;
            }
            // The first call may have succeeded, and only its response was lost.
            Err(error) if may_have_started && error.is_conflict() => {
                return client.batch(dry_run).await?.applied_by.ok_or(error);
            }
            result => return result.map(|batch| batch.id),
        }
    }
}
