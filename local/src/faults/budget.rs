//! Token buckets of capacity units: the budget of a table (`wcu`), and the throughput of a partition.

use tokio::time::Instant;

/// A token bucket of capacity units.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Units per second.
    pub(super) rate: f64,
    /// Its capacity.
    pub(super) most: f64,
    /// Its content at that time. Negative after a cost that was known only afterwards.
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

    /// Creates a bucket with a second's worth that saves up to `seconds` of it.
    pub(super) fn saving(rate: f64, seconds: u32, now: Instant) -> Self {
        Self {
            rate,
            most: rate * f64::from(seconds.max(1)),
            units: rate,
            at: now,
        }
    }

    /// Returns whether it has these units, or is full.
    pub(super) fn offers(&mut self, cost: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.units = (self.units + passed * self.rate).min(self.most);
        self.at = now;
        self.units >= cost.min(self.most)
    }

    /// Takes units, also if it does not have them.
    pub(super) fn spend(&mut self, cost: f64) {
        self.units -= cost;
    }

    /// Takes units if it has them.
    pub(super) fn take(&mut self, cost: f64, now: Instant) -> bool {
        let offers = self.offers(cost, now);
        if offers {
            self.spend(cost);
        }
        offers
    }
}
