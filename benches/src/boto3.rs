//! The boto3 loader with which ingest is compared: `peers/boto3_loader.py` in a virtual environment
//! below target/, created on first use.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use crate::error::Error;
use crate::figures::Figures;
use crate::ground::{BUCKET, Ground};
use crate::uploads::Object;

/// The folder of the peers.
pub const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// The virtual environment.
const ENVIRONMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-venv");

/// The output of the loader.
#[derive(Debug, Deserialize)]
struct Printed {
    rows: u64,
    cpu_seconds: f64,
    wall_seconds: f64,
    peak_rss_bytes: u64,
}

/// Runs the loader on an object.
///
/// # Errors
/// Returns an error if it cannot run.
pub async fn measure(ground: &Ground, object: &Object, rows: u64) -> Result<Figures, Error> {
    let python = python().await?;
    ground.table.take_asked();
    let output = Command::new(python)
        .arg(Path::new(PEERS).join("boto3_loader.py"))
        .env_clear()
        .envs(&ground.environment)
        .env("AWS_DEFAULT_REGION", mpulse_local::template::REGION)
        .env("BUCKET", BUCKET)
        .env("KEY", object.batch.upload_key())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("boto3_loader.py ended: {}", output.status).into());
    }
    let printed: Printed = serde_json::from_slice(&output.stdout)?;
    let asked = ground.table.take_asked();
    if printed.rows != rows || asked.writes != rows {
        return Err(format!("boto3_loader.py sent {} of {rows} rows", asked.writes).into());
    }
    Ok(Figures {
        what: "boto3 batch_writer".to_owned(),
        rows,
        requests: asked.requests,
        wall_seconds: printed.wall_seconds,
        cpu_seconds: printed.cpu_seconds,
        peak_rss_bytes: Some(printed.peak_rss_bytes),
        peak_anon_bytes: None,
    })
}

/// Returns the path of the Python that has boto3.
///
/// # Errors
/// Returns an error if it cannot be created.
pub async fn python() -> Result<PathBuf, Error> {
    let environment = Path::new(ENVIRONMENT);
    let python = environment.join("bin/python");
    let done = environment.join("is-complete");
    if !done.exists() {
        eprintln!("mpulse-bench: installing boto3 into {ENVIRONMENT}");
        run(Command::new("python3").args(["-m", "venv", ENVIRONMENT])).await?;
        let wanted = Path::new(PEERS).join("requirements.txt");
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "-r"])
            .arg(wanted);
        run(&mut pip).await?;
        std::fs::write(done, "")?;
    }
    Ok(python)
}

/// Runs a command to its end.
///
/// # Errors
/// Returns an error if it fails.
pub async fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.stdin(Stdio::null()).status().await?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?} ended: {status}").into())
    }
}
