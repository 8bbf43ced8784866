//! The lease of a run: the export's record, the checkpoint that is saved under the lease, and the lease itself.

use std::time::{Duration, Instant};

use mpulse_shared::batch::BatchProblem;
use mpulse_shared::export::{Checkpoint, Export, Format};
use mpulse_shared::metrics::{MetricValue, Metrics};
use mpulse_shared::run::{Guard, Point, Renew, RunError, while_renewing};
use mpulse_shared::store::exports::Exports;
use mpulse_shared::time::Timestamp;

/// The lease of a run on its export.
pub struct Lease<'a> {
    exports: &'a Exports,
    metrics: &'a Metrics,
    /// The record. The run advances its checkpoint; this module saves it.
    pub export: Export,
    owner: String,
    guard: Guard,
    /// The checkpoint as last saved.
    saved: Checkpoint,
    /// The pieces with which this run began.
    begun: u32,
    /// When the lease was last renewed.
    renewed: Instant,
}

impl<'a> Lease<'a> {
    /// Creates the lease of an export that `owner` has just claimed.
    pub fn new(
        exports: &'a Exports,
        metrics: &'a Metrics,
        export: Export,
        owner: String,
        guard: Guard,
    ) -> Self {
        Self {
            saved: export.checkpoint.clone(),
            begun: export.checkpoint.pieces,
            renewed: Instant::now(),
            exports,
            metrics,
            export,
            owner,
            guard,
        }
    }

    /// Runs a future, and renews the lease while it runs.
    pub async fn while_renewing<T>(
        &mut self,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        while_renewing(self, work).await
    }

    /// Discards what could not be saved.
    pub fn discard_unsaved(&mut self) {
        self.export.checkpoint = self.saved.clone();
    }

    /// Returns whether this run has saved pieces from which the next run continues. A workbook always begins again.
    pub fn has_progressed(&self) -> bool {
        self.export.format == Format::Csv && self.saved.pieces > self.begun
    }

    /// Hands the export back for the next run.
    pub async fn release(&mut self, stalled: u32) -> Result<(), RunError> {
        let id = &self.export.export_id;
        self.exports
            .release(id, &self.owner, stalled, Timestamp::now())
            .await?;
        tracing::info!(stalled, "handed an export back");
        Ok(())
    }

    /// Writes the export's end.
    pub async fn end(&mut self, problem: Option<&BatchProblem>) -> Result<(), RunError> {
        let now = Timestamp::now();
        let (id, at) = (&self.export.export_id, &self.export.checkpoint);
        self.exports.end(id, &self.owner, at, problem, now).await?;
        let since = self.export.started_at.unwrap_or(now);
        let millis = u64::try_from(now.millis_since(since)).unwrap_or_default();
        let problem = problem.map(|problem| problem.code.as_str());
        let (rows, attempts) = (at.rows, self.export.attempts);
        tracing::info!(rows, millis, attempts, problem, "an export ended");
        let figures = [
            MetricValue::count("ExportsEnded", 1.0),
            MetricValue::count("ExportsFailed", f64::from(u8::from(problem.is_some()))),
            MetricValue::seconds("ExportSeconds", Duration::from_millis(millis).as_secs_f64()),
        ];
        let request = self.export.request_id.as_deref().unwrap_or_default();
        let about = [("export_id", id.as_str()), ("request_id", request)];
        self.metrics.publish(&figures, &about);
        Ok(())
    }
}

impl Renew for Lease<'_> {
    fn renewed(&self) -> Instant {
        self.renewed
    }

    async fn save(&mut self) -> Result<(), RunError> {
        let renewed = Guard::now();
        self.guard.check()?;
        let checkpoint = &self.export.checkpoint;
        let moved = self.export.format == Format::Csv && checkpoint.pieces > self.saved.pieces;
        let stalled = if moved { 0 } else { self.export.stalled };
        let id = &self.export.export_id;
        self.exports
            .save(id, &self.owner, checkpoint, stalled, Timestamp::now())
            .await?;
        self.guard.renew(renewed);
        self.renewed = renewed.0;
        self.saved = checkpoint.clone();
        self.export.stalled = stalled;
        self.guard.reached(Point::Saved).await;
        Ok(())
    }
}
