//! The life of a run: from the lease to the end of the account, or to the moment at which the next run has to continue.

use std::mem;
use std::time::Instant;

use bytes::Bytes;
use mpulse_shared::batch::BatchProblem;
use mpulse_shared::csv;
use mpulse_shared::export::{Checkpoint, Export, Format};
use mpulse_shared::run::{Guard, MAX_STALLED, Renew, RunEnd, RunError};
use mpulse_shared::store::{self, StoreError};

use crate::account::Account;
use crate::file::ExportFile;
use crate::lease::Lease;
use crate::resources::Resources;
use crate::workbook::Making;

/// The most pieces of a file (an S3 limit).
const MAX_PIECES: u32 = 10_000;

/// What the last page may add to a piece that is nearly full, in bytes.
const ROOM: usize = 1 << 20;

/// A run.
pub struct Run<'a> {
    resources: &'a Resources,
    lease: Lease<'a>,
    account: Account,
    file: ExportFile,
    /// When to stop reading, so that there is time for an orderly end.
    stop_at: Instant,
}

/// Where a piece ends.
#[derive(Debug)]
enum End {
    /// After the member with this client member id.
    At(String),
    /// Anywhere: the pieces of a workbook are not made of whole rows.
    Unknown,
    /// At the end of the file.
    OfFile,
}

impl<'a> Run<'a> {
    /// Creates a run of an export whose lease `owner` has just claimed.
    pub fn new(
        resources: &'a Resources,
        export: Export,
        bucket: String,
        owner: String,
        guard: Guard,
        stop_at: Instant,
    ) -> Self {
        let account = Account::new(
            resources.members.clone(),
            export.account_id.clone(),
            guard.clone(),
            resources.tuning.first_wait,
        );
        let file = ExportFile::new(resources.s3.clone(), bucket, &export, guard.clone());
        let (exports, metrics) = (&resources.exports, &resources.metrics);
        Self {
            resources,
            lease: Lease::new(exports, metrics, export, owner, guard),
            account,
            file,
            stop_at,
        }
    }

    /// Writes the file until the export has ended or the run has to stop.
    ///
    /// # Errors
    /// Returns an error if the record of the export cannot be written. The lease then expires.
    pub async fn work(mut self) -> Result<RunEnd, RunError> {
        let written = match self.lease.export.format {
            Format::Csv => self.write_csv().await,
            Format::Xlsx => self.write_workbook().await,
        };
        let error = match written {
            Ok(()) => {
                self.lease.end(None).await?;
                return Ok(RunEnd::Ended);
            }
            Err(RunError::Failed(problem)) => return self.fail(&problem).await,
            Err(RunError::LeaseLost) => return Err(RunError::LeaseLost),
            Err(error) => error,
        };
        if error.is_failure() {
            let cause = store::chain(&error);
            tracing::error!(cause, "a run failed");
            self.resources.count_failed_run();
        }
        self.lease.discard_unsaved();
        // A workbook begins again in each run, so running out of time is no progress either.
        let export = &self.lease.export;
        let may_stall = error.is_failure() || export.format == Format::Xlsx;
        let stalled = if may_stall && !self.lease.has_progressed() {
            export.stalled + 1
        } else {
            0
        };
        if stalled < MAX_STALLED {
            self.lease.release(stalled).await?;
            return Ok(RunEnd::HandBack);
        }
        self.fail(&BatchProblem {
            code: "system_failure".to_owned(),
            message: format!(
                "{stalled} runs in a row made no progress. The last error: {error}. Create another export, as CSV if this \
                 one is a workbook."
            ),
        })
        .await
    }

    /// Ends the export without a file.
    async fn fail(mut self, problem: &BatchProblem) -> Result<RunEnd, RunError> {
        if let Some(upload) = self.lease.export.checkpoint.upload_id.take()
            && let Err(error) = self.file.abort(&upload).await
        {
            // The bucket's lifecycle rule deletes it.
            tracing::warn!(%error, "the upload of a failed export was not aborted");
        }
        self.lease.end(Some(problem)).await?;
        Ok(RunEnd::Ended)
    }

    /// Writes the file as CSV, from the last member that is in a stored piece.
    async fn write_csv(&mut self) -> Result<(), RunError> {
        if self.resume().await? {
            return Ok(());
        }
        let Checkpoint {
            mut rows, mut last, ..
        } = self.lease.export.checkpoint.clone();
        let piece_bytes = self.resources.tuning.piece_bytes;
        let mut text = String::with_capacity(piece_bytes + ROOM);
        if rows == 0 {
            text.push_str(&csv::member_header());
        }
        loop {
            self.check_time()?;
            let page = self.account.page(last.take());
            let page = self.lease.while_renewing(page).await?;
            rows += page.members.len() as u64;
            for profile in &page.members {
                csv::push_member(&mut text, profile);
            }
            let Some(after) = page.last else {
                return self.finish(text.into(), rows).await;
            };
            drop(page.members);
            if text.len() >= piece_bytes {
                let piece = mem::replace(&mut text, String::with_capacity(piece_bytes + ROOM));
                self.send(piece.into(), rows, End::At(after.clone()))
                    .await?;
            }
            last = Some(after);
        }
    }

    /// Looks up the pieces that earlier runs have stored. Returns whether the whole file is stored. If the pieces are not
    /// those of the checkpoint, for example because S3 has deleted them as too old, the file is begun again.
    async fn resume(&mut self) -> Result<bool, RunError> {
        let at = self.lease.export.checkpoint.clone();
        let Some(upload) = at.upload_id else {
            self.lease.export.checkpoint = Checkpoint::default();
            return Ok(false);
        };
        let pieces = self.file.pieces(&upload, at.pieces);
        let pieces = self.lease.while_renewing(pieces).await?;
        let pieces = pieces.filter(|pieces| pieces.bytes == at.bytes);
        if let Some(pieces) = pieces {
            if at.is_whole {
                let completed = self.file.complete(&upload, pieces);
                self.lease.while_renewing(completed).await?;
            } else {
                tracing::info!(pieces = at.pieces, rows = at.rows, "continuing an export");
            }
            return Ok(at.is_whole);
        }
        // A run may have completed the upload without being able to save the end.
        if at.is_whole && self.file.is_stored(at.bytes).await? {
            return Ok(true);
        }
        tracing::warn!(pieces = at.pieces, "the pieces of an export are gone");
        self.begin_again().await?;
        Ok(false)
    }

    /// Discards what earlier runs have stored.
    async fn begin_again(&mut self) -> Result<(), RunError> {
        let at = mem::take(&mut self.lease.export.checkpoint);
        if let Some(upload) = at.upload_id {
            self.file.abort(&upload).await?;
        }
        self.lease.save().await
    }

    /// Stores the next piece of the file, and saves the checkpoint after it. `rows` is the number of all members up to its
    /// end.
    async fn send(&mut self, piece: Bytes, rows: u64, end: End) -> Result<(), RunError> {
        let upload = if let Some(upload) = self.lease.export.checkpoint.upload_id.clone() {
            upload
        } else {
            let upload = self.file.create_upload().await?;
            // Saved before the first piece, so that no run loses it.
            self.lease.export.checkpoint.upload_id = Some(upload.clone());
            self.lease.save().await?;
            upload
        };
        let number = self.lease.export.checkpoint.pieces + 1;
        if number > MAX_PIECES {
            return Err(RunError::Failed(BatchProblem {
                code: "too_many_members".to_owned(),
                message: format!(
                    "The account has too many members for one file: more than {rows}."
                ),
            }));
        }
        let bytes = piece.len() as u64;
        let sent = self.file.send(&upload, number, piece);
        self.lease.while_renewing(sent).await?;
        let at = &mut self.lease.export.checkpoint;
        at.pieces = number;
        at.bytes += bytes;
        at.rows = rows;
        (at.last, at.is_whole) = match end {
            End::At(last) => (Some(last), false),
            End::Unknown => (None, false),
            End::OfFile => (None, true),
        };
        self.lease.save().await
    }

    /// Stores the rest of the file, which makes it whole.
    async fn finish(&mut self, rest: Bytes, rows: u64) -> Result<(), RunError> {
        if self.lease.export.checkpoint.upload_id.is_none() {
            let at = &mut self.lease.export.checkpoint;
            (at.rows, at.bytes) = (rows, rest.len() as u64);
            let stored = self.file.put(rest);
            return self.lease.while_renewing(stored).await;
        }
        if rest.is_empty() {
            self.lease.export.checkpoint.is_whole = true;
            self.lease.save().await?;
        } else {
            // In one save: the piece has the last members, so a run must not continue after it.
            self.send(rest, rows, End::OfFile).await?;
        }
        if self.resume().await? {
            return Ok(());
        }
        let missing = "pieces are missing that were stored";
        Err(StoreError::unreadable("ListParts of an export", missing).into())
    }

    /// Writes the file as a workbook. It is made from its beginning, because its pieces are compressed.
    async fn write_workbook(&mut self) -> Result<(), RunError> {
        self.begin_again().await?;
        let most = self.resources.tuning.max_workbook_rows;
        let mut making = Making::start(self.resources.tuning.piece_bytes);
        let (mut rows, mut last) = (0, None);
        loop {
            self.check_time()?;
            let page = self.account.page(last.take());
            let page = self.lease.while_renewing(page).await?;
            rows += page.members.len() as u64;
            if rows > most {
                return Err(RunError::Failed(BatchProblem {
                    code: "too_many_members".to_owned(),
                    message: format!(
                        "The account has more than {most} members, the most rows of a workbook. Create another export \
                         with \"format\": \"csv\"."
                    ),
                }));
            }
            let added = making.add(page.members);
            self.lease
                .while_renewing(async { Ok(added.await?) })
                .await?;
            last = page.last;
            if last.is_none() {
                break;
            }
        }
        // The first piece may be the only one.
        let mut piece = self.next_piece(&mut making).await?.unwrap_or_default();
        while let Some(next) = self.next_piece(&mut making).await? {
            self.send(mem::replace(&mut piece, next), rows, End::Unknown)
                .await?;
            self.check_time()?;
        }
        self.finish(piece, rows).await
    }

    async fn next_piece(&mut self, making: &mut Making) -> Result<Option<Bytes>, RunError> {
        let next = async { Ok(making.next_piece().await?) };
        self.lease.while_renewing(next).await
    }

    fn check_time(&self) -> Result<(), RunError> {
        if Instant::now() >= self.stop_at {
            return Err(RunError::OutOfTime);
        }
        Ok(())
    }
}
