//! `mpulse revert`: takes back what a batch has changed.

use std::fmt::Write;
use std::io;
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanCount;
use mpulse_shared::batch::BatchId;
use thiserror::Error;

use crate::client::{Batch, ClientError};
use crate::connection::{Connection, ConnectionError};
use crate::follow::{self, Clock, FollowError};
use crate::output::print;
use crate::terminal;

/// The arguments of `mpulse revert`.
#[derive(Debug, Args)]
#[command(
    after_help = "Members that the batch created are removed, and those that it updated or removed get their old values. A member\n\
                  that something else has written since is not changed. A revert can be reverted.\n\n\
                  Exit code 0: the revert was completed. Exit code 1: anything else, also if the question is answered with no.\n\
                  Exit code 2: invalid arguments; without a terminal, --yes is needed.\n\n\
                  Example:\n  mpulse revert 01KAVT7R3G8W2QZJ5XN4M6P9CD"
)]
pub struct RevertArgs {
    /// The batch, ended
    #[arg(value_name = "BATCH")]
    batch: BatchId,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    connection: Connection,
}

/// The batch was not reverted, or the end is unknown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RevertError {
    /// The registry cannot be called.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The API responded with an error, or did not respond.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// There is nothing to revert.
    #[error("batch {id} cannot be reverted: {reason}")]
    Nothing {
        /// The batch.
        id: String,
        /// Why.
        reason: String,
    },
    /// Nobody can be asked.
    #[error("nothing was reverted; without a terminal, --yes is needed")]
    NotAsked,
    /// The answer was no.
    #[error("nothing was reverted")]
    Declined,
    /// The end of the batch is unknown.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The terminal cannot be used.
    #[error("cannot use the terminal")]
    Terminal(#[from] io::Error),
}

impl RevertError {
    /// Returns whether the arguments are invalid.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_usage(),
            Self::NotAsked => true,
            _ => false,
        }
    }
}

/// Says what a revert does, asks, and waits for the end.
///
/// # Errors
/// Returns [`RevertError`]. For a batch that failed, the exit code is 1 and the printed summary says why.
pub async fn run(args: RevertArgs) -> Result<ExitCode, RevertError> {
    let client = args.connection.client()?;
    let parent = client.batch(args.batch.as_str()).await?;
    if parent.links.revert.is_none() {
        return Err(RevertError::Nothing {
            reason: why_not(&parent),
            id: parent.id,
        });
    }
    print(&intent(&parent))?;
    if !args.yes {
        if !terminal::is_interactive() {
            return Err(RevertError::NotAsked);
        }
        if !terminal::ask("Revert this batch?").await? {
            return Err(RevertError::Declined);
        }
    }

    let clock = Clock::start();
    // Not repeated if its response is lost: that would be a second revert.
    let id = client.revert(&parent.id).await?.id;
    eprintln!(
        "batch {id}: reverts batch {}; processing continues if this command is stopped",
        parent.id
    );
    let batch = follow::to_the_end(&client, &args.connection, &id, clock).await?;
    Ok(follow::exit_code(&batch))
}

/// Returns why a batch has no link to revert it.
fn why_not(batch: &Batch) -> String {
    if batch.dry_run {
        "it is a dry run, which writes nothing".to_owned()
    } else if !batch.has_ended() {
        format!("it has not ended ({})", batch.status)
    } else {
        "it has no report of changes, because it changed nothing, its changes were not recorded, or its report was \
         deleted after 30 days"
            .to_owned()
    }
}

/// Describes what a revert of the batch does.
fn intent(batch: &Batch) -> String {
    let name = batch.file_name.as_deref();
    let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
    let mut text = format!(
        "The revert of batch {}{name} does at most this:\n",
        batch.id
    );
    let rows = &batch.rows;
    for (count, sign, what) in [
        (rows.created, '-', "removed: the batch created them"),
        (rows.updated, '~', "updated: they get their old values"),
        (rows.removed, '+', "created: the batch removed them"),
    ] {
        if count > 0 {
            writeln!(text, "  {sign} {} {what}", HumanCount(count))
                .expect("writing to a string can't fail");
        }
    }
    text.push_str("A member that something else has written since is not changed.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Rows;

    #[test]
    fn a_revert_says_in_numbers_what_it_does() {
        let batch = Batch {
            id: "01K".into(),
            file_name: Some("members.csv".into()),
            rows: Rows {
                created: 1_200,
                removed: 12,
                unchanged: 5,
                ..Rows::default()
            },
            ..Batch::default()
        };
        assert_eq!(
            intent(&batch),
            "\
The revert of batch 01K (members.csv) does at most this:
  - 1,200 removed: the batch created them
  + 12 created: the batch removed them
A member that something else has written since is not changed.
"
        );
    }

    #[test]
    fn a_batch_that_cannot_be_reverted_has_a_reason() {
        let reason = |status: &str, dry_run| {
            why_not(&Batch {
                status: status.into(),
                dry_run,
                ..Batch::default()
            })
        };
        assert_eq!(reason("processing", false), "it has not ended (processing)");
        assert!(reason("completed", true).contains("dry run"));
        assert!(reason("completed", false).contains("report of changes"));
    }
}
