//! `mpulse export`: exports the members of an account, waits for the file, and downloads it.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::client::{ClientError, Export, NewExport};
use crate::connection::{Connection, ConnectionError};
use crate::download::{SaveError, Source, save};
use crate::progress::Progress;
use crate::retry::patiently;
use crate::signals::Signals;
use crate::watch;

/// The arguments of `mpulse export`.
#[derive(Debug, Args)]
#[command(
    after_help = "The file has a row for each member, sorted by client member id, with the columns of the template. Sent with\n\
                  `mpulse upload`, it changes nothing. Open a workbook (--format xlsx) in a spreadsheet rather than a CSV\n\
                  file: its cells are text, so that nothing is taken for a number or a formula.\n\n\
                  Exit code 0: the file was downloaded. Exit code 1: anything else.\n\n\
                  Example:\n  mpulse export --account 4 -o members.csv"
)]
pub struct ExportArgs {
    /// The account
    #[arg(long, value_name = "ACCOUNT")]
    account: String,

    /// The file to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The format of the file
    #[arg(long, value_enum, default_value_t = FormatArg::Csv)]
    format: FormatArg,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    Csv,
    Xlsx,
}

impl FormatArg {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
        }
    }
}

/// The members were not exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The registry cannot be called.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The API responded with an error, or did not respond.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The export ended without a file.
    #[error("export {id}: {status}: {problem}")]
    Failed {
        /// The export.
        id: String,
        /// Its status.
        status: String,
        /// Why it failed.
        problem: String,
    },
    /// The file was not saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The user stopped the command.
    #[error("stopped; the export continues")]
    Stopped,
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

impl ExportError {
    /// Returns whether the arguments are invalid.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Connection(error) if error.is_usage())
    }
}

/// Exports the members and downloads the file.
///
/// # Errors
/// Returns [`ExportError`].
pub async fn run(args: ExportArgs) -> Result<(), ExportError> {
    let client = args.connection.client()?;
    let asked = NewExport {
        account_id: args.account,
        format: args.format.name(),
    };
    let progress = Progress::hidden();
    let created = patiently(&progress, || client.create_export(&asked)).await?;
    let mut signals = Signals::new().map_err(ExportError::Signals)?;
    let export = tokio::select! {
        export = watch::until_exported(&client, &created.id) => export?,
        () = signals.next() => return Err(ExportError::Stopped),
    };
    let Export { id, rows, .. } = &export;
    if export.links.file.is_none() {
        let problem = export.problem.map(|problem| problem.message);
        return Err(ExportError::Failed {
            id: export.id,
            status: export.status,
            problem: problem.unwrap_or_else(|| "there is no file".to_owned()),
        });
    }
    let saved = save(&client, Source::Export(id), args.output.as_deref()).await?;
    if let (Some(bytes), Some(path)) = (saved, &args.output) {
        let path = path.display();
        eprintln!("export {id}: wrote {rows} members to {path}, {bytes} bytes");
    }
    Ok(())
}
