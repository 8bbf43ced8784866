//! `mpulse-bench`: measures time, memory and units. Each subcommand measures one thing and prints
//! it, as text or (`--json`) for `report` to read.

mod boto3;
mod cold_start;
mod connection;
mod cost;
mod dev;
mod error;
mod export;
mod figures;
mod ground;
mod http_server;
mod load;
mod local_stack;
mod lookup;
mod measured;
mod null_table;
mod packed;
mod partitions;
mod plot;
mod process;
mod rejects;
mod report;
mod role;
mod roster;
mod runtime_api;
mod speed;
mod throttle;
mod upload;
mod uploads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Error;
use measured::Measured;

#[derive(Debug, Parser)]
#[command(version, about = "Measures mPulse.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// CPU time and memory of ingest per row, compared with the bare SDK loop and boto3
    Ingest(speed::IngestArgs),
    /// CPU time and memory of ingest for a file with rejected rows only
    Rejects(rejects::RejectsArgs),
    /// Speed and memory of an export, also killed and loaded again
    Export(export::ExportArgs),
    /// Units and price of loading a roster and of sending it again
    Cost(cost::CostArgs),
    /// The share of a throttled table's write units that a load uses
    Throttle(throttle::ThrottleArgs),
    /// The share of what partitions allow that a load uses, for several files
    Partitions(partitions::PartitionsArgs),
    /// A first load by `mpulse upload` into a fresh `mpulse dev`
    Upload(upload::UploadArgs),
    /// Time from each function's start to its readiness and first response, and its size
    ColdStart(cold_start::ColdStartArgs),
    /// Response times, errors and memory under requests and batches at once; fails if a requirement is not met
    Load(load::LoadArgs),
    /// Lookups per second by phone and by client id, among few and many members
    Lookup(lookup::LookupArgs),
    /// Write results into the documents
    Report(report::ReportArgs),
    /// The ingest function, as a process to be measured
    #[command(name = role::function::ROLE, hide = true)]
    RoleFunction,
    /// The export function, as a process to be measured
    #[command(name = role::export::ROLE, hide = true)]
    RoleExport,
    /// The bare SDK loop, as a process to be measured
    #[command(name = role::sdk_loop::ROLE, hide = true)]
    RoleSdkLoop {
        /// Rows to send
        rows: u64,
    },
}

// As in functions/ingest/src/main.rs, which one of the roles is measured in place of.
#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mpulse-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Ingest(args) => Measured::Speed(speed::run(&args).await?).show(args.json),
        Command::Rejects(args) => Measured::Rejects(rejects::run(&args).await?).show(args.json),
        Command::Export(args) => Measured::Export(export::run(&args).await?).show(args.json),
        Command::Cost(args) => Measured::Cost(cost::run(&args).await?).show(args.json),
        Command::Throttle(args) => Measured::Throttle(throttle::run(&args).await?).show(args.json),
        Command::Partitions(args) => {
            Measured::Partitions(partitions::run(&args).await?).show(args.json)
        }
        Command::Upload(args) => Measured::Upload(upload::run(&args).await?).show(args.json),
        Command::ColdStart(args) => {
            Measured::ColdStart(cold_start::run(&args).await?).show(args.json)
        }
        Command::Load(args) => {
            let load = load::run(&args).await?;
            let verdict = load.verdict();
            Measured::Load(load).show(args.json)?;
            verdict
        }
        Command::Lookup(args) => Measured::Lookup(lookup::run(&args).await?).show(args.json),
        Command::Report(args) => report::run(&args),
        Command::RoleExport => role::export::run().await,
        Command::RoleFunction => role::function::run().await,
        Command::RoleSdkLoop { rows } => role::sdk_loop::run(rows).await,
    }
}
