//! The time, as milliseconds since 1970, read from tokio's clock: a test that pauses
//! that clock moves this one.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A clock that began at the machine's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    epoch: Duration,
}

impl Clock {
    /// A clock that shows the system's time and goes on from there.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            epoch: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        millis(self.epoch + self.started.elapsed())
    }
}

/// A duration as whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
