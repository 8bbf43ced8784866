//! Waits before retries, with full jitter, so that requests that were throttled together do not
//! come back together.

use std::time::Duration;

/// The longest first wait.
pub const FIRST: Duration = Duration::from_millis(50);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// Returns a random wait before a retry. `retry` counts from 1, and the wait of the first is at
/// most `first`.
#[must_use]
pub fn wait(first: Duration, retry: u32) -> Duration {
    let most = first
        .saturating_mul(1 << retry.saturating_sub(1).min(10))
        .min(LONGEST);
    most.mul_f64(random())
}

/// Returns a random number from 0 to 1. Without a random source it is 1, the longest wait, which is
/// safe.
fn random() -> f64 {
    getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX))
}
