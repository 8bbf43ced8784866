//! What a run tells `CloudWatch` of its work, about once a minute and at its end: rows by
//! outcome, units, refusals, how long a batch and its checkpoints took, and how old it is.

use std::time::{Duration, Instant};

use mpulse_shared::batch::{Batch, Capacity, Rows};
use mpulse_shared::metrics::{Figure, Metrics};
use mpulse_shared::time::Timestamp;

/// The time between two tellings.
const PERIOD: Duration = Duration::from_mins(1);

/// What one run has told so far.
#[derive(Debug)]
pub struct Telling {
    metrics: Metrics,
    told: Instant,
    /// Of the checkpoint, as last told: the next telling is of what came since.
    rows: Rows,
    capacity: Capacity,
    throttles: u64,
    /// When a checkpoint was last saved, and the longest time between two since last told.
    saved: Instant,
    longest: Duration,
}

impl Telling {
    /// A run that begins at a batch's checkpoint.
    pub fn new(metrics: Metrics, batch: &Batch) -> Self {
        let now = Instant::now();
        Self {
            metrics,
            told: now,
            rows: batch.checkpoint.rows,
            capacity: batch.checkpoint.capacity,
            throttles: batch.checkpoint.throttles,
            saved: now,
            longest: Duration::ZERO,
        }
    }

    /// Notes that a checkpoint was saved, and tells what is due.
    pub fn saved(&mut self, batch: &Batch) {
        self.longest = self.longest.max(self.saved.elapsed());
        self.saved = Instant::now();
        if self.told.elapsed() >= PERIOD {
            self.tell(batch, &[]);
        }
    }

    /// Tells what is left, and what the run's end is.
    pub fn tell(&mut self, batch: &Batch, end: &[Figure]) {
        let at = &batch.checkpoint;
        let mut figures = figures(at.rows, self.rows);
        let units = at.capacity;
        figures.extend([
            Figure::count("ReadUnits", units.read_units - self.capacity.read_units),
            Figure::count("WriteUnits", units.write_units - self.capacity.write_units),
            Figure::count("Throttles", count(at.throttles - self.throttles)),
            Figure::seconds("CheckpointAge", self.longest.as_secs_f64()),
            Figure::seconds("BatchAge", age(batch, Timestamp::now()).as_secs_f64()),
        ]);
        figures.extend_from_slice(end);
        let request = batch.request_id.as_deref().unwrap_or_default();
        let about = [
            ("batch_id", batch.batch_id.as_str()),
            ("request_id", request),
        ];
        self.metrics.tell(&figures, &about);
        (self.rows, self.capacity, self.throttles) = (at.rows, at.capacity, at.throttles);
        (self.told, self.longest) = (Instant::now(), Duration::ZERO);
    }
}

/// The time since a batch's file came.
fn age(batch: &Batch, now: Timestamp) -> Duration {
    let came = batch.uploaded_at.unwrap_or(batch.created_at);
    Duration::from_millis(u64::try_from(now.millis_since(came)).unwrap_or_default())
}

/// Rows by outcome since `before`.
fn figures(now: Rows, before: Rows) -> Vec<Figure> {
    [
        ("RowsRead", now.read - before.read),
        ("RowsCreated", now.created - before.created),
        ("RowsUpdated", now.updated - before.updated),
        ("RowsUnchanged", now.unchanged - before.unchanged),
        ("RowsSuperseded", now.superseded - before.superseded),
        ("RowsRejected", now.rejected - before.rejected),
    ]
    .map(|(name, rows)| Figure::count(name, count(rows)))
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
    fn only_what_came_since_is_told() {
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
        let told = figures(now, before);
        assert!(told.contains(&Figure::count("RowsRead", 5.0)));
        assert!(told.contains(&Figure::count("RowsCreated", 2.0)));
        assert!(told.contains(&Figure::count("RowsRejected", 3.0)));
        assert!(told.contains(&Figure::count("RowsUpdated", 0.0)));
    }
}
