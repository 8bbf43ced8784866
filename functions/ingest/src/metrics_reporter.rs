//! Publishes the metrics of a run, about once a minute and at its end: rows by outcome, units,
//! throttled requests, how long a batch and its checkpoints took, and the batch's age.

use std::time::{Duration, Instant};

use mpulse_shared::batch::{Batch, Capacity, Rows};
use mpulse_shared::metrics::{MetricValue, Metrics};
use mpulse_shared::time::Timestamp;

/// The time between two publications.
const PERIOD: Duration = Duration::from_mins(1);

/// The metrics of one run and what has been published.
#[derive(Debug)]
pub struct MetricsReporter {
    metrics: Metrics,
    last_published: Instant,
    /// The counters as last published: the next publication contains the difference.
    rows: Rows,
    capacity: Capacity,
    throttles: u64,
    /// When a checkpoint was last saved, and the longest time between two since the last
    /// publication.
    saved: Instant,
    longest: Duration,
}

impl MetricsReporter {
    /// Starts with a batch's checkpoint.
    pub fn new(metrics: Metrics, batch: &Batch) -> Self {
        let now = Instant::now();
        Self {
            metrics,
            last_published: now,
            rows: batch.checkpoint.rows,
            capacity: batch.checkpoint.capacity,
            throttles: batch.checkpoint.throttles,
            saved: now,
            longest: Duration::ZERO,
        }
    }

    /// Records that a checkpoint was saved, and publishes metrics if they are due.
    pub fn saved(&mut self, batch: &Batch) {
        self.longest = self.longest.max(self.saved.elapsed());
        self.saved = Instant::now();
        if self.last_published.elapsed() >= PERIOD {
            self.publish(batch, &[]);
        }
    }

    /// Publishes the rest, with the metrics of the run's end.
    pub fn publish(&mut self, batch: &Batch, end: &[MetricValue]) {
        let at = &batch.checkpoint;
        // The counters of a dry run are predictions.
        let mut figures = if batch.dry_run {
            Vec::new()
        } else {
            figures(at.rows, self.rows)
        };
        let units = at.capacity;
        figures.extend([
            MetricValue::count("ReadUnits", units.read_units - self.capacity.read_units),
            MetricValue::count("WriteUnits", units.write_units - self.capacity.write_units),
            MetricValue::count("Throttles", count(at.throttles - self.throttles)),
            MetricValue::seconds("CheckpointAge", self.longest.as_secs_f64()),
            MetricValue::seconds("BatchAge", age(batch, Timestamp::now()).as_secs_f64()),
        ]);
        figures.extend_from_slice(end);
        let request = batch.request_id.as_deref().unwrap_or_default();
        let about = [
            ("batch_id", batch.batch_id.as_str()),
            ("request_id", request),
        ];
        self.metrics.publish(&figures, &about);
        (self.rows, self.capacity, self.throttles) = (at.rows, at.capacity, at.throttles);
        (self.last_published, self.longest) = (Instant::now(), Duration::ZERO);
    }
}

/// Returns the time since a batch's file arrived.
fn age(batch: &Batch, now: Timestamp) -> Duration {
    let came = batch.uploaded_at.unwrap_or(batch.created_at);
    Duration::from_millis(u64::try_from(now.millis_since(came)).unwrap_or_default())
}

/// Returns the rows by outcome since `before`.
fn figures(now: Rows, before: Rows) -> Vec<MetricValue> {
    [
        ("RowsRead", now.read - before.read),
        ("RowsCreated", now.created - before.created),
        ("RowsUpdated", now.updated - before.updated),
        ("RowsUnchanged", now.unchanged - before.unchanged),
        ("RowsSuperseded", now.superseded - before.superseded),
        ("RowsRejected", now.rejected - before.rejected),
        ("MembersRemoved", now.removed - before.removed),
    ]
    .map(|(name, rows)| MetricValue::count(name, count(rows)))
    .to_vec()
}

#[expect(clippy::cast_precision_loss, reason = "no batch has 2^52 rows")]
fn count(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_difference_is_published() {
        let before = Rows {
            read: 10,
            created: 10,
            ..Rows::default()
        };
        let now = Rows {
            read: 15,
            created: 12,
            rejected: 3,
            ..Rows::default()
        };
        let figures_now = figures(now, before);
        assert!(figures_now.contains(&MetricValue::count("RowsRead", 5.0)));
        assert!(figures_now.contains(&MetricValue::count("RowsCreated", 2.0)));
        assert!(figures_now.contains(&MetricValue::count("RowsRejected", 3.0)));
        assert!(figures_now.contains(&MetricValue::count("RowsUpdated", 0.0)));
    }
}
