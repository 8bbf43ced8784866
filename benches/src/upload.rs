//! `mpulse-bench upload`: first loads as a new user makes them, by `mpulse upload` into a fresh
//! `mpulse dev`, and the CPU time of the local stack's threads.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::dev::Dev;
use crate::error::Error;
use crate::figures::{Origin, mebibytes};
use crate::process::{Watch, thread_cpu_seconds};

/// The arguments.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// Rows of a file; may be repeated
    #[arg(long, default_values_t = [100_000, 1_000_000])]
    rows: Vec<u64>,

    /// Measure `mpulse dev --ephemeral` as well
    #[arg(long)]
    ephemeral: bool,

    /// Revert each load as well
    #[arg(long)]
    revert: bool,

    /// Another `mpulse` than the one beside this program, such as target/debug/mpulse
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,

    /// The port of the local stack; the three above it are used too
    #[arg(long, default_value = "9700")]
    port: u16,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upload {
    /// Where and when.
    pub origin: Origin,
    /// The measured program, if it is not the release build.
    pub program: Option<PathBuf>,
    /// The loads.
    pub loads: Vec<Load>,
}

/// One load, into a fresh local stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// Rows of the file, all valid and new.
    pub rows: u64,
    /// Whether the local stack ran with `--ephemeral`.
    pub ephemeral: bool,
    /// Seconds that `mpulse upload` took, from its start to its report.
    pub wall_seconds: f64,
    /// Seconds of CPU of the DynamoDB engine's threads: its server, and its store's background work.
    pub engine_cpu_seconds: f64,
    /// Seconds of CPU of everything else: S3, queue, gateway, and the functions with their SDKs.
    pub other_cpu_seconds: f64,
    /// Seconds that `mpulse revert` took, if it was measured.
    #[serde(default)]
    pub revert_seconds: Option<f64>,
    /// The peak of the local stack's anonymous memory.
    pub peak_anon_bytes: u64,
}

#[expect(clippy::cast_precision_loss, reason = "no roster has 2^52 rows")]
impl Load {
    /// Returns the rows per second, from the command's start to its end.
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.wall_seconds
    }

    /// Returns the rows per second of the revert, if it was measured.
    pub fn revert_rate(&self) -> Option<f64> {
        Some(self.rows as f64 / self.revert_seconds?)
    }

    /// Returns microseconds of CPU per row: in the engine, and in everything else.
    pub fn micros_per_row(&self) -> [f64; 2] {
        [self.engine_cpu_seconds, self.other_cpu_seconds]
            .map(|seconds| seconds * 1e6 / self.rows as f64)
    }

    /// Returns where the data was stored.
    pub fn place(&self) -> &'static str {
        if self.ephemeral {
            "`--ephemeral`"
        } else {
            "data folder"
        }
    }
}

/// Measures.
///
/// # Errors
/// Returns an error if `mpulse` is not built, does not start, or does not create every row.
pub async fn run(args: &UploadArgs) -> Result<Upload, Error> {
    let origin = Origin::here();
    let mut loads = Vec::new();
    for &rows in &args.rows {
        loads.push(load(args, rows, false).await?);
        if args.ephemeral {
            loads.push(load(args, rows, true).await?);
        }
    }
    Ok(Upload {
        origin,
        program: args.program.clone(),
        loads,
    })
}

async fn load(args: &UploadArgs, rows: u64, ephemeral: bool) -> Result<Load, Error> {
    let dev = Dev::start_with(args.port, args.program.as_deref(), ephemeral).await?;
    let roster = dev.roster(rows)?;
    let process = dev.process()?;
    let watch = Watch::start(process);
    let before = thread_cpu_seconds(process)?;
    let (wall_seconds, batch) = dev.upload(&roster, rows).await?;
    let (mut engine_cpu_seconds, mut other_cpu_seconds) = (0.0, 0.0);
    for (thread, seconds) in thread_cpu_seconds(process)? {
        let used = seconds - before.get(&thread).copied().unwrap_or_default();
        if thread == "dynamodb" || thread.starts_with("fjall") {
            engine_cpu_seconds += used;
        } else {
            other_cpu_seconds += used;
        }
    }
    let revert_seconds = if args.revert {
        Some(dev.revert(&batch, rows).await?)
    } else {
        None
    };
    let peak_anon_bytes = watch.peak();
    dev.end().await?;
    Ok(Load {
        rows,
        ephemeral,
        wall_seconds,
        engine_cpu_seconds,
        other_cpu_seconds,
        revert_seconds,
        peak_anon_bytes,
    })
}

impl fmt::Display for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for load in &self.loads {
            let [engine, other] = load.micros_per_row();
            writeln!(
                f,
                "{} rows, {}: {:.1} s, {:.0} rows/s; CPU per row: engine {engine:.0} µs, other {other:.0} µs; \
                 peak RssAnon {}",
                load.rows,
                load.place(),
                load.wall_seconds,
                load.rate(),
                mebibytes(Some(load.peak_anon_bytes)),
            )?;
            if let Some(rate) = load.revert_rate() {
                writeln!(f, "  reverted: {rate:.0} rows/s")?;
            }
        }
        Ok(())
    }
}
