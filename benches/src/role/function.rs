//! The ingest function in its own process.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mpulse_shared::batch::{Mode, Rows, Status};
use mpulse_shared::logging;
use mpulse_shared::setup::Setup;
use tokio::process::{Child, Command};

use crate::error::Error;
use crate::figures::Figures;
use crate::ground::{self, Ground};
use crate::process::{Watch, cpu_seconds, memory};
use crate::runtime_api::{FUNCTION, RuntimeApi};
use crate::uploads::Object;

/// The hidden subcommand of this role.
pub const ROLE: &str = "role-function";

/// Deliveries before a measurement is given up.
const DELIVERIES: u32 = 100;

/// The wait before a message is delivered again.
const REDELIVERY: Duration = Duration::from_secs(1);

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
    let mut child = start(ground, program, &api)?;
    let id = child.id().ok_or("the function has ended")?;
    let watch = Watch::start(id);
    ground.table.take_asked();
    let started = Instant::now();
    tokio::select! {
        delivered = deliver(ground, object, &api, interruption) => delivered?,
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

fn start(ground: &Ground, program: Option<&Path>, api: &RuntimeApi) -> Result<Child, Error> {
    let own = std::env::current_exe()?;
    let mut command = Command::new(program.unwrap_or(&own));
    command.args(program.is_none().then_some(ROLE));
    let child = command
        .env_clear()
        .envs(&ground.environment)
        .env("AWS_LAMBDA_RUNTIME_API", &api.address)
        .env("AWS_LAMBDA_FUNCTION_NAME", FUNCTION)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env(
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            ground.function.memory.to_string(),
        )
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "bench")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// Delivers the event as SQS does: again, as long as it is returned as a failure.
async fn deliver(
    ground: &Ground,
    object: &Object,
    api: &RuntimeApi,
    interruption: Option<Duration>,
) -> Result<(), Error> {
    let event = ground::event(object);
    let mut timeout = interruption.unwrap_or(ground.function.timeout);
    for _ in 0..DELIVERIES {
        let answer = api.invoke(&event, timeout).await?;
        timeout = ground.function.timeout;
        let failures = answer["batchItemFailures"].as_array();
        if failures.is_none_or(Vec::is_empty) {
            return Ok(());
        }
        tokio::time::sleep(REDELIVERY).await;
    }
    Err(format!("not finished after {DELIVERIES} deliveries").into())
}
