//! The end of a batch: its final state, and its reports, which are joined from the parts that the runs have stored.

use std::fmt::Write;

use mpulse_shared::batch::{BatchProblem, Joining, Status};
use mpulse_shared::run::{Point, RunError};
use mpulse_shared::store::leases::FinalState;

use super::Run;
use crate::change_report;
use crate::report::join::Join;
use crate::report::{Encoder, Kind, MAX_WORKBOOK_ROWS, Report};

impl Run<'_> {
    /// Returns the final state of a batch whose file cannot be read to its end. Rows that were counted
    /// before are still written.
    pub(super) async fn file_failed(
        &mut self,
        problem: BatchProblem,
    ) -> Result<Option<FinalState>, RunError> {
        self.pipeline.wait_for_all().await?;
        let problem = self.problem(&problem.code, problem.message);
        self.final_state(Status::Failed, Some(problem))
            .await
            .map(Some)
    }

    /// Returns the final state of a batch whose runs fail repeatedly; without a report, if it cannot be
    /// made either.
    pub(super) async fn give_up(&mut self, mut message: String) -> Result<FinalState, RunError> {
        let has_report = self.try_to_join(Kind::Rejects, &mut message).await?;
        let has_changes = self.try_to_join(Kind::Changes, &mut message).await?;
        Ok(FinalState {
            status: Status::Failed,
            has_report,
            has_workbook: false,
            has_changes,
            problem: Some(self.problem("system_failure", message)),
        })
    }

    /// Joins a report of a batch whose runs fail repeatedly. If it cannot be joined, the message says where its parts are.
    async fn try_to_join(&mut self, kind: Kind, message: &mut String) -> Result<bool, RunError> {
        match self.join(kind).await {
            Err(RunError::Store(error)) => {
                let id = &self.pipeline.lease.batch.batch_id;
                let cause = mpulse_shared::store::chain(&error);
                tracing::error!(cause, "a report could not be joined");
                let (name, parts) = match kind {
                    Kind::Rejects => ("rejected rows", id.reject_parts_prefix()),
                    Kind::Changes => ("changes", id.change_parts_prefix()),
                };
                let _ = write!(
                    message,
                    " The report of {name} could not be made; its parts are kept in the bucket, under {parts}."
                );
                if let Some(joining) = self.joining(kind).take()
                    && let Some(report) = self.report(kind)
                {
                    // If this fails too, the bucket's lifecycle rule deletes it.
                    let _ = report.abort(&joining).await;
                }
                Ok(false)
            }
            result => result,
        }
    }

    /// Returns why the batch fails, and which counted rows may not be written.
    fn problem(&self, code: &str, mut message: String) -> BatchProblem {
        let at = &self.pipeline.lease.batch.checkpoint;
        if at.durable != at.counted && !self.pipeline.is_dry_run() {
            let (from, to) = (at.durable.line, at.counted.line.saturating_sub(1));
            let doubt = format!(" Lines {from} to {to} are counted and may not have been written.");
            message.push_str(&doubt);
        }
        BatchProblem {
            code: code.to_owned(),
            message,
        }
    }

    /// Returns the final state of a batch whose file was read to its end.
    pub(super) async fn completed(&mut self) -> Result<FinalState, RunError> {
        let status = match self.pipeline.lease.batch.checkpoint.rows.rejected {
            0 => Status::Completed,
            _ => Status::CompletedWithRejects,
        };
        self.final_state(status, None).await
    }

    /// Joins the reports, as far as they exist, and returns the final state.
    pub(super) async fn final_state(
        &mut self,
        status: Status,
        problem: Option<BatchProblem>,
    ) -> Result<FinalState, RunError> {
        self.pipeline.lease.save().await?;
        let has_report = self.join(Kind::Rejects).await?;
        let has_changes = self.join(Kind::Changes).await?;
        Ok(FinalState {
            status,
            has_report,
            has_workbook: has_report && self.make_workbook().await?,
            has_changes,
            problem,
        })
    }

    /// Joins a report's parts into one object, and saves the progress after each piece. Returns
    /// `false` if there are none.
    async fn join(&mut self, kind: Kind) -> Result<bool, RunError> {
        let at = &self.pipeline.lease.batch.checkpoint;
        let rows = at.rows;
        let (header, lines) = match (kind, &at.layout) {
            (Kind::Rejects, Some(layout)) => {
                (Encoder::new(layout).header().to_owned(), rows.rejected)
            }
            (Kind::Rejects, None) => return Ok(false),
            (Kind::Changes, _) => (
                change_report::header(),
                rows.created + rows.updated + rows.removed,
            ),
        };
        let Some(report) = self.report(kind).filter(|_| lines > 0) else {
            return Ok(false);
        };
        let segments = at.segments.clone();
        let found = Join::new(report, &header, &segments);
        let Some(mut join) = self.pipeline.lease.while_renewing(found).await? else {
            return Ok(false);
        };
        let earlier = self.joining(kind).clone();
        let opened = join.open(earlier.as_ref());
        self.pipeline.lease.while_renewing(opened).await?;
        while let Some(joining) = join.progress() {
            *self.joining(kind) = Some(joining);
            self.pipeline.lease.save().await?;
            if !self
                .pipeline
                .lease
                .while_renewing(join.send_piece())
                .await?
            {
                break;
            }
        }
        self.pipeline.lease.while_renewing(join.complete()).await?;
        self.reached(Point::FileStored).await;
        *self.joining(kind) = None;
        Ok(true)
    }

    /// Returns a report of the batch, if it has such a report.
    fn report(&self, kind: Kind) -> Option<Report> {
        match kind {
            Kind::Rejects => Some(self.pipeline.report.clone()),
            Kind::Changes => self
                .pipeline
                .changes
                .as_ref()
                .map(|log| log.report().clone()),
        }
    }

    /// Returns the progress of joining a report.
    fn joining(&mut self, kind: Kind) -> &mut Option<Joining> {
        let at = &mut self.pipeline.lease.batch.checkpoint;
        match kind {
            Kind::Rejects => &mut at.joining,
            Kind::Changes => &mut at.joining_changes,
        }
    }

    /// Makes the report as a workbook too, unless it has too many rows. Returns whether it exists.
    async fn make_workbook(&mut self) -> Result<bool, RunError> {
        if self.pipeline.lease.batch.checkpoint.rows.rejected > MAX_WORKBOOK_ROWS {
            return Ok(false);
        }
        let report = self.pipeline.report.clone();
        self.pipeline
            .lease
            .while_renewing(report.put_workbook())
            .await
    }
}
