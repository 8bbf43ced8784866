//! `mpulse-bench rejects`: CPU time and memory of ingest for a file with rejected rows only.

use std::fmt;

use clap::Args;
use mpulse_shared::batch::Mode;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::figures::{Figures, Origin, table};
use crate::ground::Ground;
use crate::role::function;
use crate::roster;

/// The arguments.
#[derive(Debug, Args)]
pub struct RejectsArgs {
    /// Rows of the file; may be repeated
    #[arg(long, default_value = "1000000")]
    rows: Vec<u64>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rejects {
    /// Where and when.
    pub origin: Origin,
    /// The ingest function, for each size of file.
    pub ingest: Vec<Figures>,
}

/// Measures.
///
/// # Errors
/// Returns an error if a row is not rejected.
pub async fn run(args: &RejectsArgs) -> Result<Rejects, Error> {
    let origin = Origin::here();
    let ground = Ground::start().await?;
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let file = work.path().join("roster.csv");
    let mut ingest = Vec::new();
    for &wanted in &args.rows {
        roster::write(&file, wanted, wanted)?;
        let object = ground.uploads.upload(&file, Mode::Upsert).await?;
        let (figures, rows) =
            function::measure(&ground, &object, None, "all rows rejected", None).await?;
        if rows.rejected != wanted {
            return Err(format!("{wanted} invalid rows became {rows:?}").into());
        }
        ingest.push(figures);
    }
    Ok(Rejects { origin, ingest })
}

impl fmt::Display for Rejects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.ingest))
    }
}
