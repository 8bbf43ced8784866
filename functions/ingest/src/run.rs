//! The life of a run: from the lease to the end of the file, or to the moment at which the next run
//! has to continue.
//!
//! The rows of a window are compared with the existing members and counted, and the counters are
//! saved; only then is anything written. What a crash leaves unfinished lies between the two
//! offsets of the checkpoint, and the next run applies exactly that again, without counting it.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mpulse_shared::batch::{Batch, BatchProblem, Layout, Mode, Status};
use mpulse_shared::member::{Author, Rules};
use mpulse_shared::run::{Guard, MAX_STALLED, Object, Point, RunEnd, RunError};
use mpulse_shared::store::leases::FinalState;

use crate::account_keys::AccountKeys;
use crate::change_log::ChangeLog;
use crate::change_report;
use crate::compare::WriteContext;
use crate::decode::{Decoder, Encoding, Input};
use crate::file_keys::{FileKeys, Pass};
use crate::index::Index;
use crate::layout::{self, Head, Settings};
use crate::lease::Lease;
use crate::metrics_reporter::MetricsReporter;
use crate::parse::Parser;
use crate::pipeline::Pipeline;
use crate::reader::{Reader, Window};
use crate::report::{Encoder, Kind};
use crate::resources::Resources;
use crate::row::RowValidator;
use crate::seen::SeenKeys;
use crate::source;
use crate::stop_early;

mod ending;
mod sweep;

/// A run.
pub struct Run<'a> {
    resources: &'a Resources,
    object: Object,
    /// When to stop reading, so that there is time for an orderly end.
    stop_at: Instant,
    pipeline: Pipeline<'a>,
}

/// How a sweep ends.
#[derive(Debug)]
pub enum SweepEnd {
    /// All absent members are removed.
    Done,
    /// The next run has to continue, or the batch is cancelled.
    Stopped,
    /// Nobody is removed.
    Failed(BatchProblem),
}

impl<'a> Run<'a> {
    /// Creates a run of a batch whose lease `owner` has just claimed.
    pub fn new(
        resources: &'a Resources,
        batch: Batch,
        object: Object,
        owner: String,
        guard: Guard,
        stop_at: Instant,
    ) -> Self {
        let table = resources
            .table
            .for_run(guard.clone(), resources.tuning.first_wait);
        let report = |kind| resources.report(&object.bucket, &batch.batch_id, kind, guard.clone());
        let mut context = WriteContext::new(
            batch.uploaded_at.unwrap_or(batch.created_at),
            Author::batch(batch.batch_id.as_str()),
            batch.mode,
        );
        if let (Mode::Revert, Some(parent)) = (batch.mode, &batch.parent_batch_id) {
            context = context.reverting(Author::batch(parent.as_str()));
        }
        let tuning = resources.tuning;
        let mut index = Index::new(tuning.max_fingerprints, tuning.first_page);
        if batch.mode == Mode::Replace {
            index.keep_keys(AccountKeys::new(tuning.max_account_keys));
        }
        let changes = batch
            .changes
            .then(|| ChangeLog::new(report(Kind::Changes), batch.attempts, tuning.large_part));
        let report = report(Kind::Rejects);
        let reporter = MetricsReporter::new(resources.metrics.clone(), &batch);
        let lease = Lease::new(
            &resources.batches,
            batch,
            owner,
            guard,
            table.clone(),
            reporter,
        );
        Self {
            resources,
            object,
            stop_at,
            pipeline: Pipeline {
                resources,
                lease,
                table,
                index,
                report,
                changes,
                context,
                pending: VecDeque::new(),
                predicted: HashMap::new(),
            },
        }
    }

    /// Processes the file until the batch has ended or the run has to stop.
    ///
    /// # Errors
    /// Returns an error if the record of the batch cannot be written. The lease then expires.
    pub async fn work(mut self) -> Result<RunEnd, RunError> {
        let result = match self.read_to_end().await {
            Err(RunError::Failed(problem)) => self.file_failed(problem).await,
            result => result,
        };
        let final_state = match result {
            Ok(Some(final_state)) => final_state,
            Ok(None) => {
                self.pipeline.lease.release(0).await?;
                return Ok(RunEnd::HandBack);
            }
            Err(error) => {
                let cause = mpulse_shared::store::chain(&error);
                tracing::error!(cause, "a run failed");
                if error.is_failure() {
                    self.resources.count_failed_run();
                }
                self.pipeline.drain().await;
                self.pipeline.lease.discard_unsaved();
                let stalled = match error {
                    RunError::LeaseLost => return Err(error),
                    RunError::OutOfTime => 0,
                    _ if self.pipeline.lease.has_progressed() => 0,
                    _ => self.pipeline.lease.batch.stalled + 1,
                };
                if stalled < MAX_STALLED {
                    self.pipeline.lease.release(stalled).await?;
                    return Ok(RunEnd::HandBack);
                }
                let message =
                    format!("{stalled} runs in a row made no progress. The last error: {error}.");
                match self.give_up(message).await {
                    Err(RunError::OutOfTime) => {
                        self.pipeline.lease.release(stalled).await?;
                        return Ok(RunEnd::HandBack);
                    }
                    final_state => final_state?,
                }
            }
        };
        self.pipeline.lease.end(&final_state).await?;
        Ok(RunEnd::Ended)
    }

    /// Reads, counts and writes. Returns the final state, or `None` if the time is up.
    async fn read_to_end(&mut self) -> Result<Option<FinalState>, RunError> {
        let begun_with = self.pipeline.lease.batch.etag.as_ref();
        if begun_with.is_some_and(|etag| *etag != self.object.etag) {
            return Err(source::replaced());
        }
        if self.pipeline.lease.batch.mode == Mode::Erase {
            return self.erase().await;
        }
        let (layout, source, rest) = self.open().await?;
        let encoder = Encoder::new(&layout);
        let durable = self.pipeline.lease.batch.checkpoint.durable;
        let counted = self.pipeline.lease.batch.checkpoint.counted.offset;
        let first_row = self.pipeline.lease.batch.checkpoint.first_row;
        let account_id = self.pipeline.lease.batch.account_id.clone();
        let accounts = self.pipeline.lease.batch.accounts.clone();
        let stop_early = self.pipeline.lease.batch.format.stop_early;
        let mode = self.pipeline.lease.batch.mode;
        let (replaces, reverts) = (mode == Mode::Replace, mode == Mode::Revert);
        if reverts && !change_report::is_report(&layout.names) {
            return Err(RunError::Failed(BatchProblem {
                code: "not_a_change_report".to_owned(),
                message: "The file is not a report of changes.".to_owned(),
            }));
        }
        let mut parser = Parser::new(layout.delimiter, durable);
        parser.push(&rest);
        let account_id = account_id.as_deref();
        let most = self.resources.tuning.max_file_keys;
        let mut reader = Reader {
            source,
            parser,
            validate: RowValidator::new(&layout, self.rules(), account_id, &accounts)
                .replacing(account_id.filter(|_| replaces)),
            seen: SeenKeys::default(),
            encoder: &encoder,
            reverts,
            // Unless an earlier run has read some of the rows.
            keys: (replaces && durable == first_row).then(|| FileKeys::new(Pass::ONLY, most)),
            tuning: self.resources.tuning,
        };
        let mut at = durable;
        while at.offset < counted {
            let Some(window) = self.next_window(&mut reader, Some(counted)).await? else {
                break;
            };
            at = window.end;
            self.pipeline.apply_again(window).await?;
        }
        loop {
            if self.pipeline.lease.batch.status == Status::Cancelling
                || Instant::now() >= self.stop_at
            {
                break;
            }
            let Some(window) = self.next_window(&mut reader, None).await? else {
                self.pipeline.wait_for_all().await?;
                // What follows the last row, such as blank lines, belongs to no window.
                self.pipeline.lease.batch.checkpoint.bytes_done = self.object.size;
                if replaces {
                    match self.sweep(reader.keys).await? {
                        SweepEnd::Done => {}
                        SweepEnd::Failed(problem) => return Err(RunError::Failed(problem)),
                        SweepEnd::Stopped => break,
                    }
                }
                return self.completed().await.map(Some);
            };
            self.pipeline.count_and_write(window).await?;
            if stop_early
                && let Some(problem) = stop_early::problem(&self.pipeline.lease.batch.checkpoint)
            {
                return Err(RunError::Failed(problem));
            }
        }
        self.stop().await
    }

    /// Reads the next window of the file, ending at byte `until` at the latest; `None` at the end of the file.
    async fn next_window(
        &mut self,
        reader: &mut Reader<'_>,
        until: Option<u64>,
    ) -> Result<Option<Window>, RunError> {
        let lease = &mut self.pipeline.lease;
        let window = lease.while_renewing(reader.next(until)).await?;
        self.reached(Point::Read).await;
        Ok(window)
    }

    /// Reports that the run has reached a point.
    async fn reached(&self, point: Point) {
        self.pipeline.lease.guard.reached(point).await;
    }

    /// Removes every member of the account. Returns as [`Run::read_to_end`].
    async fn erase(&mut self) -> Result<Option<FinalState>, RunError> {
        match self.sweep(None).await? {
            SweepEnd::Done => self.completed().await.map(Some),
            SweepEnd::Failed(problem) => Err(RunError::Failed(problem)),
            SweepEnd::Stopped => self.stop().await,
        }
    }

    /// Returns the final state of a cancelled batch; otherwise saves the checkpoint for the next run.
    async fn stop(&mut self) -> Result<Option<FinalState>, RunError> {
        self.pipeline.wait_for_all().await?;
        if self.pipeline.lease.batch.status == Status::Cancelling {
            return self.final_state(Status::Cancelled, None).await.map(Some);
        }
        self.pipeline.lease.save().await?;
        Ok(None)
    }

    /// Opens the file where the next row begins. Returns the layout, as an earlier run saved it or from the header; the
    /// text; and what was already read of the rows.
    async fn open(&mut self) -> Result<(Layout, Decoder, Bytes), RunError> {
        let input = self.input();
        let batch = &self.pipeline.lease.batch;
        if let Some(layout) = batch.checkpoint.layout.clone() {
            let offset = batch.checkpoint.durable.offset;
            let opened = Decoder::open(&input, Some(encoding_of(&layout)), offset);
            let source = self.pipeline.lease.while_renewing(opened).await?;
            return Ok((layout, source, Bytes::new()));
        }
        let has_account = batch.account_id.is_some();
        let opened = Decoder::open(&input, None, 0);
        let mut source = self.pipeline.lease.while_renewing(opened).await?;
        let mut head = BytesMut::new();
        let settings = Settings {
            format: &input.format,
            has_account,
        };
        loop {
            match layout::read(&head, source.has_ended(), settings) {
                Head::Read(mut layout, at) => {
                    let encoding = source.encoding().clone();
                    layout.container = encoding.container;
                    layout.charset = encoding.charset;
                    let checkpoint = &mut self.pipeline.lease.batch.checkpoint;
                    checkpoint.counted = at;
                    checkpoint.durable = at;
                    checkpoint.first_row = at;
                    checkpoint.layout = Some(layout.clone());
                    let taken = usize::try_from(at.offset).unwrap_or(usize::MAX);
                    return Ok((layout, source, head.split_off(taken).freeze()));
                }
                Head::Failed(problem) => return Err(RunError::Failed(problem)),
                Head::Partial => {
                    if let Some(text) = self.pipeline.lease.while_renewing(source.next()).await? {
                        head.extend_from_slice(&text);
                    }
                }
            }
        }
    }

    /// Returns how to read the file.
    fn input(&self) -> Input {
        Input {
            client: self.resources.s3.clone(),
            object: self.object.clone(),
            format: self.pipeline.lease.batch.format.clone(),
            first_wait: self.resources.tuning.first_wait,
        }
    }

    /// Returns the rules for the fields of rows.
    fn rules(&self) -> Rules {
        let region = self.pipeline.lease.batch.format.default_region.as_deref();
        match region.map(str::parse) {
            Some(Ok(region)) => Rules { region },
            _ => self.resources.rules,
        }
    }
}

/// Returns how a file is encoded, as an earlier run has found.
fn encoding_of(layout: &Layout) -> Encoding {
    Encoding {
        container: layout.container,
        charset: layout.charset.clone(),
    }
}
