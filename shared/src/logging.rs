//! Structured logs: one JSON object a line on standard error, which Lambda keeps.
//!
//! Fields are ids, counts and durations. A name, a phone number or a secret never is one.

use tracing_subscriber::EnvFilter;

/// Starts logging; `RUST_LOG` sets the level, which is `info` by default.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start in one process (tests) keeps the first: there is nothing to report.
    let _ = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
