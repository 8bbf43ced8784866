//! The time in milliseconds since 1970, from tokio's clock: a test that pauses tokio's clock
//! controls this one too.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A clock that started with the local stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    epoch: Duration,
}

impl Clock {
    /// Creates a clock that starts with the system's time.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            epoch: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// Returns the milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        millis(self.epoch + self.started.elapsed())
    }
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
