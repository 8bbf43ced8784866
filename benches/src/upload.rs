//! `mpulse-bench upload`: a first load as a newcomer makes it, by `mpulse upload` into a fresh
//! `mpulse dev`, and which of the machine's threads took the time.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::figures::{Origin, mebibytes, show};
use crate::process::{Watch, thread_cpu_seconds};
use crate::report::Measured;
use crate::{Error, roster};

/// How long the machine may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let mpulse = std::env::current_exe()?.with_file_name("mpulse");
    if !mpulse.exists() {
        return Err(format!("{} is not there: build mpulse-cli too", mpulse.display()).into());
    }
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let (file, data) = (work.path().join("roster.csv"), work.path().join("data"));
    roster::write(&file, args.rows, 0)?;

    let log = work.path().join("log");
    let mut dev = Command::new(&mpulse);
    dev.args(["dev", "--port", &args.port.to_string(), "--data"]);
    dev.arg(&data).kill_on_drop(true);
    dev.stdout(fs::File::create(&log)?).stderr(Stdio::null());
    let mut dev = dev.spawn()?;
    ready(&mut dev, &log).await?;
    let process = dev.id().ok_or("mpulse dev has ended")?;
    let watch = Watch::start(process);
    let before = thread_cpu_seconds(process)?;

    let began = Instant::now();
    let mut upload = Command::new(&mpulse);
    upload.arg("upload").arg(&file).arg("--data").arg(&data);
    upload.args(["--url", &format!("http://127.0.0.1:{}", args.port)]);
    let output = upload.stderr(Stdio::null()).output().await?;
    let wall_seconds = began.elapsed().as_secs_f64();

    let mut cpu_seconds = thread_cpu_seconds(process)?;
    for (thread, seconds) in &mut cpu_seconds {
        *seconds -= before.get(thread).copied().unwrap_or_default();
    }
    let peak_anon_bytes = watch.peak();
    dev.kill().await?;
    let told = String::from_utf8_lossy(&output.stdout);
    let created = told.lines().find_map(|line| line.strip_prefix("created"));
    if created.map(str::trim) != Some(&args.rows.to_string()) {
        return Err(format!("not every row was created:\n{told}").into());
    }
    let upload = Upload {
        origin,
        rows: args.rows,
        wall_seconds,
        cpu_seconds,
        peak_anon_bytes,
    };
    show(&Measured::Upload(upload), args.json)
}

/// Waits until the machine says that it is ready.
async fn ready(dev: &mut Child, log: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string(log)?.contains("is ready") {
        if let Some(status) = dev.try_wait()? {
            return Err(format!("mpulse dev ended: {status}; is its port taken?").into());
        }
        if Instant::now() > deadline {
            return Err("mpulse dev doesn't become ready".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
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
