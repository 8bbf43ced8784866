//! The budget of write units: a token bucket for each table.

use tokio::time::Instant;

/// A token bucket of write units.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Units per second.
    pub(super) rate: f64,
    /// Its capacity.
    pub(super) most: f64,
    /// Its content at that time.
    pub(super) units: f64,
    pub(super) at: Instant,
}

impl Bucket {
    /// Creates a bucket for writes of this cost. Its capacity is a second's worth, but at least one
    /// write: a write that costs more than a second's worth must succeed at some time.
    pub(super) fn full(rate: u32, cost: u32, now: Instant) -> Self {
        let most = f64::from(rate.max(cost));
        Self {
            rate: rate.into(),
            most,
            units: most,
            at: now,
        }
    }

    pub(super) fn take(&mut self, cost: u32, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.units = (self.units + passed * self.rate).min(self.most);
        self.at = now;
        let left = self.units - f64::from(cost);
        if left >= 0.0 {
            self.units = left;
        }
        left >= 0.0
    }
}
