//! What follows a dry run: its plan is printed, and applied if a person or the arguments say so.

use std::io;
use std::process::ExitCode;

use clap::Args;
use thiserror::Error;

use crate::apply::{self, ApplyError};
use crate::change_report::first_changes;
use crate::client::{Batch, Client};
use crate::connection::Connection;
use crate::download::DownloadError;
use crate::output::print;
use crate::plan::{MOST_CHANGES, Plan};
use crate::terminal;

/// The exit code of a plan with changes, if the arguments want to know. `terraform plan` has 2, which here is that of
/// invalid arguments: a mistyped option must not look like a plan.
const HAS_CHANGES: u8 = 3;

/// The arguments about dry runs.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Dry run")]
pub struct PreviewArgs {
    /// Write nothing: show what the file would change. On a terminal, ask whether to apply it
    #[arg(long, group = "previewed")]
    pub dry_run: bool,

    /// Apply the plan without asking
    #[arg(short, long, requires = "previewed")]
    pub yes: bool,

    /// Exit with code 3 if the plan has changes and is not applied
    #[arg(long, requires = "previewed")]
    pub detailed_exit_code: bool,
}

/// A plan was not shown or not applied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PreviewError {
    /// The report of changes cannot be read.
    #[error("the changes cannot be shown")]
    Report(#[from] DownloadError),
    /// The dry run was not applied, or the end is unknown.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The terminal cannot be used.
    #[error("cannot use the terminal")]
    Terminal(#[from] io::Error),
}

/// What to do with a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Apply,
    Ask,
    Leave,
}

/// Prints the plan of a dry run and applies it if that is decided. Returns the exit code.
///
/// # Errors
/// Returns [`PreviewError`]. For a batch that failed, the exit code is 1 and its report, printed before, says why.
pub async fn preview(
    client: &Client,
    connection: &Connection,
    args: PreviewArgs,
    dry_run: &Batch,
) -> Result<ExitCode, PreviewError> {
    if !dry_run.is_plan() {
        return Ok(ExitCode::FAILURE);
    }
    let id = &dry_run.id;
    let changes = match &dry_run.links.changes {
        Some(_) => first_changes(client, dry_run, MOST_CHANGES).await?,
        None => Vec::new(),
    };
    let plan = Plan {
        batch: dry_run,
        changes: &changes,
        all_changes: connection.command(&format!("changes {id}")),
    };
    print(&format!("\n{plan}"))?;
    let apply = match decision(args, dry_run, terminal::is_interactive()) {
        Decision::Apply => true,
        Decision::Ask => terminal::ask("Apply this plan?").await?,
        Decision::Leave => false,
    };
    if apply {
        return Ok(apply::apply(client, connection, id).await?);
    }
    if dry_run.links.apply.is_some() {
        let command = connection.command(&format!("apply {id}"));
        eprintln!("batch {id}: not applied; to apply it: {command}");
    }
    Ok(exit_code(args, dry_run))
}

/// Returns what to do with a plan. A plan without changes is applied on request only.
fn decision(args: PreviewArgs, dry_run: &Batch, is_interactive: bool) -> Decision {
    if args.yes {
        Decision::Apply
    } else if is_interactive && dry_run.rows.changed() > 0 && dry_run.links.apply.is_some() {
        Decision::Ask
    } else {
        Decision::Leave
    }
}

/// Returns the exit code of a plan that is not applied.
fn exit_code(args: PreviewArgs, dry_run: &Batch) -> ExitCode {
    if args.detailed_exit_code && dry_run.rows.changed() > 0 {
        ExitCode::from(HAS_CHANGES)
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Links, Rows};

    fn dry_run(removed: u64) -> Batch {
        Batch {
            rows: Rows {
                removed,
                ..Rows::default()
            },
            links: Links {
                apply: Some("/apply".into()),
                ..Links::default()
            },
            ..Batch::default()
        }
    }

    #[test]
    fn a_person_is_asked_if_there_are_changes() {
        let asking = PreviewArgs::default();
        assert_eq!(decision(asking, &dry_run(1), true), Decision::Ask);
        assert_eq!(decision(asking, &dry_run(1), false), Decision::Leave);
        assert_eq!(decision(asking, &dry_run(0), true), Decision::Leave);
        let applied = Batch {
            links: Links::default(),
            ..dry_run(1)
        };
        assert_eq!(decision(asking, &applied, true), Decision::Leave);
        let yes = PreviewArgs {
            yes: true,
            ..asking
        };
        assert_eq!(decision(yes, &dry_run(0), false), Decision::Apply);
    }

    #[test]
    fn a_detailed_exit_code_shows_changes() {
        let code = |detailed_exit_code, removed| {
            let args = PreviewArgs {
                detailed_exit_code,
                ..PreviewArgs::default()
            };
            exit_code(args, &dry_run(removed))
        };
        assert_eq!(code(true, 1), ExitCode::from(3));
        for code in [code(true, 0), code(false, 1), code(false, 0)] {
            assert_eq!(code, ExitCode::SUCCESS);
        }
    }
}
