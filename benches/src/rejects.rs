//! `mpulse-bench rejects`: what ingest uses for a file of which no row is good.

use std::fmt;

use clap::Args;
use mpulse_shared::batch::Mode;
use serde::{Deserialize, Serialize};

use crate::figures::{Figures, Origin, show, table};
use crate::ground::Ground;
use crate::report::Measured;
use crate::role::function;
use crate::{Error, roster};

/// What is measured.
#[derive(Debug, Args)]
pub struct RejectsArgs {
    /// Rows of the file; given more than once, one after the other
    #[arg(long, default_value = "1000000")]
    rows: Vec<u64>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rejects {
    /// Where and when.
    pub origin: Origin,
    /// The ingest function, for each size of file.
    pub ingest: Vec<Figures>,
}

/// Measures and prints.
///
/// # Errors
/// Where a row isn't refused.
pub async fn run(args: RejectsArgs) -> Result<(), Error> {
    let origin = Origin::here();
    let ground = Ground::start().await?;
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let file = work.path().join("roster.csv");
    let mut ingest = Vec::new();
    for wanted in args.rows {
        roster::write(&file, wanted, wanted)?;
        let object = ground.uploads.upload(&file, Mode::Upsert).await?;
        let (figures, rows) = function::measure(&ground, &object, None, "all rows refused").await?;
        if rows.rejected != wanted {
            return Err(format!("{wanted} bad rows became {rows:?}").into());
        }
        ingest.push(figures);
    }
    show(&Measured::Rejects(Rejects { origin, ingest }), args.json)
}

impl fmt::Display for Rejects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.ingest))
    }
}
