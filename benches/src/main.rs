//! `mpulse-bench`: what the system costs in time, memory and units. Each subcommand
//! measures one thing and prints it, as text or (`--json`) for `report` to read.

mod boto3;
mod figures;
mod ground;
mod http_server;
mod ingest_cost;
mod null_table;
mod process;
mod role;
mod roster;
mod runtime_api;

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
    Ingest(ingest_cost::IngestArgs),
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
        Command::Ingest(args) => ingest_cost::run(args).await,
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
