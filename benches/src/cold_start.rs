//! `mpulse-bench cold-start`: the time from each function's start to its readiness and to its first
//! response, and its size, beside a Python and a Node function that do the same read. Functions are
//! the programs that are deployed to Lambda, as `.ci/functions` builds them.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use mpulse_local::template::Function;
use mpulse_local::{BUILT_IN_TEMPLATE, Data, LocalStack, Options, environment_for};
use mpulse_shared::key::{Key, Role, Secret};
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::process::Command;

use crate::boto3::{PEERS, python, run as run_to_end};
use crate::error::Error;
use crate::figures::{Origin, mebibytes};
use crate::process::memory;
use crate::runtime_api::RuntimeApi;

/// The sample events, and the key in them.
const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events");
const KEY: (&str, &str) = ("events", "the-key-of-the-sample-events");

/// The folder of the Node function's SDK.
const NODE_MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-node");

/// Where cargo-lambda puts a function: in a folder of its name, as this.
const LAMBDA_FOLDER: &str = "lambda";
const BOOTSTRAP: &str = "bootstrap";

/// The event that the peers respond to as well.
const READ: &str = "get-member";

/// The arguments.
#[derive(Debug, Args)]
pub struct ColdStartArgs {
    /// Starts of each function; the median is reported
    #[arg(long, default_value = "15")]
    starts: usize,

    /// Without the Python and the Node function
    #[arg(long)]
    alone: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ColdStart {
    /// Where and when.
    pub origin: Origin,
    /// Starts of each.
    pub starts: usize,
    /// One for each function.
    pub functions: Vec<Started>,
}

/// The result of one function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// Its program.
    pub what: String,
    /// From its start to its first request for an event, the median in milliseconds.
    pub ready_ms: f64,
    /// From its first event to its response, the median in milliseconds.
    pub answer_ms: f64,
    /// Resident memory after that.
    pub rss_bytes: u64,
    /// The size of its program.
    pub bytes: Option<u64>,
    /// The size of the deflated program, as in the zip that is deployed.
    pub zipped_bytes: Option<u64>,
}

/// A program to start.
struct Program {
    what: String,
    path: PathBuf,
    arguments: Vec<PathBuf>,
    is_ours: bool,
    environment: HashMap<String, String>,
}

/// Measures.
///
/// # Errors
/// Returns an error if a function is not built, does not start, or fails.
pub async fn run(args: &ColdStartArgs) -> Result<ColdStart, Error> {
    let origin = Origin::here();
    let local_stack = LocalStack::start(Options {
        template: BUILT_IN_TEMPLATE.to_owned(),
        parameters: HashMap::new(),
        data: Data::Ephemeral,
        engines: None,
        port: 0,
        invoke: None,
        faults: None,
        events_to: None,
    })
    .await?;
    let secret = Secret::from_text(KEY.1.to_owned());
    let key = Key::new(KEY.0.parse()?, &secret, Role::Admin, Timestamp::now());
    Keys::from_setup(&local_stack.setup())?
        .replace(&key)
        .await?;
    // So that there is a member to read, whatever the order.
    local_stack
        .invoke("create-member", event("create-member")?)
        .await?;

    let mut functions = Vec::new();
    for function in &local_stack.template().functions {
        let program = ours(&local_stack, function)?;
        let event = event(&function.binary)?;
        functions.push(start(&program, &event, args.starts).await?);
        if function.binary == "delete-member" {
            local_stack
                .invoke("create-member", self::event("create-member")?)
                .await?;
        }
    }
    if !args.alone {
        for program in peers(&local_stack).await? {
            functions.push(start(&program, &event(READ)?, args.starts).await?);
        }
    }
    functions.sort_by(|a, b| a.what.cmp(&b.what));
    local_stack.stop().await;
    let starts = args.starts;
    Ok(ColdStart {
        origin,
        starts,
        functions,
    })
}

fn event(program: &str) -> Result<Value, Error> {
    let file = fs::read_to_string(Path::new(EVENTS).join(format!("{program}.json")))?;
    Ok(serde_json::from_str(&file)?)
}

/// A function of the template, as deployed.
fn ours(local_stack: &LocalStack, function: &Function) -> Result<Program, Error> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).ok_or("no target folder")?;
    let path = target
        .join(LAMBDA_FOLDER)
        .join(&function.binary)
        .join(BOOTSTRAP);
    if !path.exists() {
        return Err(format!("{} does not exist: run .ci/functions", path.display()).into());
    }
    let mut environment = lambda_variables(local_stack);
    environment.extend(function.environment.clone());
    Ok(Program {
        what: function.binary.clone(),
        path,
        arguments: Vec::new(),
        is_ours: true,
        environment,
    })
}

fn lambda_variables(local_stack: &LocalStack) -> HashMap<String, String> {
    environment_for(local_stack.template(), &local_stack.endpoints())
}

/// The same read by a Python function with boto3 and a Node function with its SDK.
async fn peers(local_stack: &LocalStack) -> Result<Vec<Program>, Error> {
    let peers = Path::new(PEERS);
    let installed = Path::new(NODE_MODULES);
    if !installed.join("is-complete").exists() {
        eprintln!("mpulse-bench: installing the AWS SDK for Node into {NODE_MODULES}");
        fs::create_dir_all(installed)?;
        fs::copy(peers.join("package.json"), installed.join("package.json"))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund"]);
        run_to_end(npm.current_dir(installed)).await?;
        fs::write(installed.join("is-complete"), "")?;
    }
    // Node looks for modules beside the file.
    let node_function = installed.join("node_function.mjs");
    fs::copy(peers.join("node_function.mjs"), &node_function)?;
    let mut environment = lambda_variables(local_stack);
    environment.insert(
        "AWS_DEFAULT_REGION".into(),
        mpulse_local::template::REGION.into(),
    );
    let program = |what: &str, path: PathBuf, file: PathBuf| Program {
        what: what.to_owned(),
        path,
        arguments: vec![file],
        is_ours: false,
        environment: environment.clone(),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let node = std::env::split_paths(&path).map(|folder| folder.join("node"));
    let node = node.into_iter().find(|node| node.exists());
    Ok(vec![
        program(
            "Python, boto3",
            python().await?,
            peers.join("python_function.py"),
        ),
        program(
            "Node, AWS SDK",
            node.ok_or("node is not installed")?,
            node_function,
        ),
    ])
}

/// Starts a program several times and returns the medians.
async fn start(program: &Program, event: &Value, starts: usize) -> Result<Started, Error> {
    let (mut ready, mut answers, mut rss) = (Vec::new(), Vec::new(), 0);
    for _ in 0..starts {
        let api = RuntimeApi::start().await?;
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .env_clear()
            .envs(&program.environment)
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", &program.what)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "bench")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let began = Instant::now();
        let mut child = command.spawn()?;
        tokio::select! {
            () = api.polled() => ready.push(began.elapsed()),
            ended = child.wait() => {
                return Err(format!("{} ended: {}", program.what, ended?).into());
            }
        }
        let began = Instant::now();
        let answer = api.invoke(event, Duration::from_secs(30)).await?;
        answers.push(began.elapsed());
        if answer["statusCode"]
            .as_u64()
            .is_some_and(|status| status >= 500)
        {
            return Err(format!("{} answers {answer}", program.what).into());
        }
        let process = child.id().ok_or("the function has ended")?.to_string();
        rss = rss.max(memory(&process, "VmRSS")?);
        child.kill().await?;
    }
    let sizes = program.is_ours.then(|| sizes(&program.path)).transpose()?;
    Ok(Started {
        what: program.what.clone(),
        ready_ms: median(ready),
        answer_ms: median(answers),
        rss_bytes: rss,
        bytes: sizes.map(|(raw, _)| raw),
        zipped_bytes: sizes.map(|(_, zipped)| zipped),
    })
}

/// Returns a file's size, and its deflated size.
fn sizes(path: &Path) -> Result<(u64, u64), Error> {
    let program = fs::read(path)?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&program)?;
    Ok((program.len() as u64, encoder.finish()?.len() as u64))
}

/// The median, in milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    middle.as_secs_f64() * 1000.0
}

impl fmt::Display for ColdStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for one in &self.functions {
            let _ = writeln!(
                text,
                "{:<16} ready {:>6.1} ms, first answer {:>6.1} ms, RSS {:>9}, program {:>9}, \
                 zipped {:>9}",
                one.what,
                one.ready_ms,
                one.answer_ms,
                mebibytes(Some(one.rss_bytes)),
                mebibytes(one.bytes),
                mebibytes(one.zipped_bytes),
            );
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let times = [30, 10, 20].map(Duration::from_millis).to_vec();
        assert!((median(times) - 20.0).abs() < 1e-9);
    }
}
