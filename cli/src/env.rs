//! `mpulse env`: prints the settings that the template gives to the functions, for programs that run them
//! beside `mpulse dev`, such as `cargo lambda watch --env-file`.

use std::io;

use clap::Args;
use thiserror::Error;

use crate::dev::{self, DEFAULT_PORT, DevError, MAX_PORT};
use crate::output::print;

/// The arguments of `mpulse env`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mpulse env > target/functions.env\n  \
                  cargo lambda watch --invoke-address 127.0.0.1 --env-file target/functions.env")]
pub struct EnvArgs {
    /// The port of `mpulse dev`
    #[arg(long, default_value_t = DEFAULT_PORT,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PORT)))]
    port: u16,
}

/// The settings cannot be printed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvError {
    /// The template cannot be read.
    #[error(transparent)]
    LocalStack(#[from] DevError),
    /// Standard output cannot be written.
    #[error("cannot write the settings")]
    Output(#[from] io::Error),
}

/// Prints `NAME=VALUE`, a line each.
///
/// # Errors
/// Returns [`EnvError`].
pub fn run(args: &EnvArgs) -> Result<(), EnvError> {
    let mut lines: Vec<String> = dev::environment(args.port)?
        .into_iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    lines.sort();
    Ok(print(&lines.concat())?)
}
