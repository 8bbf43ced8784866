//! The `mpulse` command: runs the local stack, and works with a registry from a
//! terminal.

mod apply;
mod aws_environment;
mod change;
mod change_report;
mod changes;
mod client;
mod connection;
mod credential;
mod dev;
mod download;
mod env;
mod export;
mod follow;
mod keys;
mod plan;
mod progress;
mod report;
mod retry;
mod revert;
mod signals;
mod terminal;
mod upload;
mod watch;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mpulse_cli::{output, sample};

/// The exit code for invalid arguments, the same as clap's.
const USAGE: u8 = 2;

/// A member registry, on this computer or on AWS.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command, `dev` runs.\n\nExample:\n  mpulse --port 9100"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    dev: dev::DevArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the system on this computer (the local stack)
    Dev(dev::DevArgs),
    /// Send a CSV file and wait until every row is processed, or show what it would change
    Upload(upload::UploadArgs),
    /// Apply a dry run: do what it has predicted
    Apply(apply::ApplyArgs),
    /// Download the report of what a batch has changed, or what a dry run would change
    Changes(changes::ChangesArgs),
    /// Download the members of an account as a file
    Export(export::ExportArgs),
    /// Take back what a batch has changed
    Revert(revert::RevertArgs),
    /// Create, list and revoke access keys
    Keys(keys::KeysArgs),
    /// Print the settings of the functions, to run them with `cargo lambda watch`
    Env(env::EnvArgs),
    /// Generate a CSV file of invented people
    Sample(sample::SampleArgs),
}

/// A request passes through several threads of the local stack, and frees in one what it allocated in another, which
/// the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Dev(cli.dev)) {
        Command::Dev(args) => ended(dev::run(args).await),
        Command::Env(args) => ended(env::run(&args)),
        Command::Keys(args) => ended(keys::run(args).await),
        Command::Sample(args) => ended(sample::run(args)),
        Command::Apply(args) => {
            let result = apply::run(args).await;
            result.unwrap_or_else(|error| failed(&error, code(error.is_usage())))
        }
        Command::Changes(args) => match changes::run(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, code(error.is_usage())),
        },
        Command::Export(args) => match export::run(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, code(error.is_usage())),
        },
        Command::Revert(args) => {
            let result = revert::run(args).await;
            result.unwrap_or_else(|error| failed(&error, code(error.is_usage())))
        }
        Command::Upload(args) => match upload::run(args).await {
            Ok(code) => code,
            Err(error) => {
                let code = failed(&error, code(error.is_usage()));
                if let Some(how) = error.going_on() {
                    eprintln!("to resume: {how}");
                }
                code
            }
        },
    }
}

/// Returns the exit code of an error.
fn code(is_usage: bool) -> u8 {
    if is_usage { USAGE } else { 1 }
}

fn ended<E: Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

fn failed(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("mpulse: {}", story(error));
    ExitCode::from(code)
}

/// Formats an error and its causes, without repeating a cause that its error's text already ends
/// with.
fn story(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let shown = error.to_string();
        if !text.ends_with(&shown) {
            text.push_str(": ");
            text.push_str(&shown);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("port 1 cannot be used: {source}")]
        struct Inner {
            source: std::io::Error,
        }
        #[derive(Debug, thiserror::Error)]
        #[error("the local stack cannot start")]
        struct Outer(#[source] Inner);

        let source = std::io::Error::other("taken");
        assert_eq!(
            story(&Outer(Inner { source })),
            "the local stack cannot start: port 1 cannot be used: taken"
        );
    }

    #[test]
    fn no_command_is_dev() {
        for line in [
            &["mpulse", "--port", "9100"][..],
            &["mpulse", "dev", "--port", "9100"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            let Command::Dev(args) = cli.command.unwrap_or(Command::Dev(cli.dev)) else {
                panic!("{line:?} is dev");
            };
            assert_eq!(args.port, 9100);
        }
    }
}
