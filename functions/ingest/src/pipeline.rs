//! The windows of a run in flight: each is compared, counted and saved, and then written while the next one is
//! read.

use std::collections::VecDeque;
use std::sync::Arc;

use mpulse_shared::batch::{Mode, Position, Rows, Segment};
use mpulse_shared::member::{Member, MemberId, Profile};
use mpulse_shared::store::StoreError;
use tokio::task::JoinSet;

use crate::compare::{self, Changes, Existing, WriteContext};
use crate::error::RunError;
use crate::index::Index;
use crate::lease::Lease;
use crate::lookup::{self, Found};
use crate::reader::Window;
use crate::report::Report;
use crate::resources::Resources;
use crate::table::RunTable;

/// The windows of a run, and what they need.
pub struct Pipeline<'a> {
    /// The limits of windows in flight.
    pub resources: &'a Resources,
    /// The batch's record, under its lease.
    pub lease: Lease<'a>,
    /// The members table.
    pub table: RunTable,
    /// The index of existing members.
    pub index: Index,
    /// The report of rejected rows.
    pub report: Report,
    /// The provenance of writes.
    pub context: WriteContext,
    /// Windows in flight, the oldest first.
    pub pending: VecDeque<Pending>,
}

/// A window in flight.
pub(super) struct Pending {
    pub(super) end: Position,
    pub(super) changes: Arc<Changes>,
    /// One task, which returns the members that were written by others in the meantime. Dropping
    /// the set ends it.
    pub(super) task: JoinSet<Result<Vec<Member>, RunError>>,
}

impl Pipeline<'_> {
    /// Applies a window that an earlier run counted and may not have written. Rows are written if
    /// the table still differs.
    pub async fn apply_again(&mut self, window: Window) -> Result<(), RunError> {
        let found = self.find(&window.members).await?;
        let mut counted_before = Rows::default();
        let changes = self.apply(window.members, &found, &mut counted_before);
        self.write(window.end, changes).await?;
        self.wait_for_all().await?;
        // Saved at once: if runs are interrupted repeatedly, each gets further than the one before.
        self.lease.save().await
    }

    /// Processes a new window: compares, counts, saves and sends it.
    pub async fn count_and_write(&mut self, mut window: Window) -> Result<(), RunError> {
        let from = self.lease.batch.checkpoint.counted.offset;
        let run = self.lease.batch.attempts;
        let found = self.find(&window.members).await?;
        let lines = std::mem::take(&mut window.report);
        if !lines.is_empty() {
            let part = self.report.put_part(run, from, lines);
            self.lease.while_renewing(part).await?;
        }
        let mut rows = self.lease.batch.checkpoint.rows;
        let changes = self.apply(window.members, &found, &mut rows);
        rows.read += window.refused;
        rows.rejected += window.refused;
        let at = &mut self.lease.batch.checkpoint;
        at.rows = rows;
        at.counted = window.end;
        at.bytes_done = window.object_bytes;
        at.warnings.add(&window.warnings);
        for (code, count) in window.codes {
            *at.reject_codes.entry(code.to_owned()).or_insert(0) += count;
        }
        self.extend_segment(run, from, window.end.offset);
        self.lease.save().await?;
        self.write(window.end, changes).await
    }

    /// Looks up the existing members of these rows, except for those in flight.
    pub async fn find(&mut self, rows: &[Profile]) -> Result<Found, RunError> {
        let pending = &self.pending;
        let in_flight = |id: &MemberId| in_flight(pending, id).is_some();
        let found = lookup::find(
            &self.table,
            &mut self.index,
            self.context.mode,
            rows,
            in_flight,
        );
        self.lease.while_renewing(found).await
    }

    pub fn apply(&self, profiles: Vec<Profile>, found: &Found, rows: &mut Rows) -> Changes {
        let existing = |row: usize, id: &MemberId| {
            let known = in_flight(&self.pending, id).or_else(|| found.members.get(id));
            match known {
                Some(member) => Existing::Member(member),
                None if found.equal[row] => Existing::Unchanged,
                None => Existing::Absent,
            }
        };
        compare::apply(profiles, existing, &self.context, rows)
    }

    /// Sends the changes of a window. Two requests for one key are never in flight: a window that
    /// has a key in common with an earlier one waits for that one.
    pub async fn write(&mut self, end: Position, changes: Changes) -> Result<(), RunError> {
        while self
            .pending
            .iter()
            .any(|earlier| earlier.changes.meets(&changes))
        {
            self.wait_for_oldest().await?;
        }
        let changes = Arc::new(changes);
        let mut task = JoinSet::new();
        let (table, context, sent) = (self.table.clone(), self.context.clone(), changes.clone());
        task.spawn(async move {
            match context.mode {
                Mode::Overwrite => table.put(&sent, &context).await.map(|()| Vec::new()),
                Mode::Upsert | Mode::Create => table.change(&sent, &context).await,
            }
        });
        self.pending.push_back(Pending { end, changes, task });
        while self.pending.len() > self.resources.tuning.depth {
            self.wait_for_oldest().await?;
        }
        Ok(())
    }

    /// Waits until the oldest window is written.
    pub async fn wait_for_oldest(&mut self) -> Result<(), RunError> {
        let Some(mut oldest) = self.pending.pop_front() else {
            return Ok(());
        };
        let result = self
            .lease
            .while_renewing(async { Ok(oldest.task.join_next().await) })
            .await;
        let existing = match result {
            Ok(Some(Ok(landed))) => landed?,
            Ok(Some(Err(error))) => {
                return Err(StoreError::unreadable("writing a window", error).into());
            }
            Ok(None) => Vec::new(),
            Err(error) => {
                // Still in flight: the caller waits for it.
                self.pending.push_front(oldest);
                return Err(error);
            }
        };
        for change in oldest.changes.all() {
            self.index.note(&change.member.profile);
        }
        for member in existing {
            self.index.note(&member.profile);
        }
        self.lease.batch.checkpoint.durable = oldest.end;
        Ok(())
    }

    pub async fn wait_for_all(&mut self) -> Result<(), RunError> {
        while !self.pending.is_empty() {
            self.wait_for_oldest().await?;
        }
        Ok(())
    }

    /// Waits, after a failure, until nothing of this run is in flight, so that the lease can be
    /// released.
    pub async fn drain(&mut self) {
        for mut window in self.pending.drain(..) {
            while window.task.join_next().await.is_some() {}
        }
    }

    pub fn extend_segment(&mut self, run: u32, from: u64, to: u64) {
        let segments = &mut self.lease.batch.checkpoint.segments;
        match segments.last_mut() {
            Some(last) if last.run == run => last.to = to,
            _ => segments.push(Segment { run, from, to }),
        }
    }
}

/// Returns the member as earlier rows leave it, if its write is still in flight.
fn in_flight<'a>(pending: &'a VecDeque<Pending>, id: &MemberId) -> Option<&'a Member> {
    pending
        .iter()
        .rev()
        .find_map(|window| window.changes.get(id))
}
