//! `mpulse-bench load`: requests at a fixed rate while batches run, on one fresh `mpulse dev`: response times, errors,
//! and memory.

mod batches;
mod open_loop;
mod page;
mod plot;
mod requests;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use crate::dev::Dev;
use crate::error::Error;
use crate::figures::Origin;
use crate::process;
use crate::roster::{self, Person};
use batches::Batches;
use open_loop::{Outcome, Plan};
use summary::Observed;

pub use page::section;
pub use plot::draw;
pub use summary::Load;

/// Members of the account that are read.
const SAMPLE: usize = 20_000;

/// The pause after the account is loaded, in which the engine finishes its background work.
const SETTLE: Duration = Duration::from_secs(5);

/// The pauses between batches, of the whole time.
const PAUSES: u32 = 30;

/// The time between two samples of the memory.
const MEMORY_GLANCE: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Minutes of mixed load
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=60))]
    minutes: u32,

    /// Seconds of reads alone before it, with the same number of requests per second
    #[arg(long, default_value = "60", value_parser = clap::value_parser!(u32).range(1..))]
    idle: u32,

    /// Requests per second
    #[arg(long, default_value = "500", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// Connections: the most requests at once
    #[arg(long, default_value = "64")]
    connections: usize,

    /// Members of the account that is read, and rows of each nightly file
    #[arg(long, default_value = "200000")]
    members: u64,

    /// Rows of each first load of another account
    #[arg(long, default_value = "200000")]
    rows: u64,

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

/// Measures.
///
/// # Errors
/// Returns an error if the local stack does not start, or a batch does not have the expected counters. Failed requests
/// are in the result.
pub async fn run(args: &LoadArgs) -> Result<Load, Error> {
    let origin = Origin::here();
    let dev = Dev::start_with(args.port, args.program.as_deref(), false).await?;
    let roster = dev.roster(args.members)?;
    dev.upload(&roster, args.members).await?;
    let people = Arc::new(roster::people(&roster, args.members, SAMPLE)?);
    let mut batches = Batches::new(&dev, roster, args.members, args.rows)?;
    tokio::time::sleep(SETTLE).await;

    let plan = Plan {
        port: dev.port,
        rate: args.rate,
        begin: Instant::now(),
        time: Duration::from_secs(args.idle.into()),
        connections: args.connections,
        reads_only: true,
    };
    let idle = send(plan, Arc::clone(&people)).await?;

    let time = Duration::from_mins(args.minutes.into());
    let plan = Plan {
        begin: Instant::now(),
        time,
        reads_only: false,
        ..plan
    };
    let (mixed, memory, batches) = tokio::join!(
        send(plan, people),
        memory(dev.process()?, plan.begin, time),
        batches.run(plan.begin, time, time / PAUSES),
    );
    dev.end().await?;
    Ok(Load::new(
        origin,
        args,
        Observed {
            idle,
            mixed: mixed?,
            memory: memory?,
            batches: batches?,
        },
    ))
}

/// Sends requests on threads of their own.
async fn send(plan: Plan, people: Arc<Vec<Person>>) -> Result<Outcome, Error> {
    tokio::task::spawn_blocking(move || open_loop::run(plan, &people)).await?
}

/// Samples the anonymous memory of a process: seconds from `begin`, and bytes.
async fn memory(process: u32, begin: Instant, time: Duration) -> Result<Vec<(f64, u64)>, Error> {
    let process = process.to_string();
    let mut samples = Vec::new();
    while begin.elapsed() < time {
        let bytes = process::memory(&process, "RssAnon")?;
        samples.push((begin.elapsed().as_secs_f64(), bytes));
        tokio::time::sleep(MEMORY_GLANCE).await;
    }
    Ok(samples)
}
