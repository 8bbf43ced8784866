//! A fresh `mpulse dev` to measure: the program beside this one, started on a port of its own
//! with data of its own, and loaded by `mpulse upload`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Error, roster};

/// How long the machine may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running machine. It ends when this is dropped, and its data with it.
#[derive(Debug)]
pub struct Dev {
    program: PathBuf,
    child: Child,
    work: TempDir,
    /// Where its API is.
    pub port: u16,
}

impl Dev {
    /// Starts one on this port and the two above it.
    ///
    /// # Errors
    /// Where `mpulse` isn't built, or doesn't start.
    pub async fn start(port: u16) -> Result<Self, Error> {
        let program = std::env::current_exe()?.with_file_name("mpulse");
        if !program.exists() {
            let place = program.display();
            return Err(format!("{place} is not there: build mpulse-cli too").into());
        }
        let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
        let log = work.path().join("log");
        let mut dev = Command::new(&program);
        dev.args(["dev", "--port", &port.to_string(), "--data"]);
        dev.arg(work.path().join("data")).kill_on_drop(true);
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

    /// The process's number.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn process(&self) -> Result<u32, Error> {
        self.child.id().ok_or_else(|| "mpulse dev has ended".into())
    }

    /// Its admin key, as ID:SECRET.
    ///
    /// # Errors
    /// Where there is none.
    pub fn key(&self) -> Result<String, Error> {
        let key = fs::read_to_string(self.work.path().join("data/admin-key"))?;
        Ok(key.trim().to_owned())
    }

    /// Writes a roster of new members and gives its file.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn roster(&self, rows: u64) -> Result<PathBuf, Error> {
        let file = self.work.path().join("roster.csv");
        roster::write(&file, rows, 0)?;
        Ok(file)
    }

    /// Sends a roster of new members by `mpulse upload`, and gives the seconds it took.
    ///
    /// # Errors
    /// Where not every row was created.
    pub async fn upload(&self, roster: &Path, rows: u64) -> Result<f64, Error> {
        let began = Instant::now();
        let mut upload = Command::new(&self.program);
        upload.arg("upload").arg(roster);
        upload.arg("--data").arg(self.work.path().join("data"));
        upload.args(["--url", &format!("http://127.0.0.1:{}", self.port)]);
        let output = upload.stderr(Stdio::null()).output().await?;
        let seconds = began.elapsed().as_secs_f64();
        let told = String::from_utf8_lossy(&output.stdout);
        let created = told.lines().find_map(|line| line.strip_prefix("created"));
        if created.map(str::trim) != Some(&rows.to_string()) {
            return Err(format!("not every row was created:\n{told}").into());
        }
        Ok(seconds)
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where it has ended before.
    pub async fn end(mut self) -> Result<(), Error> {
        Ok(self.child.kill().await?)
    }
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
