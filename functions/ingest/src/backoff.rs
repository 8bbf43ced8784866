//! Waiting before a request is tried again: full jitter, so that callers who were refused
//! together don't come back together.

use std::time::Duration;

/// The longest first wait.
pub const FIRST: Duration = Duration::from_millis(50);

/// The longest wait of all.
const LONGEST: Duration = Duration::from_secs(5);

/// A random wait before the given try, the first retry being 1, whose wait is `first` at most.
pub fn wait(first: Duration, retry: u32) -> Duration {
    let most = first
        .saturating_mul(1 << retry.saturating_sub(1).min(10))
        .min(LONGEST);
    most.mul_f64(random())
}

/// A number from 0 to 1. Without randomness the wait is the longest, which is safe.
fn random() -> f64 {
    getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX))
}
