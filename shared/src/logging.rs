//! Structured logs: one JSON object per line on standard error, which Lambda collects.
//!
//! Fields are ids, counts and durations, never names, phone numbers or secrets.

use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging; `RUST_LOG` sets the level, which is `info` by default, for all or by module
/// (`warn,ingest=debug`).
pub fn start() {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .with_writer(io::stderr);
    // In tests, logging may be started again in the same process. The first start remains in effect.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
}
