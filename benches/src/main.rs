//! `mpulse-bench`: what the system costs in time, memory and units. Each subcommand
//! measures one thing and prints it, as text or (`--json`) for `report` to read.

mod boto3;
mod cold_start;
mod cost;
mod dev;
mod figures;
mod ground;
mod http_server;
mod lookup;
mod machine;
mod null_table;
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

/// Whatever kept a measurement from being made.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(version, about = "Measures mPulse.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What ingest uses for each row, beside the bare SDK loop and boto3
    Ingest(speed::IngestArgs),
    /// What ingest uses for a file of which no row is good
    Rejects(rejects::RejectsArgs),
    /// The units and the price of loading a roster and of sending it again
    Cost(cost::CostArgs),
    /// How much of a throttled table's write units a load uses
    Throttle(throttle::ThrottleArgs),
    /// A first load by `mpulse upload` into a fresh `mpulse dev`
    Upload(upload::UploadArgs),
    /// From each function's start to its readiness and first answer, and its size
    ColdStart(cold_start::ColdStartArgs),
    /// Members found a second by phone and by client id, among few and among many
    Lookup(lookup::LookupArgs),
    /// Writes what was measured into the documents
    Report(report::ReportArgs),
    /// The ingest function, as a process to be measured
    #[command(name = role::function::ROLE, hide = true)]
    RoleFunction,
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
    let done = match Cli::parse().command {
        Command::Ingest(args) => speed::run(args).await,
        Command::Rejects(args) => rejects::run(args).await,
        Command::Cost(args) => cost::run(args).await,
        Command::Throttle(args) => throttle::run(args).await,
        Command::Upload(args) => upload::run(args).await,
        Command::ColdStart(args) => cold_start::run(args).await,
        Command::Lookup(args) => lookup::run(args).await,
        Command::Report(args) => report::run(&args),
        Command::RoleFunction => role::function::run().await,
        Command::RoleSdkLoop { rows } => role::sdk_loop::run(rows).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mpulse-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
