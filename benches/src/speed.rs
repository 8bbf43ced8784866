//! `mpulse-bench ingest`: CPU time and memory of ingest per row, compared with the bare SDK loop
//! and boto3.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mpulse_shared::batch::{BatchRequest, Mode};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::figures::{Figures, Origin, table};
use crate::ground::Ground;
use crate::packed::Packing;
use crate::role::function;
use crate::role::sdk_loop;
use crate::{boto3, roster};

/// The arguments.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub struct IngestArgs {
    /// Rows of the roster
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,

    /// The mode of the batch; may be repeated [default: both]
    #[arg(long = "mode", value_name = "MODE")]
    modes: Vec<ModeArg>,

    /// Rows of the bare SDK loop; its rate does not depend on them
    #[arg(long, default_value_t = 500_000)]
    loop_rows: u64,

    /// Rows for boto3; its rate does not depend on them
    #[arg(long, default_value_t = 50_000)]
    boto3_rows: u64,

    /// Measure ingest alone
    #[arg(long)]
    alone: bool,

    /// Measure it with the roster packed in this way too, in mode overwrite; may be repeated
    #[arg(long, value_name = "PACKING")]
    packed: Vec<Packing>,

    /// Measure each packed roster with a run that is interrupted in its middle too
    #[arg(long)]
    interrupted: bool,

    /// Measure mode upsert without the report of changes too
    #[arg(long)]
    without_changes: bool,

    /// Another program to run as the function
    #[arg(long, value_name = "PROGRAM")]
    function: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    Upsert,
    Overwrite,
    Replace,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Upsert => Self::Upsert,
            ModeArg::Overwrite => Self::Overwrite,
            ModeArg::Replace => Self::Replace,
        }
    }
}

/// The result.
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

/// Measures.
///
/// # Errors
/// Returns an error if a measurement fails.
pub async fn run(args: &IngestArgs) -> Result<Speed, Error> {
    let origin = Origin::here();
    let ground = Ground::start().await?;
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let file = work.path().join("roster.csv");
    roster::write(&file, args.rows, 0)?;
    let modes = if args.modes.is_empty() {
        vec![ModeArg::Overwrite, ModeArg::Upsert]
    } else {
        args.modes.clone()
    };
    let program = args.function.as_deref();
    let mut ingest = Vec::new();
    for mode in modes.into_iter().map(Mode::from) {
        let object = ground.uploads.upload(&file, mode).await?;
        let (figures, rows) =
            function::measure(&ground, &object, program, function::name(mode), None).await?;
        if rows.created + rows.updated != args.rows {
            return Err(format!("{} rows became {rows:?}", args.rows).into());
        }
        ingest.push(figures);
    }
    if args.without_changes {
        let request = BatchRequest {
            changes: Some(false),
            ..BatchRequest::default()
        };
        let object = ground.uploads.upload_for(request, &file).await?;
        let name = format!("{}, without changes", function::name(Mode::Upsert));
        let (figures, _) = function::measure(&ground, &object, program, &name, None).await?;
        ingest.push(figures);
    }
    for packing in &args.packed {
        let packed = work.path().join("packed");
        packing.pack(&file, &packed)?;
        let name = format!("{}, {}", function::name(Mode::Overwrite), packing.name());
        let mut runs = vec![(name.clone(), false)];
        if args.interrupted {
            runs.push((format!("{name}, interrupted"), true));
        }
        let mut middle = None;
        for (name, is_interrupted) in runs {
            let object = ground.uploads.upload(&packed, Mode::Overwrite).await?;
            let interruption = middle.filter(|_| is_interrupted);
            let (figures, rows) =
                function::measure(&ground, &object, program, &name, interruption).await?;
            if rows.created + rows.updated != args.rows {
                return Err(format!("{} rows became {rows:?}", args.rows).into());
            }
            // A run stops when a quarter of a short time is left.
            middle = Some(Duration::from_secs_f64(figures.wall_seconds / 2.0 / 0.75));
            ingest.push(figures);
        }
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
    Ok(speed)
}

impl Speed {
    /// Returns all results, ingest first.
    pub fn all(&self) -> Vec<Figures> {
        let peers = self.sdk_loop.iter().chain(&self.boto3);
        self.ingest.iter().chain(peers).cloned().collect()
    }

    /// Returns ingest's rows per CPU-second divided by those of each peer.
    pub fn ratios(&self) -> Vec<(String, f64)> {
        let mut ratios = Vec::new();
        for ingest in &self.ingest {
            for peer in self.sdk_loop.iter().chain(&self.boto3) {
                let name = format!("{} / {}", ingest.what, peer.what);
                ratios.push((name, ingest.rate() / peer.rate()));
            }
        }
        // Variants of a mode are compared with the mode itself.
        for varied in &self.ingest {
            let Some((mode, _)) = varied.what.split_once(", ") else {
                continue;
            };
            if let Some(plain) = self.ingest.iter().find(|figures| figures.what == mode) {
                let name = format!("{} / {}", varied.what, plain.what);
                ratios.push((name, varied.rate() / plain.rate()));
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
