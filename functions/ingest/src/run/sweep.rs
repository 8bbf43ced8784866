//! The end of a batch in mode `replace` or `erase`: removes the members of the account that are not in the file.
//!
//! The absent members are counted first, and nothing is removed if they are more than the limit. Then they are removed in
//! windows, in the order of their ids: each window is read, counted and saved, and then removed, so that what a crash leaves
//! unfinished lies between the two ids of the checkpoint, and the next run removes exactly that again, without counting it.
//! The ids of the file are in memory; a file with too many is handled in several passes, each for some of the ids.

use std::time::Instant;

use mpulse_shared::batch::{BatchProblem, Limit, Mode, Status, Sweep};
use mpulse_shared::member::{AccountId, ClientMemberId, Member, MemberId};
use mpulse_shared::run::{Point, RunError};

use super::{Run, SweepEnd};
use crate::account_keys::{AccountKeys, Place};
use crate::change_report;
use crate::compare::{Changed, Changes, Next, Old};
use crate::decode::Decoder;
use crate::file_keys::{FileKeys, Pass};
use crate::parse::Parser;
use crate::pipeline::write_units;
use crate::reader::Reader;
use crate::report::Encoder;
use crate::row::RowValidator;
use crate::seen::SeenKeys;

/// Ids that are compared with those of the file at once.
const IDS: usize = 4096;

/// The cost limit of a page of the account, in members: the megabyte that one Query reads at most.
const PAGE: u32 = 4096;

/// The ids of the account's members, in order: from memory as far as they are there, then from the table.
struct Ids {
    /// The ids in memory, and whether they are all.
    known: Option<(AccountKeys, bool)>,
    place: Place,
    /// The last id that was returned.
    last: Option<ClientMemberId>,
    has_ended: bool,
}

impl Ids {
    /// Begins after `last`, or with the first id.
    fn after(known: Option<(AccountKeys, bool)>, last: Option<ClientMemberId>) -> Self {
        Self {
            // The list in memory begins with the first id.
            known: known.filter(|_| last.is_none()),
            place: Place::default(),
            last,
            has_ended: false,
        }
    }

    /// Begins again with the first id.
    fn begin_again(&mut self) {
        self.place = Place::default();
        self.last = None;
        self.has_ended = false;
    }
}

impl Run<'_> {
    /// Removes the members that are not in the file. `keys` are the ids of the file, if this run has read all of it.
    pub(super) async fn sweep(&mut self, keys: Option<FileKeys>) -> Result<SweepEnd, RunError> {
        let Some(account) = self.pipeline.lease.batch.account_id.clone() else {
            return Ok(SweepEnd::Done);
        };
        let account = AccountId::from_stored(account);
        let at = self.pipeline.context.at;
        let most = self.resources.tuning.max_file_keys;
        let mut keys = keys.filter(FileKeys::is_whole);
        let known = self.pipeline.index.take_keys(&account);
        let mut ids = Ids::after(known, None);
        let before = self.pipeline.lease.batch.checkpoint.sweep.clone();
        let mut sweep = before.unwrap_or_else(|| {
            let read = self.pipeline.lease.batch.checkpoint.rows.read;
            let passes = if keys.is_some() {
                1
            } else {
                read.div_ceil(most as u64).max(1)
            };
            Sweep {
                passes: u32::try_from(passes).unwrap_or(u32::MAX),
                ..Sweep::default()
            }
        });
        while !sweep.is_counted {
            if self.must_stop() {
                return Ok(SweepEnd::Stopped);
            }
            let pass = Pass {
                number: sweep.pass,
                of: sweep.passes,
            };
            let file = self.keys_of(pass, &mut keys).await?;
            sweep.file_members += file.members();
            ids.begin_again();
            while let Some(some) = self.next_ids(&account, &mut ids).await? {
                sweep.absent += some.iter().filter(|id| file.lacks(id)).count() as u64;
            }
            keys = Some(file).filter(|_| sweep.passes == 1);
            sweep.pass += 1;
            sweep.is_counted = sweep.pass >= sweep.passes;
            if sweep.is_counted {
                sweep.pass = 0;
                if let Some(problem) = self.refusal(&sweep) {
                    return Ok(SweepEnd::Failed(problem));
                }
                // Older files must not bring back who is removed from here on.
                let is_newest = self.is_dry_run() || {
                    let batches = &self.resources.batches;
                    let set = async { Ok(batches.set_replaced_at(&account, at).await?) };
                    let is_newest = self.pipeline.lease.while_renewing(set).await?;
                    self.reached(Point::ReplacementStored).await;
                    is_newest
                };
                if !is_newest || sweep.absent == 0 {
                    return Ok(SweepEnd::Done);
                }
            }
            self.pipeline.lease.batch.checkpoint.sweep = Some(sweep.clone());
            self.pipeline.lease.save().await?;
        }
        while sweep.pass < sweep.passes {
            let pass = Pass {
                number: sweep.pass,
                of: sweep.passes,
            };
            let file = self.keys_of(pass, &mut keys).await?;
            if !self.remove(&account, &file, &mut ids).await? {
                return Ok(SweepEnd::Stopped);
            }
            let at = &mut self.pipeline.lease.batch.checkpoint;
            let saved = at.sweep.get_or_insert_default();
            saved.pass += 1;
            (saved.counted, saved.durable) = (None, None);
            sweep = saved.clone();
            self.pipeline.lease.save().await?;
        }
        Ok(SweepEnd::Done)
    }

    /// Removes the absent members of one pass, from the checkpoint on. Returns `false` if the run must stop before it is done.
    async fn remove(
        &mut self,
        account: &AccountId,
        file: &FileKeys,
        ids: &mut Ids,
    ) -> Result<bool, RunError> {
        let sweep = self
            .pipeline
            .lease
            .batch
            .checkpoint
            .sweep
            .clone()
            .unwrap_or_default();
        let durable = sweep.durable.map(ClientMemberId::from_stored);
        let mut counted = sweep.counted.map(ClientMemberId::from_stored);
        if durable.is_none() {
            ids.begin_again();
        } else {
            *ids = Ids::after(None, durable);
        }
        let window = self.resources.tuning.window_members;
        let mut absent: Vec<ClientMemberId> = Vec::new();
        loop {
            let some = self.next_ids(account, ids).await?;
            let has_ended = some.is_none();
            absent.extend(
                some.unwrap_or_default()
                    .into_iter()
                    .filter(|id| file.lacks(id)),
            );
            while absent.len() >= window || (has_ended && !absent.is_empty()) {
                if self.must_stop() {
                    return Ok(false);
                }
                let again = counted
                    .as_ref()
                    .map_or(0, |counted| absent.partition_point(|id| id <= counted));
                let is_again = again > 0;
                let length = if is_again { again } else { absent.len() };
                let rest = absent.split_off(length.min(window));
                let last = absent.last().cloned();
                self.remove_window(account, std::mem::replace(&mut absent, rest), is_again)
                    .await?;
                if !is_again {
                    counted = last;
                }
            }
            if has_ended {
                return Ok(true);
            }
        }
    }

    /// Reads, counts and removes some absent members. If they were counted before, they are only removed.
    async fn remove_window(
        &mut self,
        account: &AccountId,
        ids: Vec<ClientMemberId>,
        is_again: bool,
    ) -> Result<(), RunError> {
        let Some(last) = ids.last().cloned() else {
            return Ok(());
        };
        let ids: Vec<MemberId> = ids
            .into_iter()
            .map(|client_member_id| MemberId {
                account_id: account.clone(),
                client_member_id,
            })
            .collect();
        let wanted: Vec<&MemberId> = ids.iter().collect();
        let fetched = self.pipeline.table.fetch(&wanted);
        let mut found = self.pipeline.lease.while_renewing(fetched).await?;
        let members: Vec<Member> = ids.iter().filter_map(|id| found.remove(id)).collect();
        let (mut changes, mut report) = (Changes::default(), String::new());
        let mut rows = self.pipeline.lease.batch.checkpoint.rows;
        for member in members {
            rows.absent += 1;
            if self.pipeline.context.is_older_than(&member) {
                rows.superseded += 1;
                continue;
            }
            rows.removed += 1;
            let next = Next::Removed(member.profile.id.clone());
            let old = Old::Member(&member);
            let removal = Changed {
                row: 0,
                next: &next,
                old,
            };
            change_report::write(&mut report, None, &removal, false);
            changes.set(next, || Some(member));
        }
        if !is_again {
            self.count(rows, &changes, report, &last).await?;
        }
        if !self.is_dry_run() && !changes.all().is_empty() {
            let (table, context) = (self.pipeline.table.clone(), self.pipeline.context.clone());
            let changes = std::sync::Arc::new(changes);
            let removed = table.change(&changes, &context);
            self.pipeline.lease.while_renewing(removed).await?;
            self.reached(Point::WindowRemoved).await;
        }
        let at = &mut self.pipeline.lease.batch.checkpoint;
        at.sweep.get_or_insert_default().durable = Some(last.as_str().to_owned());
        if is_again {
            // Saved at once: if runs are interrupted repeatedly, each gets further than the one before.
            self.pipeline.lease.save().await?;
        }
        Ok(())
    }

    /// Counts a window and saves the checkpoint.
    async fn count(
        &mut self,
        rows: mpulse_shared::batch::Rows,
        changes: &Changes,
        report: String,
        last: &ClientMemberId,
    ) -> Result<(), RunError> {
        let at = &self.pipeline.lease.batch.checkpoint;
        // The parts of the report come after those of the file's rows.
        let windows = at.sweep.as_ref().map_or(0, |sweep| sweep.windows);
        let from = at.counted.offset + 1 + windows;
        self.pipeline.log_changes(from, from + 1, report).await?;
        let is_dry_run = self.is_dry_run();
        let run = self.pipeline.lease.batch.attempts;
        let at = &mut self.pipeline.lease.batch.checkpoint;
        at.rows = rows;
        let sweep = at.sweep.get_or_insert_default();
        sweep.windows += 1;
        sweep.counted = Some(last.as_str().to_owned());
        if is_dry_run {
            at.predicted_write_units += changes.all().iter().map(write_units).sum::<f64>();
        }
        self.pipeline.extend_segment(run, from, from + 1);
        self.pipeline.lease.save().await
    }

    /// Returns why nobody is removed; `None` if the absent members may be.
    fn refusal(&self, sweep: &Sweep) -> Option<BatchProblem> {
        let batch = &self.pipeline.lease.batch;
        let (at, removal) = (&batch.checkpoint, batch.removal);
        if batch.mode == Mode::Erase {
            return unexpected(sweep.absent, removal.limit);
        }
        if sweep.absent == 0 {
            return None;
        }
        let account = batch.account_id.as_deref().unwrap_or_default();
        let absent = sweep.absent;
        let members = absent + sweep.file_members.saturating_sub(at.rows.created);
        let effect = if batch.dry_run {
            "nobody would be removed"
        } else {
            "nobody was removed; the rows of the file stay applied"
        };
        if removal.limit.is_exceeded(absent, members) {
            let limit = match removal.limit {
                Limit::Share(_) => removal.limit.to_string(),
                Limit::Members(most) => format!("{most} members"),
            };
            return Some(BatchProblem {
                code: "removal_limit_exceeded".to_owned(),
                message: format!(
                    "{absent} of {members} members of account {account} are not in the file. That is more than the limit \
                     of {limit}, so {effect}. If the file is complete, send it again with a higher \
                     \"removal\": {{\"limit\": …}}."
                ),
            });
        }
        if at.unreadable_rows > 0 && !removal.despite_unreadable_rows {
            let rows = at.unreadable_rows;
            return Some(BatchProblem {
                code: "unreadable_rows".to_owned(),
                message: format!(
                    "{absent} of {members} members of account {account} are not in the file, but the client member id of \
                     {rows} rejected rows cannot be read, and these may be theirs, so {effect}. Correct the rows and send the \
                     whole file again, or send it with \"removal\": {{\"despite_unreadable_rows\": true}}."
                ),
            });
        }
        None
    }

    /// Returns the keys of a pass: those in memory, or read from the file again.
    async fn keys_of(
        &mut self,
        pass: Pass,
        keys: &mut Option<FileKeys>,
    ) -> Result<FileKeys, RunError> {
        if let Some(keys) = keys.take() {
            return Ok(keys);
        }
        let batch = &self.pipeline.lease.batch;
        let Some(layout) = batch.checkpoint.layout.clone() else {
            return Ok(FileKeys::new(pass, 0));
        };
        let first_row = batch.checkpoint.first_row;
        let (account, accounts) = (batch.account_id.clone(), batch.accounts.clone());
        let known = super::encoding_of(&layout);
        let input = self.input();
        let opened = Decoder::open(&input, Some(known), first_row.offset);
        let source = self.pipeline.lease.while_renewing(opened).await?;
        let encoder = Encoder::new(&layout);
        let validate = RowValidator::new(&layout, self.rules(), account.as_deref(), &accounts)
            .replacing(account.as_deref());
        let mut reader = Reader {
            source,
            parser: Parser::new(layout.delimiter, first_row),
            validate,
            seen: SeenKeys::default(),
            encoder: &encoder,
            reverts: false,
            keys: Some(FileKeys::new(pass, usize::MAX)),
            tuning: self.resources.tuning,
        };
        while self.next_window(&mut reader, None).await?.is_some() {}
        Ok(reader.keys.unwrap_or_else(|| FileKeys::new(pass, 0)))
    }

    /// Returns the next ids of the account; `None` after the last.
    async fn next_ids(
        &mut self,
        account: &AccountId,
        ids: &mut Ids,
    ) -> Result<Option<Vec<ClientMemberId>>, RunError> {
        if ids.has_ended {
            return Ok(None);
        }
        if let Some((keys, is_whole)) = &ids.known {
            let (some, place) = keys.some(&ids.place, IDS);
            ids.place = place;
            if let Some(last) = some.last() {
                ids.last = Some(last.clone());
                return Ok(Some(some));
            }
            if *is_whole {
                ids.has_ended = true;
                return Ok(None);
            }
        }
        let table = self.pipeline.table.clone();
        let page = table.page(account.clone(), ids.last.clone(), PAGE);
        let page = self.pipeline.lease.while_renewing(page).await?;
        // The list in memory continues with this page, for the next time.
        if let Some((keys, is_whole)) = &mut ids.known {
            *is_whole = page.last.is_none();
            if keys.add(&page.members) {
                (_, ids.place) = keys.some(&ids.place, usize::MAX);
            } else {
                ids.known = None;
            }
        }
        ids.has_ended = page.last.is_none();
        ids.last.clone_from(&page.last);
        let members = page.members.into_iter();
        Ok(Some(
            members.map(|profile| profile.id.client_member_id).collect(),
        ))
    }

    /// Returns whether the run has to stop.
    fn must_stop(&self) -> bool {
        self.pipeline.lease.batch.status == Status::Cancelling || Instant::now() >= self.stop_at
    }

    fn is_dry_run(&self) -> bool {
        self.pipeline.is_dry_run()
    }
}

/// Returns why an account with this number of members is not erased; `None` if the number is the expected one.
fn unexpected(members: u64, expected: Limit) -> Option<BatchProblem> {
    (expected != Limit::Members(members)).then(|| BatchProblem {
        code: "unexpected_member_count".to_owned(),
        message: format!(
            "The account has {members} members and not {expected}, so nobody was removed. If all of them are to be \
             removed, send the request again with expected_members={members}."
        ),
    })
}
