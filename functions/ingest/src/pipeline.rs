//! The windows of a run in flight: each is compared, counted and saved, and then written while the next one is
//! read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use mpulse_shared::batch::{BatchProblem, Position, Rows, Segment};
use mpulse_shared::member::{AccountId, Member, MemberId, Profile};
use mpulse_shared::run::{Point, RunError};
use mpulse_shared::store::StoreError;
use tokio::task::JoinSet;

use crate::change_log::ChangeLog;
use crate::change_report;
use crate::compare::{self, Change, Changes, Existing, Next, WriteContext};
use crate::index::Index;
use crate::lease::Lease;
use crate::lookup::{self, Found};
use crate::reader::{Lines, Window};
use crate::report::{Report, Span};
use crate::resources::Resources;
use crate::revert;
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
    /// The report of changes; `None` if the batch has none.
    pub changes: Option<ChangeLog>,
    /// The provenance of writes.
    pub context: WriteContext,
    /// Windows in flight, the oldest first.
    pub pending: VecDeque<Pending>,
    /// The members that a dry run would have written.
    pub predicted: HashMap<MemberId, Member>,
}

/// A window in flight.
pub(super) struct Pending {
    pub(super) end: Position,
    pub(super) changes: Arc<Changes>,
    /// One task, which returns the members that were written by others in the meantime. Dropping
    /// the set ends it.
    pub(super) task: JoinSet<Result<Vec<Member>, RunError>>,
}

/// What the lines of a window do, before it is written.
struct Applied {
    changes: Changes,
    rows: Rows,
    /// The lines of the report of changes.
    report: String,
}

impl Pipeline<'_> {
    /// Applies a window that an earlier run counted and may not have written. Rows are written if
    /// the table still differs.
    pub async fn apply_again(&mut self, window: Window) -> Result<(), RunError> {
        let applied = self.apply(window.lines, Rows::default()).await?;
        if self.is_dry_run() {
            self.predict(&applied.changes)?;
            return Ok(());
        }
        self.write(window.end, applied.changes).await?;
        self.wait_for_all().await?;
        // Saved at once: if runs are interrupted repeatedly, each gets further than the one before.
        self.lease.save().await
    }

    /// Processes a new window: compares, counts, saves and sends it.
    pub async fn count_and_write(&mut self, mut window: Window) -> Result<(), RunError> {
        let from = self.lease.batch.checkpoint.counted.offset;
        let run = self.lease.batch.attempts;
        let lines = std::mem::take(&mut window.lines);
        let applied = self.apply(lines, self.lease.batch.checkpoint.rows).await?;
        let rejects = std::mem::take(&mut window.report);
        if !rejects.is_empty() {
            let span = Span {
                from,
                run,
                to: None,
            };
            let part = self.report.put_part(span, rejects);
            self.lease.while_renewing(part).await?;
        }
        self.log_changes(from, window.end.offset, applied.report)
            .await?;
        let (mut rows, changes) = (applied.rows, applied.changes);
        rows.read += window.refused;
        rows.rejected += window.refused;
        let is_dry_run = self.is_dry_run();
        let at = &mut self.lease.batch.checkpoint;
        at.rows = rows;
        at.counted = window.end;
        at.bytes_done = window.object_bytes;
        at.warnings.add(&window.warnings);
        at.unreadable_rows += window.unreadable;
        for (code, count) in window.codes {
            *at.reject_codes.entry(code.to_owned()).or_insert(0) += count;
        }
        if is_dry_run {
            at.predicted_write_units += changes.all().iter().map(write_units).sum::<f64>();
        }
        self.extend_segment(run, from, window.end.offset);
        self.lease.save().await?;
        if is_dry_run {
            return self.predict(&changes);
        }
        self.write(window.end, changes).await
    }

    /// Returns whether the batch writes no member.
    pub fn is_dry_run(&self) -> bool {
        self.lease.batch.dry_run
    }

    /// Stores lines of the report of changes, of a window that begins and ends at these positions.
    pub async fn log_changes(&mut self, from: u64, to: u64, lines: String) -> Result<(), RunError> {
        let Some(log) = self.changes.as_mut().filter(|_| !lines.is_empty()) else {
            return Ok(());
        };
        self.lease.while_renewing(log.put(from, to, lines)).await
    }

    /// Compares the lines of a window with the existing members. `rows` are the counters before it.
    async fn apply(&mut self, lines: Lines, mut rows: Rows) -> Result<Applied, RunError> {
        let mut report = String::new();
        let has_report = self.changes.is_some();
        let changes = match lines {
            Lines::Rows { members, lines } => {
                let found = self.find(&members).await?;
                let newer = self.newer(&members, &found).await?;
                let existing = |row: usize, id: &MemberId| {
                    match in_flight(&self.pending, id) {
                        Some(next) => {
                            return next.member().map_or(Existing::Absent, Existing::Member);
                        }
                        None => self.predicted.get(id).or_else(|| found.members.get(id)),
                    }
                    .map_or_else(
                        || match () {
                            () if found.equal[row] => Existing::Unchanged,
                            () if found.predicted.contains(&row) => Existing::Predicted,
                            () => Existing::Absent,
                        },
                        Existing::Member,
                    )
                };
                let index = &self.index;
                compare::apply(
                    members,
                    existing,
                    &self.context,
                    &newer,
                    &mut rows,
                    |changed| {
                        if has_report {
                            let keys_only = index.was_empty(&changed.next.id().account_id);
                            let line = lines.get(changed.row).copied();
                            change_report::write(&mut report, line, &changed, keys_only);
                        }
                    },
                )
            }
            Lines::Changes { reported, lines } => {
                let ids: HashSet<&MemberId> = reported
                    .iter()
                    .map(|reported| &reported.id)
                    .filter(|id| in_flight(&self.pending, id).is_none())
                    .collect();
                let ids: Vec<&MemberId> = ids.into_iter().collect();
                let found = self.lease.while_renewing(self.table.fetch(&ids)).await?;
                let existing = |id: &MemberId| match in_flight(&self.pending, id) {
                    Some(next) => next.member(),
                    None => found.get(id),
                };
                revert::apply(reported, existing, &self.context, &mut rows, |changed| {
                    if has_report {
                        let line = lines.get(changed.row).copied();
                        change_report::write(&mut report, line, &changed, false);
                    }
                })
            }
        };
        self.lease.guard.reached(Point::Compared).await;
        Ok(Applied {
            changes,
            rows,
            report,
        })
    }

    /// Looks up the existing members of these rows, except for those in flight.
    async fn find(&mut self, rows: &[Profile]) -> Result<Found, RunError> {
        let (pending, predicted) = (&self.pending, &self.predicted);
        let is_known =
            |id: &MemberId| in_flight(pending, id).is_some() || predicted.contains_key(id);
        let found = lookup::find(
            &self.table,
            &mut self.index,
            self.context.mode,
            rows,
            is_known,
        );
        self.lease.while_renewing(found).await
    }

    /// Returns the accounts that a newer file has replaced, among those of rows that may change a member.
    async fn newer(
        &mut self,
        rows: &[Profile],
        found: &Found,
    ) -> Result<HashSet<AccountId>, RunError> {
        let mut accounts: Vec<AccountId> = Vec::new();
        let changed = rows.iter().zip(&found.equal).filter(|(_, equal)| !**equal);
        for (profile, _) in changed {
            if accounts.last() != Some(&profile.id.account_id) {
                accounts.push(profile.id.account_id.clone());
            }
        }
        accounts.sort_unstable();
        accounts.dedup();
        if accounts.is_empty() {
            return Ok(HashSet::new());
        }
        let batches = &self.resources.batches;
        let replaced = async { Ok(batches.replaced_at(&accounts).await?) };
        let replaced = self.lease.while_renewing(replaced).await?;
        let newer = replaced.into_iter().filter(|(_, at)| *at > self.context.at);
        Ok(newer.map(|(account, _)| account).collect())
    }

    /// Remembers what a dry run would have written: whole members, as long as they are not too many; of others, whether they
    /// differ from a row.
    fn predict(&mut self, changes: &Changes) -> Result<(), RunError> {
        let most = self.resources.tuning.max_remembered;
        for member in changes
            .all()
            .iter()
            .filter_map(|change| change.next.member())
        {
            let id = &member.profile.id;
            if self.predicted.len() < most || self.predicted.contains_key(id) {
                self.predicted.insert(id.clone(), member.clone());
            } else if !self.index.predict(&member.profile) {
                return Err(RunError::Failed(too_large()));
            }
        }
        Ok(())
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
            if context.mode.compares() {
                table.change(&sent, &context).await
            } else {
                table.put(&sent, &context).await.map(|()| Vec::new())
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
            if let Some(member) = change.next.member() {
                self.index.note(&member.profile);
            }
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

/// Returns the write units that a change is expected to consume: for the table and its two indexes. An index that has another
/// phone number loses an entry and gets one.
pub fn write_units(change: &Change) -> f64 {
    match (&change.next, &change.over) {
        (Next::Member(next), Some(over))
            if next.profile.phone_number != over.profile.phone_number =>
        {
            4.0
        }
        _ => 3.0,
    }
}

/// Returns why a dry run cannot go on.
fn too_large() -> BatchProblem {
    BatchProblem {
        code: "dry_run_too_large".to_owned(),
        message: "The file changes more members than a dry run can remember. Divide the file, or load it without a dry \
                  run."
            .to_owned(),
    }
}

/// Returns what earlier rows leave of a member, if its write is still in flight.
fn in_flight<'a>(pending: &'a VecDeque<Pending>, id: &MemberId) -> Option<&'a Next> {
    pending
        .iter()
        .rev()
        .find_map(|window| window.changes.get(id))
}
