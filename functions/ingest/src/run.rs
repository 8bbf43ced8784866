//! One run of a batch: from the lease to the end of the file, or to the moment at which
//! another run has to go on.
//!
//! A window's rows are compared with what exists, counted, and the counters saved; only
//! then is anything written. So what a crash leaves undone lies between the two offsets of
//! the checkpoint, and the next run applies just that again, without counting it.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use mpulse_shared::batch::{Batch, BatchProblem, Layout, Mode, Position, Rows, Segment, Status};
use mpulse_shared::member::{Author, Member, MemberId, Profile};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::batches::Ending;
use tokio::task::JoinSet;

use crate::Ingest;
use crate::compare::{self, Changes, Stamp, Standing};
use crate::error::RunError;
use crate::guard::Guard;
use crate::index::Index;
use crate::layout::{self, Head};
use crate::lease::Lease;
use crate::lookup::{self, Found};
use crate::parse::Parser;
use crate::reader::{Reader, Window};
use crate::report::join::Join;
use crate::report::{Encoder, Report};
use crate::row::Judge;
use crate::source::{self, Object, Source};
use crate::table::RunTable;
use crate::telling::Telling;

/// A run at work.
pub struct Run<'a> {
    ingest: &'a Ingest,
    lease: Lease<'a>,
    object: Object,
    table: RunTable,
    index: Index,
    report: Report,
    stamp: Stamp,
    /// When to stop reading, so that there is time to put things in order.
    stop_at: Instant,
    /// Windows on their way into the table, the oldest first.
    pending: VecDeque<Pending>,
}

/// A window on its way into the table.
struct Pending {
    end: Position,
    changes: Arc<Changes>,
    /// One task, which gives the members that stand instead. Dropping the set ends it.
    task: JoinSet<Result<Vec<Member>, RunError>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The batch has ended.
    Ended,
    /// Another run has to go on.
    HandBack,
}

impl<'a> Run<'a> {
    /// A run of a batch whose lease `owner` has just taken.
    pub fn new(
        ingest: &'a Ingest,
        batch: Batch,
        object: Object,
        owner: String,
        guard: Guard,
        stop_at: Instant,
    ) -> Self {
        let table = ingest
            .table
            .for_run(guard.clone(), ingest.tuning.first_wait);
        let report = ingest.report(&object.bucket, &batch.batch_id, guard.clone());
        let stamp = Stamp::new(
            batch.uploaded_at.unwrap_or(batch.created_at),
            Author::batch(batch.batch_id.as_str()),
            batch.mode,
        );
        let telling = Telling::new(ingest.metrics.clone(), &batch);
        let lease = Lease::new(&ingest.batches, batch, owner, guard, table.clone(), telling);
        Self {
            ingest,
            lease,
            object,
            table,
            index: Index::new(ingest.tuning.most_fingerprints, ingest.tuning.first_page),
            report,
            stamp,
            stop_at,
            pending: VecDeque::new(),
        }
    }

    /// Works until the batch has ended or the run has to stop.
    ///
    /// # Errors
    /// Where the record of the batch can't be written. The lease then runs out by itself.
    pub async fn work(mut self) -> Result<Outcome, RunError> {
        let result = match self.read_to_end().await {
            Err(RunError::File(problem)) => self.file_failed(problem).await,
            result => result,
        };
        let ending = match result {
            Ok(Some(ending)) => ending,
            Ok(None) => {
                self.lease.release(0).await?;
                return Ok(Outcome::HandBack);
            }
            Err(error) => {
                let cause = mpulse_shared::store::chain(&error);
                tracing::error!(cause, "a run failed");
                // A lost lease is told by who is given it; time that is up is no failure.
                if !matches!(error, RunError::LeaseLost | RunError::OutOfTime) {
                    self.ingest.note_failure();
                }
                self.settle().await;
                self.lease.forget_unsaved();
                let stalled = match error {
                    RunError::LeaseLost => return Err(error),
                    RunError::OutOfTime => 0,
                    _ if self.lease.has_progressed() => 0,
                    _ => self.lease.batch.stalled + 1,
                };
                if stalled < crate::MAX_STALLED {
                    self.lease.release(stalled).await?;
                    return Ok(Outcome::HandBack);
                }
                let story = format!("{stalled} runs in a row made no progress; the last: {error}.");
                match self.give_up(story).await {
                    Err(RunError::OutOfTime) => {
                        self.lease.release(stalled).await?;
                        return Ok(Outcome::HandBack);
                    }
                    ending => ending?,
                }
            }
        };
        self.lease.end(&ending).await?;
        Ok(Outcome::Ended)
    }

    /// The ending of a batch whose file can't be read to its end. What was counted before is
    /// written all the same.
    async fn file_failed(&mut self, problem: BatchProblem) -> Result<Option<Ending>, RunError> {
        self.land_all().await?;
        Ok(Some(Ending {
            status: Status::Failed,
            has_report: self.join_report().await?,
            problem: Some(self.problem(&problem.code, problem.message)),
        }))
    }

    /// The ending of a batch of which run after run fails; without a report, where that can't
    /// be made either.
    async fn give_up(&mut self, mut story: String) -> Result<Ending, RunError> {
        let has_report = match self.join_report().await {
            Err(RunError::Store(error)) => {
                let id = &self.lease.batch.batch_id;
                let cause = mpulse_shared::store::chain(&error);
                tracing::error!(cause, "a report could not be joined");
                let _ = write!(
                    story,
                    " The report of refused rows could not be made; its parts are kept in the \
                     bucket, under {}.",
                    id.reject_parts_prefix()
                );
                if let Some(joining) = self.lease.batch.checkpoint.joining.take() {
                    // Where this fails too, the bucket's lifecycle sees to it.
                    let _ = self.report.abort(&joining).await;
                }
                false
            }
            result => result?,
        };
        Ok(Ending {
            status: Status::Failed,
            has_report,
            problem: Some(self.problem("system_failure", story)),
        })
    }

    /// Why the batch fails, and which counted rows nobody can vouch for.
    fn problem(&self, code: &str, mut message: String) -> BatchProblem {
        let at = &self.lease.batch.checkpoint;
        if at.durable != at.counted {
            let (from, to) = (at.durable.line, at.counted.line.saturating_sub(1));
            let doubt = format!(" Lines {from} to {to} are counted and may not have been written.");
            message.push_str(&doubt);
        }
        BatchProblem {
            code: code.to_owned(),
            message,
        }
    }

    /// Reads, counts and writes. Gives the ending, or `None` where time is up.
    async fn read_to_end(&mut self) -> Result<Option<Ending>, RunError> {
        let begun_with = self.lease.batch.etag.as_ref();
        if begun_with.is_some_and(|etag| *etag != self.object.etag) {
            return Err(source::replaced());
        }
        let layout = self.layout().await?;
        let encoder = Encoder::new(&layout);
        let durable = self.lease.batch.checkpoint.durable;
        let counted = self.lease.batch.checkpoint.counted.offset;
        let account_id = self.lease.batch.account_id.clone();
        let accounts = self.lease.batch.accounts.clone();
        let mut reader = Reader {
            source: Source::new(
                self.ingest.s3.clone(),
                self.object.clone(),
                durable.offset,
                self.ingest.tuning.first_wait,
            ),
            parser: Parser::new(layout.delimiter, durable),
            judge: Judge {
                layout: &layout,
                rules: self.ingest.rules,
                account_id: account_id.as_deref(),
                accounts: &accounts,
            },
            encoder: &encoder,
            tuning: self.ingest.tuning,
        };
        while self.lease.batch.checkpoint.durable.offset < counted {
            let Some(window) = self
                .lease
                .while_renewing(reader.next(Some(counted)))
                .await?
            else {
                break;
            };
            self.apply_again(window).await?;
        }
        loop {
            if self.lease.batch.status == Status::Cancelling || Instant::now() >= self.stop_at {
                break;
            }
            let Some(window) = self.lease.while_renewing(reader.next(None)).await? else {
                self.land_all().await?;
                return self.ending(&encoder).await.map(Some);
            };
            self.count_and_write(window).await?;
        }
        self.land_all().await?;
        if self.lease.batch.status == Status::Cancelling {
            let mut ending = self.ending(&encoder).await?;
            ending.status = Status::Cancelled;
            return Ok(Some(ending));
        }
        self.lease.save().await?;
        Ok(None)
    }

    async fn ending(&mut self, encoder: &Encoder) -> Result<Ending, RunError> {
        self.lease.save().await?;
        let has_report = self.join(encoder).await?;
        Ok(Ending {
            status: if has_report {
                Status::CompletedWithRejects
            } else {
                Status::Completed
            },
            has_report,
            problem: None,
        })
    }

    /// The report of a batch that failed, as far as it got.
    async fn join_report(&mut self) -> Result<bool, RunError> {
        let Some(layout) = self.lease.batch.checkpoint.layout.clone() else {
            return Ok(false);
        };
        self.join(&Encoder::new(&layout)).await
    }

    /// Joins the report's parts into one object, saving after each piece where it is. Gives
    /// `false` where no row was refused.
    async fn join(&mut self, encoder: &Encoder) -> Result<bool, RunError> {
        if self.lease.batch.checkpoint.rows.rejected == 0 {
            return Ok(false);
        }
        let segments = self.lease.batch.checkpoint.segments.clone();
        let found = Join::new(self.report.clone(), encoder, &segments);
        let Some(mut join) = self.lease.while_renewing(found).await? else {
            return Ok(false);
        };
        let earlier = self.lease.batch.checkpoint.joining.clone();
        let opened = join.open(earlier.as_ref());
        self.lease.while_renewing(opened).await?;
        while let Some(joining) = join.progress() {
            self.lease.batch.checkpoint.joining = Some(joining);
            self.lease.save().await?;
            if !self.lease.while_renewing(join.send_piece()).await? {
                break;
            }
        }
        self.lease.while_renewing(join.complete()).await?;
        self.lease.batch.checkpoint.joining = None;
        Ok(true)
    }

    /// The header: as an earlier run saved it, or from the head of the file.
    async fn layout(&mut self) -> Result<Layout, RunError> {
        if let Some(layout) = &self.lease.batch.checkpoint.layout {
            return Ok(layout.clone());
        }
        let mut source = Source::new(
            self.ingest.s3.clone(),
            self.object.clone(),
            0,
            self.ingest.tuning.first_wait,
        );
        let mut head = Vec::new();
        let has_account = self.lease.batch.account_id.is_some();
        loop {
            let whole = head.len() as u64 >= self.object.size;
            match layout::read(&head, whole, has_account) {
                Head::Read(layout, at) => {
                    let checkpoint = &mut self.lease.batch.checkpoint;
                    checkpoint.counted = at;
                    checkpoint.durable = at;
                    checkpoint.layout = Some(layout.clone());
                    return Ok(layout);
                }
                Head::Failed(problem) => return Err(RunError::File(problem)),
                Head::Partial => {
                    if let Some(bytes) = self.lease.while_renewing(source.next()).await? {
                        head.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }

    /// A window that an earlier run counted and may not have written: written where the
    /// table still differs.
    async fn apply_again(&mut self, window: Window) -> Result<(), RunError> {
        let found = self.find(&window.members).await?;
        let mut counted_before = Rows::default();
        let changes = self.apply(window.members, &found, &mut counted_before);
        self.write(window.end, changes).await?;
        self.land_all().await?;
        // Saved at once: where runs are cut again and again, each gets further than the last.
        self.lease.save().await
    }

    /// A new window: compared, counted, saved, and sent on its way.
    async fn count_and_write(&mut self, mut window: Window) -> Result<(), RunError> {
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
        self.lease.batch.checkpoint.rows = rows;
        self.lease.batch.checkpoint.counted = window.end;
        self.extend_segment(run, from, window.end.offset);
        self.lease.save().await?;
        self.write(window.end, changes).await
    }

    /// What exists of the members of these rows, but for those in hand.
    async fn find(&mut self, rows: &[Profile]) -> Result<Found, RunError> {
        let pending = &self.pending;
        let in_hand = |id: &MemberId| in_hand(pending, id).is_some();
        let found = lookup::find(&self.table, &mut self.index, self.stamp.mode, rows, in_hand);
        self.lease.while_renewing(found).await
    }

    fn apply(&self, profiles: Vec<Profile>, found: &Found, rows: &mut Rows) -> Changes {
        let standing = |row: usize, id: &MemberId| {
            let known = in_hand(&self.pending, id).or_else(|| found.members.get(id));
            match known {
                Some(member) => Standing::Member(member),
                None if found.equal[row] => Standing::Equal,
                None => Standing::Absent,
            }
        };
        compare::apply(profiles, standing, &self.stamp, rows)
    }

    /// Sends changes on their way. Never are two requests in flight for one key: a window
    /// that has a key in common with an earlier one waits for that one to land.
    async fn write(&mut self, end: Position, changes: Changes) -> Result<(), RunError> {
        while self
            .pending
            .iter()
            .any(|earlier| earlier.changes.meets(&changes))
        {
            self.land_oldest().await?;
        }
        let changes = Arc::new(changes);
        let mut task = JoinSet::new();
        let (table, stamp, sent) = (self.table.clone(), self.stamp.clone(), changes.clone());
        task.spawn(async move {
            match stamp.mode {
                Mode::Overwrite => table.put(&sent, &stamp).await.map(|()| Vec::new()),
                Mode::Upsert | Mode::Create => table.change(&sent, &stamp).await,
            }
        });
        self.pending.push_back(Pending { end, changes, task });
        while self.pending.len() > self.ingest.tuning.depth {
            self.land_oldest().await?;
        }
        Ok(())
    }

    /// Waits for the oldest window to be in the table.
    async fn land_oldest(&mut self) -> Result<(), RunError> {
        let Some(mut oldest) = self.pending.pop_front() else {
            return Ok(());
        };
        let result = self
            .lease
            .while_renewing(async { Ok(oldest.task.join_next().await) })
            .await;
        let standing = match result {
            Ok(Some(Ok(landed))) => landed?,
            Ok(Some(Err(error))) => {
                return Err(StoreError::unreadable("writing a window", error).into());
            }
            Ok(None) => Vec::new(),
            Err(error) => {
                // Still on its way: whoever gives up waits for it.
                self.pending.push_front(oldest);
                return Err(error);
            }
        };
        for change in oldest.changes.all() {
            self.index.note(&change.member.profile);
        }
        for member in standing {
            self.index.note(&member.profile);
        }
        self.lease.batch.checkpoint.durable = oldest.end;
        Ok(())
    }

    async fn land_all(&mut self) -> Result<(), RunError> {
        while !self.pending.is_empty() {
            self.land_oldest().await?;
        }
        Ok(())
    }

    /// After a failure: waits until nothing of this run is in flight, so that the lease can
    /// be given back.
    async fn settle(&mut self) {
        for mut window in self.pending.drain(..) {
            while window.task.join_next().await.is_some() {}
        }
    }

    fn extend_segment(&mut self, run: u32, from: u64, to: u64) {
        let segments = &mut self.lease.batch.checkpoint.segments;
        match segments.last_mut() {
            Some(last) if last.run == run => last.to = to,
            _ => segments.push(Segment { run, from, to }),
        }
    }
}

/// A member as the rows before leave it, where its write is still on its way.
fn in_hand<'a>(pending: &'a VecDeque<Pending>, id: &MemberId) -> Option<&'a Member> {
    pending
        .iter()
        .rev()
        .find_map(|window| window.changes.get(id))
}
