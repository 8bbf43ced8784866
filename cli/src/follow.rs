//! Watches a batch until its end and prints its report, whichever command created it.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::client::{Batch, Client, ClientError};
use crate::connection::Connection;
use crate::output::print;
use crate::report::Report;
use crate::signals::Signals;
use crate::watch;

/// The end of a batch is unknown, or was not printed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The API responded with an error, or did not respond.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The user stopped the command.
    #[error("stopped; the batch continues")]
    Stopped,
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
    /// Standard output cannot be written.
    #[error("cannot write the result")]
    Output(#[source] io::Error),
}

/// How long a command has worked on a batch.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// When it began.
    pub began: Instant,
    /// How long sending the file took, if it sent one.
    pub sent: Option<Duration>,
}

impl Clock {
    /// Returns the clock of a batch without a file to send, which begins now.
    pub fn start() -> Self {
        Self {
            began: Instant::now(),
            sent: None,
        }
    }
}

/// Waits for the end of a batch, prints its report and returns it.
///
/// # Errors
/// Returns [`FollowError`] if the end is unknown.
pub async fn to_the_end(
    client: &Client,
    connection: &Connection,
    id: &str,
    clock: Clock,
) -> Result<Batch, FollowError> {
    let mut signals = Signals::new().map_err(FollowError::Signals)?;
    let batch = tokio::select! {
        batch = watch::until_ended(client, id) => batch?,
        () = signals.next() => return Err(FollowError::Stopped),
    };
    let report = Report {
        batch: &batch,
        rejects_url: client.rejects_url(&batch),
        key_id: client.credential().id.as_str(),
        changes: connection.command(&format!("changes {id}")),
        sent: clock.sent,
        elapsed: clock.began.elapsed(),
    };
    print(&report.to_string()).map_err(FollowError::Output)?;
    Ok(batch)
}

/// Returns the exit code of a batch that has ended: success if every row was processed.
pub fn exit_code(batch: &Batch) -> ExitCode {
    if batch.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
