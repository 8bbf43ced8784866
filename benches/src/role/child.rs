//! A function in a process of its own, with the environment that Lambda gives it, and the delivery of its event.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::error::Error;
use crate::runtime_api::{FUNCTION, RuntimeApi};

/// Deliveries before a measurement is given up.
const DELIVERIES: u32 = 100;

/// The wait before a message is delivered again.
const REDELIVERY: Duration = Duration::from_secs(1);

/// Starts a role of this program, or `program` in its place.
///
/// # Errors
/// Returns an error if the process cannot start.
pub fn start(
    role: &str,
    program: Option<&Path>,
    environment: &HashMap<String, String>,
    memory: u32,
    api: &RuntimeApi,
) -> Result<Child, Error> {
    let own = std::env::current_exe()?;
    let mut command = Command::new(program.unwrap_or(&own));
    command.args(program.is_none().then_some(role));
    let child = command
        .env_clear()
        .envs(environment)
        .env("AWS_LAMBDA_RUNTIME_API", &api.address)
        .env("AWS_LAMBDA_FUNCTION_NAME", FUNCTION)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory.to_string())
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "bench")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// Delivers an event as SQS does: again, as long as it is returned as a failure. The first run has `first_timeout`, if it is
/// given, so that the next one has to continue.
///
/// # Errors
/// Returns an error if the function does not finish.
pub async fn deliver(
    api: &RuntimeApi,
    event: &Value,
    timeout: Duration,
    first_timeout: Option<Duration>,
) -> Result<(), Error> {
    let mut next_timeout = first_timeout.unwrap_or(timeout);
    for _ in 0..DELIVERIES {
        let answer = api.invoke(event, next_timeout).await?;
        next_timeout = timeout;
        let failures = answer["batchItemFailures"].as_array();
        if failures.is_none_or(Vec::is_empty) {
            return Ok(());
        }
        tokio::time::sleep(REDELIVERY).await;
    }
    Err(format!("not finished after {DELIVERIES} deliveries").into())
}
