//! `mpulse-bench ingest`: what ingest uses for each row, beside the bare SDK loop and boto3.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mpulse_shared::batch::Mode;
use serde::{Deserialize, Serialize};

use crate::figures::{Figures, Origin, show, table};
use crate::ground::Ground;
use crate::report::Measured;
use crate::role::function;
use crate::role::sdk_loop;
use crate::{Error, boto3, roster};

/// What is measured.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Rows of the roster
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,

    /// The mode of the batch; given more than once, one after the other [default: both]
    #[arg(long = "mode", value_name = "MODE")]
    modes: Vec<ModeArg>,

    /// Rows of the bare SDK loop; its rate doesn't depend on them
    #[arg(long, default_value_t = 500_000)]
    loop_rows: u64,

    /// Rows for boto3; its rate doesn't depend on them
    #[arg(long, default_value_t = 50_000)]
    boto3_rows: u64,

    /// Measure ingest alone
    #[arg(long)]
    alone: bool,

    /// Another program to be the function, instead of this one in its role
    #[arg(long, value_name = "PROGRAM")]
    function: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    Upsert,
    Overwrite,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Upsert => Self::Upsert,
            ModeArg::Overwrite => Self::Overwrite,
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Speed {
    /// Where and when.
    pub origin: Origin,
    /// The ingest function, once for each mode.
    pub ingest: Vec<Figures>,
    /// The bare SDK loop.
    pub sdk_loop: Option<Figures>,
    /// The boto3 loader.
    pub boto3: Option<Figures>,
}

/// Measures and prints.
///
/// # Errors
/// Where something can't be measured.
pub async fn run(args: IngestArgs) -> Result<(), Error> {
    let origin = Origin::here();
    let ground = Ground::start().await?;
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let file = work.path().join("roster.csv");
    roster::write(&file, args.rows, 0)?;
    let modes = if args.modes.is_empty() {
        vec![ModeArg::Overwrite, ModeArg::Upsert]
    } else {
        args.modes
    };
    let program = args.function.as_deref();
    let mut ingest = Vec::new();
    for mode in modes.into_iter().map(Mode::from) {
        let object = ground.uploads.upload(&file, mode).await?;
        let (figures, rows) =
            function::measure(&ground, &object, program, function::name(mode)).await?;
        if rows.created + rows.updated != args.rows {
            return Err(format!("{} rows became {rows:?}", args.rows).into());
        }
        ingest.push(figures);
    }
    let mut speed = Speed {
        origin,
        ingest,
        sdk_loop: None,
        boto3: None,
    };
    if !args.alone {
        speed.sdk_loop = Some(sdk_loop::measure(&ground, args.loop_rows).await?);
        roster::write(&file, args.boto3_rows, 0)?;
        let object = ground.uploads.upload(&file, Mode::Overwrite).await?;
        speed.boto3 = Some(boto3::measure(&ground, &object, args.boto3_rows).await?);
    }
    show(&Measured::Speed(speed), args.json)
}

impl Speed {
    /// All that was measured, ingest first.
    pub fn all(&self) -> Vec<Figures> {
        let peers = self.sdk_loop.iter().chain(&self.boto3);
        self.ingest.iter().chain(peers).cloned().collect()
    }

    /// How many times as many rows ingest deals with in a second of CPU as each peer.
    pub fn ratios(&self) -> Vec<(String, f64)> {
        let mut ratios = Vec::new();
        for ingest in &self.ingest {
            for peer in self.sdk_loop.iter().chain(&self.boto3) {
                let name = format!("{} / {}", ingest.what, peer.what);
                ratios.push((name, ingest.rate() / peer.rate()));
            }
        }
        ratios
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.all()))?;
        for (name, ratio) in self.ratios() {
            writeln!(f, "{name}: {ratio:.2}")?;
        }
        Ok(())
    }
}
