//! The ingest function in its own process.

use std::path::Path;
use std::time::{Duration, Instant};

use mpulse_shared::batch::{Mode, Rows, Status};
use mpulse_shared::logging;
use mpulse_shared::setup::Setup;

use crate::error::Error;
use crate::figures::Figures;
use crate::ground::{self, Ground};
use crate::process::{Watch, cpu_seconds, memory};
use crate::role::child;
use crate::runtime_api::RuntimeApi;
use crate::uploads::Object;

/// The hidden subcommand of this role.
pub const ROLE: &str = "role-function";

/// The role: does what functions/ingest/src/main.rs does.
///
/// # Errors
/// Returns an error if a setting is missing.
pub async fn run() -> Result<(), Error> {
    logging::start();
    lambda_runtime::run(ingest::service(&Setup::from_process())?).await
}

/// Runs ingest on one object. Returns what it used, from the start of its process to the end of its
/// response, and its counters. `program` replaces this program's own role. If there is an `interruption`, the first run has
/// only this time, so that the next one continues.
///
/// # Errors
/// Returns an error if the batch does not complete, or the function does not respond.
pub async fn measure(
    ground: &Ground,
    object: &Object,
    program: Option<&Path>,
    what: &str,
    interruption: Option<Duration>,
) -> Result<(Figures, Rows), Error> {
    let api = RuntimeApi::start().await?;
    let (environment, memory_size) = (&ground.environment, ground.function.memory);
    let mut child = child::start(ROLE, program, environment, memory_size, &api)?;
    let id = child.id().ok_or("the function has ended")?;
    let watch = Watch::start(id);
    ground.table.take_asked();
    let event = ground::event(object);
    let started = Instant::now();
    tokio::select! {
        delivered = child::deliver(&api, &event, ground.function.timeout, interruption) => delivered?,
        ended = child.wait() => return Err(format!("the function ended: {}", ended?).into()),
    }
    let wall_seconds = started.elapsed().as_secs_f64();
    let asked = ground.table.take_asked();
    let process = id.to_string();
    let cpu_seconds = cpu_seconds(&process)?;
    let peak_rss = memory(&process, "VmHWM")?;
    let peak_anon = watch.peak();
    child.kill().await?;
    let batch = ground.uploads.batch(&object.batch).await?;
    let rows = batch.checkpoint.rows;
    if !matches!(
        batch.status,
        Status::Completed | Status::CompletedWithRejects
    ) {
        return Err(format!("the batch ended as {:?}: {:?}", batch.status, batch.problem).into());
    }
    let written = rows.created + rows.updated;
    if asked.writes < written {
        return Err(format!("{written} rows counted and {} written", asked.writes).into());
    }
    let figures = Figures {
        what: what.to_owned(),
        rows: rows.read,
        requests: asked.requests,
        wall_seconds,
        cpu_seconds,
        peak_rss_bytes: Some(peak_rss),
        peak_anon_bytes: Some(peak_anon),
    };
    Ok((figures, rows))
}

/// Returns the name of a measurement in this mode.
pub fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Upsert => "ingest upsert",
        Mode::Create => "ingest create",
        Mode::Overwrite => "ingest overwrite",
        Mode::Replace => "ingest replace",
        Mode::Revert => "ingest revert",
        Mode::Erase => "ingest erase",
    }
}
