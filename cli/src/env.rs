//! `mpulse env`: the settings that the template gives the functions, for whoever runs them
//! beside `mpulse dev`, such as `cargo lambda watch --env-file`.

use std::io;

use clap::Args;
use thiserror::Error;

use crate::dev::{self, DEFAULT_PORT, DevError, MAX_PORT};
use crate::output::print;

/// What `mpulse env` is told.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mpulse env > target/functions.env\n  \
                  cargo lambda watch --invoke-address 127.0.0.1 --env-file target/functions.env")]
pub struct EnvArgs {
    /// The port of `mpulse dev` on this machine
    #[arg(long, default_value_t = DEFAULT_PORT,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PORT)))]
    port: u16,
}

/// The settings can't be told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvError {
    /// The template can't be read.
    #[error(transparent)]
    Machine(#[from] DevError),
    /// Standard output can't be written.
    #[error("can't write the settings")]
    Output(#[from] io::Error),
}

/// Prints `NAME=VALUE`, a line each.
///
/// # Errors
/// [`EnvError`].
pub fn run(args: &EnvArgs) -> Result<(), EnvError> {
    let mut lines: Vec<String> = dev::environment(args.port)?
        .into_iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    lines.sort();
    Ok(print(&lines.concat())?)
}
