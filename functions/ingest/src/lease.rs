//! The lease of a run: the batch's record, the checkpoint that is saved under the lease, and the
//! lease itself, which is renewed with every save and during long operations.

use std::time::{Duration, Instant};

use mpulse_shared::batch::{Batch, Checkpoint, Joining, Position, Status, Sweep};
use mpulse_shared::metrics::MetricValue;
use mpulse_shared::run::{Guard, Point, Renew, RunError, while_renewing};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::leases::FinalState;
use mpulse_shared::time::Timestamp;

use crate::metrics_reporter::MetricsReporter;
use crate::table::RunTable;

/// `rows_per_second` is reported after this time: the first rows of a run are counted while they
/// are still being written.
const UNTOLD: Duration = Duration::from_secs(1);

/// The lease of a run on its batch.
pub struct Lease<'a> {
    batches: &'a Batches,
    /// The record. The run advances its checkpoint; this module saves it.
    pub batch: Batch,
    owner: String,
    /// What the run asks before it sends.
    pub guard: Guard,
    /// The table whose consumed units the checkpoint contains.
    table: RunTable,
    reporter: MetricsReporter,
    /// When this run began, and how many rows and bytes were counted by then.
    began: (Instant, u64, u64),
    /// The checkpoint as last saved.
    saved: Checkpoint,
    /// The position at which this run began.
    begun: Place,
    /// When the lease was last renewed.
    renewed: Instant,
}

/// The position of a checkpoint: a run has made progress if it has advanced.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    counted: Position,
    durable: Position,
    sweep: Option<Sweep>,
    joining: [Option<Joining>; 2],
}

impl Place {
    fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            counted: checkpoint.counted,
            durable: checkpoint.durable,
            sweep: checkpoint.sweep.clone(),
            joining: [&checkpoint.joining, &checkpoint.joining_changes].map(Clone::clone),
        }
    }
}

impl<'a> Lease<'a> {
    /// Creates the lease of a batch that `owner` has just claimed.
    pub fn new(
        batches: &'a Batches,
        mut batch: Batch,
        owner: String,
        guard: Guard,
        table: RunTable,
        reporter: MetricsReporter,
    ) -> Self {
        let at = &mut batch.checkpoint;
        // The speed of the previous run is not this run's.
        (at.rows_per_second, at.bytes_per_second) = (0, 0);
        let began = (Instant::now(), at.rows.read, at.bytes_done);
        Self {
            saved: at.clone(),
            begun: Place::of(at),
            renewed: Instant::now(),
            batches,
            batch,
            owner,
            guard,
            table,
            reporter,
            began,
        }
    }

    /// Runs a future, and renews the lease while it runs.
    pub async fn while_renewing<T>(
        &mut self,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        while_renewing(self, work).await
    }

    /// Saves the checkpoint, renews the lease, and reads whether the batch was cancelled.
    pub async fn save(&mut self) -> Result<(), RunError> {
        self.account();
        let renewed = Guard::now();
        let now = Timestamp::now();
        self.guard.check()?;
        let checkpoint = &self.batch.checkpoint;
        let moved = Place::of(checkpoint) != Place::of(&self.saved);
        let stalled = if moved { 0 } else { self.batch.stalled };
        let status = self
            .batches
            .save(&self.batch.batch_id, &self.owner, checkpoint, stalled, now)
            .await?;
        self.guard.renew(renewed);
        self.renewed = renewed.0;
        self.saved = checkpoint.clone();
        self.batch.status = status;
        self.batch.stalled = stalled;
        self.reporter.saved(&self.batch);
        self.guard.reached(Point::Saved).await;
        Ok(())
    }

    /// Discards what could not be saved: it is not counted.
    pub fn discard_unsaved(&mut self) {
        self.batch.checkpoint = self.saved.clone();
    }

    /// Returns whether this run has saved a checkpoint beyond the one it began with.
    pub fn has_progressed(&self) -> bool {
        Place::of(&self.saved) != self.begun
    }

    /// Hands the batch back for the next run.
    pub async fn release(&mut self, stalled: u32) -> Result<(), RunError> {
        let id = &self.batch.batch_id;
        self.batches
            .release(id, &self.owner, stalled, Timestamp::now())
            .await?;
        tracing::info!(stalled, "handed a batch back");
        self.discard_unsaved();
        self.reporter.publish(&self.batch, &[]);
        Ok(())
    }

    /// Writes the batch's end.
    pub async fn end(&mut self, final_state: &FinalState) -> Result<(), RunError> {
        self.account();
        let now = Timestamp::now();
        let at = &mut self.batch.checkpoint;
        let since = self.batch.started_at.unwrap_or(now);
        let millis = u64::try_from(now.millis_since(since)).unwrap_or_default();
        at.rows_per_second = per_second(at.rows.read, millis);
        let id = &self.batch.batch_id;
        self.batches
            .end(id, &self.owner, at, final_state, now)
            .await?;
        tracing::info!(
            status = final_state.status.name(),
            read = at.rows.read,
            rejected = at.rows.rejected,
            millis,
            attempts = self.batch.attempts,
            "a batch ended"
        );
        let failed = final_state.status == Status::Failed;
        let figures = [
            MetricValue::count("BatchesEnded", 1.0),
            MetricValue::count("BatchesFailed", f64::from(u8::from(failed))),
            MetricValue::seconds("BatchSeconds", Duration::from_millis(millis).as_secs_f64()),
        ];
        self.reporter.publish(&self.batch, &figures);
        Ok(())
    }

    /// Updates units, throttled requests and speed in the checkpoint.
    fn account(&mut self) {
        let spent = self.table.take_spent();
        let at = &mut self.batch.checkpoint;
        at.capacity.read_units += spent.read_units;
        at.capacity.write_units += spent.write_units;
        at.throttles += self.table.take_refused();
        let (since, rows, bytes) = self.began;
        let elapsed = since.elapsed();
        if elapsed < UNTOLD {
            return;
        }
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        at.rows_per_second = per_second(at.rows.read - rows, millis);
        at.bytes_per_second = per_second(at.bytes_done.saturating_sub(bytes), millis);
    }
}

impl Renew for Lease<'_> {
    fn renewed(&self) -> Instant {
        self.renewed
    }

    async fn save(&mut self) -> Result<(), RunError> {
        Lease::save(self).await
    }
}

/// Returns an amount per second, given the milliseconds it took.
fn per_second(amount: u64, millis: u64) -> u64 {
    amount.saturating_mul(1000) / millis.max(1)
}
