//! One run of a batch: from the lease to the end of the file, or to the moment at which
//! another run has to go on.
//!
//! A window's rows are compared with what exists, counted, and the counters saved; only
//! then is anything written. So what a crash leaves undone lies between the two offsets of
//! the checkpoint, and the next run applies just that again, without counting it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mpulse_shared::batch::{Batch, BatchProblem, Checkpoint, Layout, Position, Segment, Status};
use mpulse_shared::member::{Author, MemberId};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::batches::{Ending, LEASE};
use mpulse_shared::time::Timestamp;
use tokio::task::JoinSet;

use crate::Ingest;
use crate::compare::{self, Members, Stamp};
use crate::error::RunError;
use crate::guard::Guard;
use crate::layout::{self, Head};
use crate::parse::Parser;
use crate::reader::{Reader, Window};
use crate::report::{Encoder, Report};
use crate::row::Judge;
use crate::source::{self, Object, Source};
use crate::table::RunTable;

/// Windows whose writes are on their way while the next is read and compared.
const DEPTH: usize = 3;

/// How often the lease is renewed while nothing else saves it.
const RENEWAL: Duration = Duration::from_secs(LEASE.as_secs() / 6);

/// A run at work.
pub struct Run<'a> {
    ingest: &'a Ingest,
    batch: Batch,
    object: Object,
    owner: String,
    guard: Guard,
    table: RunTable,
    report: Report,
    stamp: Stamp,
    /// When to stop reading, so that there is time to put things in order.
    stop_at: Instant,
    /// Windows on their way into the table, the oldest first.
    pending: VecDeque<Pending>,
    /// When this run began, and with how many rows and bytes counted.
    began: (Instant, u64, u64),
    /// The checkpoint as it was last saved.
    saved: Checkpoint,
    /// When the lease was last renewed.
    renewed: Instant,
}

/// How far a checkpoint is: what has to move for a run to have made progress.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    counted: Position,
    durable: Position,
}

impl Place {
    fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            counted: checkpoint.counted,
            durable: checkpoint.durable,
        }
    }
}

/// A window on its way into the table.
struct Pending {
    end: Position,
    members: Arc<Members>,
    /// One task. Dropping the set ends it.
    task: JoinSet<Result<(), RunError>>,
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
        let table = ingest.table.for_run(guard.clone());
        let report = ingest.report(&object.bucket, &batch.batch_id, guard.clone());
        let stamp = Stamp {
            at: batch.uploaded_at.unwrap_or(batch.created_at),
            by: Author::batch(batch.batch_id.as_str()),
            mode: batch.mode,
        };
        let at = &batch.checkpoint;
        let began = (Instant::now(), at.rows.read, at.counted.offset);
        Self {
            saved: at.clone(),
            renewed: Instant::now(),
            ingest,
            batch,
            object,
            owner,
            guard,
            table,
            report,
            stamp,
            stop_at,
            pending: VecDeque::new(),
            began,
        }
    }

    /// Works until the batch has ended or the run has to stop.
    ///
    /// # Errors
    /// Where the record of the batch can't be written. The lease then runs out by itself.
    pub async fn work(mut self) -> Result<Outcome, RunError> {
        let begun = Place::of(&self.saved);
        let result = match self.read_to_end().await {
            Err(RunError::File(problem)) => self.file_failed(problem).await,
            result => result,
        };
        let ending = match result {
            Ok(Some(ending)) => ending,
            Ok(None) => {
                self.release(0).await?;
                return Ok(Outcome::HandBack);
            }
            Err(error) => {
                let cause = mpulse_shared::store::chain(&error);
                tracing::error!(batch_id = %self.batch.batch_id, cause, "a run failed");
                self.settle().await;
                // What could not be saved is not counted.
                self.batch.checkpoint = self.saved.clone();
                let stalled = match error {
                    RunError::LeaseLost => return Err(error),
                    RunError::OutOfTime => 0,
                    _ if Place::of(&self.saved) != begun => 0,
                    _ => self.batch.stalled + 1,
                };
                if stalled < crate::MAX_STALLED {
                    self.release(stalled).await?;
                    return Ok(Outcome::HandBack);
                }
                let story = format!("{stalled} runs in a row made no progress; the last: {error}.");
                Ending {
                    status: Status::Failed,
                    has_report: self.join_report().await.unwrap_or(false),
                    problem: Some(self.problem("system_failure", story)),
                }
            }
        };
        self.end(&ending).await?;
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

    /// Why the batch fails, and which counted rows nobody can vouch for.
    fn problem(&self, code: &str, mut message: String) -> BatchProblem {
        let at = &self.batch.checkpoint;
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
        let begun_with = self.batch.etag.as_ref();
        if begun_with.is_some_and(|etag| *etag != self.object.etag) {
            return Err(source::replaced());
        }
        let layout = self.layout().await?;
        let encoder = Encoder::new(&layout);
        let durable = self.batch.checkpoint.durable;
        let counted = self.batch.checkpoint.counted.offset;
        let account_id = self.batch.account_id.clone();
        let mut reader = Reader {
            source: Source::new(self.ingest.s3.clone(), self.object.clone(), durable.offset),
            parser: Parser::new(layout.delimiter, durable),
            judge: Judge {
                layout: &layout,
                rules: self.ingest.rules,
                account_id: account_id.as_deref(),
            },
            encoder: &encoder,
        };
        while self.batch.checkpoint.durable.offset < counted {
            let Some(window) = self.while_renewing(reader.next(Some(counted))).await? else {
                break;
            };
            self.apply_again(window).await?;
        }
        loop {
            if self.batch.status == Status::Cancelling || Instant::now() >= self.stop_at {
                break;
            }
            let Some(window) = self.while_renewing(reader.next(None)).await? else {
                self.land_all().await?;
                return self.ending(&encoder).await.map(Some);
            };
            self.count_and_write(window).await?;
        }
        self.land_all().await?;
        if self.batch.status == Status::Cancelling {
            let mut ending = self.ending(&encoder).await?;
            ending.status = Status::Cancelled;
            return Ok(Some(ending));
        }
        self.save().await?;
        Ok(None)
    }

    async fn ending(&mut self, encoder: &Encoder) -> Result<Ending, RunError> {
        self.save().await?;
        let segments = self.batch.checkpoint.segments.clone();
        let report = self.report.clone();
        let has_report = self.batch.checkpoint.rows.rejected > 0
            && self.while_renewing(report.join(encoder, &segments)).await?;
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
        let Some(layout) = self.batch.checkpoint.layout.clone() else {
            return Ok(false);
        };
        let segments = self.batch.checkpoint.segments.clone();
        let report = self.report.clone();
        self.while_renewing(report.join(&Encoder::new(&layout), &segments))
            .await
    }

    /// The header: as an earlier run saved it, or from the head of the file.
    async fn layout(&mut self) -> Result<Layout, RunError> {
        if let Some(layout) = &self.batch.checkpoint.layout {
            return Ok(layout.clone());
        }
        let mut source = Source::new(self.ingest.s3.clone(), self.object.clone(), 0);
        let mut head = Vec::new();
        let has_account = self.batch.account_id.is_some();
        loop {
            let whole = head.len() as u64 >= self.object.size;
            match layout::read(&head, whole, has_account) {
                Head::Read(layout, at) => {
                    let checkpoint = &mut self.batch.checkpoint;
                    checkpoint.counted = at;
                    checkpoint.durable = at;
                    checkpoint.layout = Some(layout.clone());
                    return Ok(layout);
                }
                Head::Failed(problem) => return Err(RunError::File(problem)),
                Head::Partial => {
                    if let Some(bytes) = self.while_renewing(source.next()).await? {
                        head.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }

    /// A window that an earlier run counted and may not have written: written where the
    /// table still differs.
    async fn apply_again(&mut self, window: Window) -> Result<(), RunError> {
        let stored = self.fetch(&window).await?;
        let members = self.apply(
            window.members,
            &stored,
            &mut mpulse_shared::batch::Rows::default(),
        );
        self.write(window.end, members).await?;
        self.land_all().await
    }

    /// A new window: compared, counted, saved, and sent on its way.
    async fn count_and_write(&mut self, mut window: Window) -> Result<(), RunError> {
        let from = self.batch.checkpoint.counted.offset;
        let run = self.batch.attempts;
        let report = self.report.clone();
        let lines = std::mem::take(&mut window.report);
        let part = async {
            if lines.is_empty() {
                return Ok(());
            }
            report.put_part(run, from, lines).await
        };
        let table = self.table.clone();
        let wanted = self.wanted(&window);
        let (stored, ()) = self
            .while_renewing(async { tokio::try_join!(table.fetch(&wanted), part) })
            .await?;
        let mut rows = self.batch.checkpoint.rows;
        let members = self.apply(window.members, &stored, &mut rows);
        rows.read += window.refused;
        rows.rejected += window.refused;
        self.batch.checkpoint.rows = rows;
        self.batch.checkpoint.counted = window.end;
        self.extend_segment(run, from, window.end.offset);
        self.save().await?;
        self.write(window.end, members).await
    }

    fn apply(
        &self,
        profiles: Vec<mpulse_shared::member::Profile>,
        stored: &Members,
        rows: &mut mpulse_shared::batch::Rows,
    ) -> Members {
        let existing = |id: &MemberId| {
            self.pending
                .iter()
                .rev()
                .find_map(|window| window.members.get(id))
                .or_else(|| stored.get(id))
        };
        compare::apply(profiles, existing, &self.stamp, rows)
    }

    async fn fetch(&mut self, window: &Window) -> Result<Members, RunError> {
        let wanted = self.wanted(window);
        let table = self.table.clone();
        self.while_renewing(table.fetch(&wanted)).await
    }

    /// The ids to read for a window: each once, and none that is in hand.
    fn wanted(&self, window: &Window) -> Vec<MemberId> {
        if self.stamp.mode == mpulse_shared::batch::Mode::Overwrite {
            return Vec::new();
        }
        let in_hand = |id: &MemberId| self.pending.iter().any(|p| p.members.contains_key(id));
        let mut seen = HashSet::with_capacity(window.members.len());
        window
            .members
            .iter()
            .map(|profile| &profile.id)
            .filter(|id| seen.insert(*id) && !in_hand(id))
            .cloned()
            .collect()
    }

    /// Sends members on their way. Never are two requests in flight for one key: a window
    /// that has a key in common with an earlier one waits for that one to land.
    async fn write(&mut self, end: Position, members: Members) -> Result<(), RunError> {
        let meets = |pending: &Pending| members.keys().any(|id| pending.members.contains_key(id));
        while self.pending.iter().any(meets) {
            self.land_oldest().await?;
        }
        let members = Arc::new(members);
        let mut task = JoinSet::new();
        let (table, sent) = (self.table.clone(), Arc::clone(&members));
        task.spawn(async move { table.put(&sent).await });
        self.pending.push_back(Pending { end, members, task });
        while self.pending.len() > DEPTH {
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
            .while_renewing(async { Ok(oldest.task.join_next().await) })
            .await;
        match result {
            Ok(Some(Ok(landed))) => landed?,
            Ok(Some(Err(error))) => {
                return Err(StoreError::unreadable("writing a window", error).into());
            }
            Ok(None) => {}
            Err(error) => {
                // Still on its way: whoever gives up waits for it.
                self.pending.push_front(oldest);
                return Err(error);
            }
        }
        self.batch.checkpoint.durable = oldest.end;
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

    /// Runs a future, and renews the lease as long as it takes.
    async fn while_renewing<T>(
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
    async fn save(&mut self) -> Result<(), RunError> {
        self.account();
        let renewed = Guard::now();
        let now = Timestamp::now();
        self.guard.check()?;
        let checkpoint = &self.batch.checkpoint;
        let moved = Place::of(checkpoint) != Place::of(&self.saved);
        let stalled = if moved { 0 } else { self.batch.stalled };
        let status = self
            .ingest
            .batches
            .save(&self.batch.batch_id, &self.owner, checkpoint, stalled, now)
            .await?;
        self.guard.renew(renewed);
        self.renewed = renewed.0;
        self.saved = checkpoint.clone();
        self.batch.status = status;
        self.batch.stalled = stalled;
        Ok(())
    }

    /// Brings units and speed in the checkpoint up to date.
    fn account(&mut self) {
        let spent = self.table.take_spent();
        let at = &mut self.batch.checkpoint;
        at.capacity.read_units += spent.read_units;
        at.capacity.write_units += spent.write_units;
        let (since, rows, bytes) = self.began;
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        at.rows_per_second = per_second(at.rows.read - rows, millis);
        at.bytes_per_second = per_second(at.counted.offset - bytes, millis);
    }

    fn extend_segment(&mut self, run: u32, from: u64, to: u64) {
        let segments = &mut self.batch.checkpoint.segments;
        match segments.last_mut() {
            Some(last) if last.run == run => last.to = to,
            _ => segments.push(Segment { run, from, to }),
        }
    }

    /// Gives the batch back for another run.
    async fn release(&mut self, stalled: u32) -> Result<(), RunError> {
        let id = &self.batch.batch_id;
        self.ingest
            .batches
            .release(id, &self.owner, stalled, Timestamp::now())
            .await?;
        tracing::info!(batch_id = %id, stalled, "handed a batch back");
        Ok(())
    }

    async fn end(&mut self, ending: &Ending) -> Result<(), RunError> {
        self.account();
        let now = Timestamp::now();
        let at = &mut self.batch.checkpoint;
        let since = self.batch.started_at.unwrap_or(now);
        let millis = u64::try_from(now.millis_since(since)).unwrap_or_default();
        at.rows_per_second = per_second(at.rows.read, millis);
        let id = &self.batch.batch_id;
        self.ingest
            .batches
            .end(id, &self.owner, at, ending, now)
            .await?;
        tracing::info!(
            batch_id = %id,
            status = ending.status.name(),
            read = at.rows.read,
            rejected = at.rows.rejected,
            millis,
            attempts = self.batch.attempts,
            "a batch ended"
        );
        Ok(())
    }
}

/// An amount per second, given the milliseconds it took.
fn per_second(amount: u64, millis: u64) -> u64 {
    amount.saturating_mul(1000) / millis.max(1)
}
