//! A run's hold on its batch: the record, the checkpoint that is saved under the lease, and
//! the lease itself, renewed with every save and while anything takes long.

use std::time::{Duration, Instant};

use mpulse_shared::batch::{Batch, Checkpoint, Joining, Position, Status};
use mpulse_shared::metrics::Figure;
use mpulse_shared::store::batches::{Batches, Ending, LEASE};
use mpulse_shared::time::Timestamp;

use crate::error::RunError;
use crate::guard::Guard;
use crate::table::RunTable;
use crate::telling::Telling;

/// How often the lease is renewed while nothing else saves it.
const RENEWAL: Duration = Duration::from_secs(LEASE.as_secs() / 6);

/// How long a run tells no speed: its first rows are counted while they are still being written.
const UNTOLD: Duration = Duration::from_secs(1);

/// A run's hold on its batch.
pub struct Lease<'a> {
    batches: &'a Batches,
    /// The record. The run moves its checkpoint; saving it is this module's.
    pub batch: Batch,
    owner: String,
    guard: Guard,
    /// Whose units are told in the checkpoint.
    table: RunTable,
    telling: Telling,
    /// When this run began, and with how many rows and bytes counted.
    began: (Instant, u64, u64),
    /// The checkpoint as it was last saved.
    saved: Checkpoint,
    /// The place at which this run began.
    begun: Place,
    /// When the lease was last renewed.
    renewed: Instant,
}

/// How far a checkpoint is: what has to move for a run to have made progress.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    counted: Position,
    durable: Position,
    joining: Option<Joining>,
}

impl Place {
    fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            counted: checkpoint.counted,
            durable: checkpoint.durable,
            joining: checkpoint.joining.clone(),
        }
    }
}

impl<'a> Lease<'a> {
    /// The lease on a batch that `owner` has just taken.
    pub fn new(
        batches: &'a Batches,
        mut batch: Batch,
        owner: String,
        guard: Guard,
        table: RunTable,
        telling: Telling,
    ) -> Self {
        let at = &mut batch.checkpoint;
        // Those of the run before.
        (at.rows_per_second, at.bytes_per_second) = (0, 0);
        let began = (Instant::now(), at.rows.read, at.counted.offset);
        Self {
            saved: at.clone(),
            begun: Place::of(at),
            renewed: Instant::now(),
            batches,
            batch,
            owner,
            guard,
            table,
            telling,
            began,
        }
    }

    /// Runs a future, and renews the lease as long as it takes.
    pub async fn while_renewing<T>(
        &mut self,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep_until((self.renewed + RENEWAL).into()) => self.save().await?,
            }
        }
    }

    /// Saves the checkpoint, renews the lease, and learns whether someone has cancelled.
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
        self.telling.saved(&self.batch);
        Ok(())
    }

    /// Forgets what could not be saved: it is not counted.
    pub fn forget_unsaved(&mut self) {
        self.batch.checkpoint = self.saved.clone();
    }

    /// Whether this run has saved a checkpoint further on than the one it began with.
    pub fn has_progressed(&self) -> bool {
        Place::of(&self.saved) != self.begun
    }

    /// Gives the batch back for another run.
    pub async fn release(&mut self, stalled: u32) -> Result<(), RunError> {
        let id = &self.batch.batch_id;
        self.batches
            .release(id, &self.owner, stalled, Timestamp::now())
            .await?;
        tracing::info!(stalled, "handed a batch back");
        self.forget_unsaved();
        self.telling.tell(&self.batch, &[]);
        Ok(())
    }

    /// Writes the batch's end.
    pub async fn end(&mut self, ending: &Ending) -> Result<(), RunError> {
        self.account();
        let now = Timestamp::now();
        let at = &mut self.batch.checkpoint;
        let since = self.batch.started_at.unwrap_or(now);
        let millis = u64::try_from(now.millis_since(since)).unwrap_or_default();
        at.rows_per_second = per_second(at.rows.read, millis);
        let id = &self.batch.batch_id;
        self.batches.end(id, &self.owner, at, ending, now).await?;
        tracing::info!(
            status = ending.status.name(),
            read = at.rows.read,
            rejected = at.rows.rejected,
            millis,
            attempts = self.batch.attempts,
            "a batch ended"
        );
        let failed = ending.status == Status::Failed;
        let figures = [
            Figure::count("BatchesEnded", 1.0),
            Figure::count("BatchesFailed", f64::from(u8::from(failed))),
            Figure::seconds("BatchSeconds", Duration::from_millis(millis).as_secs_f64()),
        ];
        self.telling.tell(&self.batch, &figures);
        Ok(())
    }

    /// Brings units, refusals and speed in the checkpoint up to date.
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
        at.bytes_per_second = per_second(at.counted.offset - bytes, millis);
    }
}

/// An amount per second, given the milliseconds it took.
fn per_second(amount: u64, millis: u64) -> u64 {
    amount.saturating_mul(1000) / millis.max(1)
}
