//! A fresh `mpulse dev` to measure: the program beside this one, started on its own port with its
//! own data, and loaded by `mpulse upload`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::error::Error;
use crate::roster;

/// Its admin key, as ID:SECRET.
pub const KEY: &str = "bench:the-secret-of-the-benchmark";

/// The longest start of the local stack.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running local stack. It ends when this is dropped, with its data.
#[derive(Debug)]
pub struct Dev {
    program: PathBuf,
    child: Child,
    work: TempDir,
    /// The URL of its API.
    pub port: u16,
}

impl Dev {
    /// Starts one on this port and the three above it.
    ///
    /// # Errors
    /// Returns an error if `mpulse` is not built or does not start.
    pub async fn start(port: u16) -> Result<Self, Error> {
        Self::start_with(port, None, false).await
    }

    /// Starts one of another program than the one beside this one, or with `--ephemeral`.
    ///
    /// # Errors
    /// Returns an error if the program is not built or does not start.
    pub async fn start_with(
        port: u16,
        program: Option<&Path>,
        ephemeral: bool,
    ) -> Result<Self, Error> {
        let program = match program {
            Some(program) => program.canonicalize()?,
            None => std::env::current_exe()?.with_file_name("mpulse"),
        };
        if !program.exists() {
            let place = program.display();
            return Err(format!("{place} does not exist: build mpulse-cli too").into());
        }
        let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
        let log = work.path().join("log");
        let mut dev = Command::new(&program);
        dev.args(["dev", "--port", &port.to_string(), "--key", KEY]);
        if ephemeral {
            dev.arg("--ephemeral");
        } else {
            dev.arg("--data").arg(work.path().join("data"));
        }
        dev.kill_on_drop(true);
        dev.stdout(fs::File::create(&log)?).stderr(Stdio::null());
        let mut child = dev.spawn()?;
        ready(&mut child, &log).await?;
        Ok(Self {
            program,
            child,
            work,
            port,
        })
    }

    /// Returns the process id.
    ///
    /// # Errors
    /// Returns an error if it has ended.
    pub fn process(&self) -> Result<u32, Error> {
        self.child.id().ok_or_else(|| "mpulse dev has ended".into())
    }

    /// Returns a folder for files, which is deleted with it.
    pub fn folder(&self) -> &Path {
        self.work.path()
    }

    /// Writes a roster of new members and returns its file.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn roster(&self, rows: u64) -> Result<PathBuf, Error> {
        let file = self.work.path().join("roster.csv");
        roster::write(&file, rows, 0)?;
        Ok(file)
    }

    /// Sends a roster of new members by `mpulse upload`. Returns the seconds it took, and the batch's id.
    ///
    /// # Errors
    /// Returns an error if not every row was created.
    pub async fn upload(&self, roster: &Path, rows: u64) -> Result<(f64, String), Error> {
        let (seconds, summary) = self.upload_with(roster, &[("created", rows)]).await?;
        let id = value(&summary, "batch").ok_or("the summary has no batch")?;
        Ok((seconds, id.to_owned()))
    }

    /// Sends a roster by `mpulse upload`. Returns the seconds it took, and its summary.
    ///
    /// # Errors
    /// Returns an error if the summary does not have these counters.
    pub async fn upload_with(
        &self,
        roster: &Path,
        counters: &[(&str, u64)],
    ) -> Result<(f64, String), Error> {
        let mut upload = Command::new(&self.program);
        upload.arg("upload").arg(roster);
        self.run(upload, counters).await
    }

    /// Reverts a batch by `mpulse revert`. Returns the seconds it took.
    ///
    /// # Errors
    /// Returns an error if not every member was removed.
    pub async fn revert(&self, batch: &str, rows: u64) -> Result<f64, Error> {
        let mut revert = Command::new(&self.program);
        revert.args(["revert", batch, "--yes"]);
        Ok(self.run(revert, &[("removed", rows)]).await?.0)
    }

    /// Runs a command whose summary must have these counters. Returns the seconds it took, and the summary.
    async fn run(
        &self,
        mut command: Command,
        counters: &[(&str, u64)],
    ) -> Result<(f64, String), Error> {
        let began = Instant::now();
        command.args(["--url", &format!("http://127.0.0.1:{}", self.port)]);
        command.args(["--key", KEY]);
        let output = command.stderr(Stdio::null()).output().await?;
        let seconds = began.elapsed().as_secs_f64();
        let summary = String::from_utf8_lossy(&output.stdout).into_owned();
        for (counter, rows) in counters {
            if value(&summary, counter) != Some(&rows.to_string()) {
                return Err(format!("{counter} is not {rows}:\n{summary}").into());
            }
        }
        Ok((seconds, summary))
    }

    /// Ends it.
    ///
    /// # Errors
    /// Returns an error if it has ended before.
    pub async fn end(mut self) -> Result<(), Error> {
        Ok(self.child.kill().await?)
    }
}

/// Returns the value behind a label of a summary.
fn value<'a>(summary: &'a str, label: &str) -> Option<&'a str> {
    let mut lines = summary.lines();
    lines.find_map(|line| Some(line.strip_prefix(label)?.trim()))
}

/// Waits until the local stack reports that it is ready.
async fn ready(dev: &mut Child, log: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string(log)?.contains("is ready") {
        if let Some(status) = dev.try_wait()? {
            return Err(format!("mpulse dev ended: {status}; is its port taken?").into());
        }
        if Instant::now() > deadline {
            return Err("mpulse dev does not become ready".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
