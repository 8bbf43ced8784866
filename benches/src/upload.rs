//! `mpulse-bench upload`: a first load as a newcomer makes it, by `mpulse upload` into a fresh
//! `mpulse dev`, and which of the machine's threads took the time.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::dev::Dev;
use crate::figures::{Origin, mebibytes, show};
use crate::process::{Watch, thread_cpu_seconds};
use crate::report::Measured;

/// What is measured.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// Rows of the file
    #[arg(long, default_value = "1000000")]
    rows: u64,

    /// The machine's port; the two above it are used too
    #[arg(long, default_value = "9700")]
    port: u16,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upload {
    /// Where and when.
    pub origin: Origin,
    /// Rows of the file, all of them good and new.
    pub rows: u64,
    /// Seconds that `mpulse upload` took, from its start to its report.
    pub wall_seconds: f64,
    /// Seconds of CPU that the machine used meanwhile, by the name of its threads.
    pub cpu_seconds: BTreeMap<String, f64>,
    /// The peak of the machine's anonymous memory.
    pub peak_anon_bytes: u64,
}

impl Upload {
    /// Rows a second, from the command's start to its end.
    #[expect(clippy::cast_precision_loss, reason = "no roster has 2^52 rows")]
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.wall_seconds
    }

    /// What the threads of a name do.
    pub fn part(thread: &str) -> &str {
        match thread {
            "dynamodb" => "DynamoDB engine and its server",
            "tokio-rt-worker" => "S3, queue, gateway, and the functions with their SDKs",
            other => other,
        }
    }
}

/// Measures and prints.
///
/// # Errors
/// Where `mpulse` isn't built, doesn't start, or doesn't create every row.
pub async fn run(args: UploadArgs) -> Result<(), Error> {
    let origin = Origin::here();
    let dev = Dev::start(args.port).await?;
    let roster = dev.roster(args.rows)?;
    let process = dev.process()?;
    let watch = Watch::start(process);
    let before = thread_cpu_seconds(process)?;
    let wall_seconds = dev.upload(&roster, args.rows).await?;
    let mut cpu_seconds = thread_cpu_seconds(process)?;
    for (thread, seconds) in &mut cpu_seconds {
        *seconds -= before.get(thread).copied().unwrap_or_default();
    }
    let peak_anon_bytes = watch.peak();
    dev.end().await?;
    let upload = Upload {
        origin,
        rows: args.rows,
        wall_seconds,
        cpu_seconds,
        peak_anon_bytes,
    };
    show(&Measured::Upload(upload), args.json)
}

impl fmt::Display for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!(
            "{} rows in {:.1} s: {:.0} rows/s; peak RssAnon {}\n",
            self.rows,
            self.wall_seconds,
            self.rate(),
            mebibytes(Some(self.peak_anon_bytes)),
        );
        for (thread, seconds) in &self.cpu_seconds {
            let _ = writeln!(text, "{seconds:>9.2} s of CPU: {}", Self::part(thread));
        }
        f.write_str(&text)
    }
}
