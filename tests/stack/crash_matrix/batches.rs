//! The batches of the matrix, and what each must leave.

use std::io::{Cursor, Read};
use std::time::Duration;

use ingest::Service;
use mpulse_shared::batch::{Batch, BatchRequest, Limit, Mode, Removal, Rows};
use mpulse_shared::member::{AccountId, Author};
use mpulse_tests::packed::Packing;
use serde_json::json;

use super::LONG;
use super::rosters::{self, Roster, uploaded_at};
use super::subject::{Ground, Scenario};
use super::traces::Settled;
use crate::direct_ingest::{BUCKET, Bench, Upload, deliver};
use crate::sequential_equivalence::{check_batch, in_order_of, table};
use crate::sequential_model::{Case, Expected, Table, reverted};

/// A batch, and what it must leave.
pub struct BatchSubject {
    upload: Upload,
    service: Service,
    account: AccountId,
    expected: Expected,
    rejects: Rejects,
    /// What the batch leaves that is reverted.
    parent: Option<Settled>,
}

/// The expected report of rejected rows.
enum Rejects {
    None,
    Lines(Vec<Vec<String>>),
    Text(String),
}

impl BatchSubject {
    pub async fn new(ground: &Ground, scenario: Scenario) -> Self {
        let account = ground.account();
        match scenario {
            Scenario::LargeRejects => Self::of_large_rejects(ground, account).await,
            Scenario::LargeChanges => Self::of_large_changes(ground).await,
            Scenario::Erase => Self::of_erasure(ground, account).await,
            Scenario::Revert => Self::of_revert(ground, account).await,
            Scenario::Overwrite => {
                Self::of_roster(ground, &account, Mode::Overwrite, Packing::Plain, false).await
            }
            Scenario::Replace => {
                Self::of_roster(ground, &account, Mode::Replace, Packing::Plain, false).await
            }
            Scenario::DryRun => {
                Self::of_roster(ground, &account, Mode::Replace, Packing::Gzip, true).await
            }
            Scenario::Workbook => {
                Self::of_roster(ground, &account, Mode::Upsert, Packing::Workbook, false).await
            }
            _ => Self::of_roster(ground, &account, Mode::Upsert, Packing::Plain, false).await,
        }
    }

    async fn of_roster(
        ground: &Ground,
        account: &AccountId,
        mode: Mode,
        packing: Packing,
        is_dry_run: bool,
    ) -> Self {
        let Roster { case, rejects } = rosters::small(account, mode, packing);
        let members: Vec<_> = case.before.values().cloned().collect();
        ground.put(&members).await;
        let file = case.packing.pack(&case.file());
        let request = case.request(is_dry_run);
        let upload = ground.bench.upload_for(request, file, uploaded_at()).await;
        let expected = expected(&case, &upload, is_dry_run);
        Self {
            upload,
            service: ground.ingest[0].clone(),
            account: account.clone(),
            expected,
            rejects: Rejects::Lines(rejects),
            parent: None,
        }
    }

    /// The parent is a replacement, which creates, updates and removes members.
    async fn of_revert(ground: &Ground, account: AccountId) -> Self {
        let parent = Self::of_roster(ground, &account, Mode::Replace, Packing::Plain, false).await;
        assert!(parent.deliver(LONG).await);
        let mut left = parent.left(ground).await;
        let bench = &ground.bench;
        let parent_id = parent.upload.batch.batch_id.clone();
        let file = bench.changes(&parent.upload.batch).await.expect("changes");
        let changes = in_order_of(Some(&file), parent.expected.changes);
        let request = BatchRequest {
            mode: Mode::Revert,
            parent_batch_id: Some(parent_id.clone()),
            ..BatchRequest::default()
        };
        let at = uploaded_at().plus_millis(10);
        let upload = bench.upload_for(request, file, at).await;
        let by = Author::batch(upload.batch.batch_id.as_str());
        let before = table(bench, std::slice::from_ref(&account)).await;
        Self {
            expected: reverted(&changes, &before, &parent_id, at, &by),
            upload,
            service: parent.service,
            account,
            rejects: Rejects::None,
            parent: left.pop(),
        }
    }

    async fn of_erasure(ground: &Ground, account: AccountId) -> Self {
        let case = rosters::small(&account, Mode::Erase, Packing::Plain).case;
        let members: Vec<_> = case.before.values().cloned().collect();
        ground.put(&members).await;
        let count = members.len() as u64;
        let request = BatchRequest {
            account_id: Some(account.clone()),
            mode: Mode::Erase,
            size: Some(0),
            changes: Some(false),
            removal: Some(Removal {
                limit: Limit::Members(count),
                ..Removal::default()
            }),
            ..BatchRequest::default()
        };
        let upload = ground.bench.upload_for(request, "", uploaded_at()).await;
        let rows = Rows {
            absent: count,
            removed: count,
            ..Rows::default()
        };
        Self {
            upload,
            service: ground.ingest[0].clone(),
            account,
            expected: Expected {
                rows,
                ..Expected::default()
            },
            rejects: Rejects::None,
            parent: None,
        }
    }

    async fn of_large_rejects(ground: &Ground, account: AccountId) -> Self {
        let (file, report) = rosters::large_rejects(&account);
        let upload = ground.bench.upload(Mode::Upsert, file, uploaded_at()).await;
        let rejects = vec!["required"; report.lines().count() - 1];
        let count = rejects.len() as u64;
        let rows = Rows {
            read: count,
            rejected: count,
            ..Rows::default()
        };
        Self {
            upload,
            service: ground.ingest[1].clone(),
            account,
            expected: Expected {
                rows,
                rejects,
                ..Expected::default()
            },
            rejects: Rejects::Text(report),
            parent: None,
        }
    }

    async fn of_large_changes(ground: &Ground) -> Self {
        let case = rosters::of_large_members(&ground.large);
        let request = case.request(true);
        let upload = ground
            .bench
            .upload_for(request, case.file(), uploaded_at())
            .await;
        Self {
            expected: expected(&case, &upload, true),
            upload,
            service: ground.ingest[1].clone(),
            account: case.accounts[0].clone(),
            rejects: Rejects::None,
            parent: None,
        }
    }

    pub fn id(&self) -> &str {
        self.upload.batch.batch_id.as_str()
    }

    pub async fn deliver(&self, time: Duration) -> bool {
        deliver(&self.service, &self.upload.event, time).await
    }

    pub async fn bury(&self, ground: &Ground) {
        ground.bench.bury(&self.upload.batch).await;
    }

    pub async fn story(&self, ground: &Ground) -> String {
        format!("{:?}", ground.bench.batch(&self.upload.batch).await)
    }

    pub async fn check(&self, ground: &Ground, runs: u32) {
        let bench = &ground.bench;
        let batch = bench.batch(&self.upload.batch).await;
        let story = format!("{:?} {} {:?}", batch.mode, batch.batch_id, batch.checkpoint);
        check_batch(bench, &batch, &self.expected, &story).await;
        // Those with long names are checked once, after all cells.
        if self.account.as_str() != rosters::LARGE {
            let found = table(bench, std::slice::from_ref(&self.account)).await;
            assert!(
                found == self.expected.table,
                "the members are others: {story}"
            );
        }
        self.check_rejects(bench, &batch).await;

        assert_eq!(
            (batch.lease_owner, batch.lease_until),
            (None, None),
            "{story}"
        );
        assert_eq!((batch.attempts, batch.stalled), (runs, 0), "{story}");
        let at = &batch.checkpoint;
        assert_eq!(
            (&at.joining, &at.joining_changes),
            (&None, &None),
            "{story}"
        );
        assert_eq!(
            at.durable.offset == at.counted.offset,
            !batch.dry_run,
            "{story}"
        );
        assert_eq!(Some(at.bytes_done), batch.bytes_total, "{story}");
        let codes: u64 = at.reject_codes.values().sum();
        assert_eq!(codes, at.rows.rejected, "{story}");
    }

    /// Checks each line of the report, and that the workbook has as many.
    async fn check_rejects(&self, bench: &Bench, batch: &Batch) {
        let report = bench.report(batch).await;
        let count = match (&self.rejects, &report) {
            (Rejects::None, None) => return assert!(!batch.has_report && !batch.has_workbook),
            (Rejects::Lines(lines), Some(report)) => {
                assert_eq!(fields_of(report), *lines);
                lines.len()
            }
            (Rejects::Text(text), Some(report)) => {
                assert!(report == text, "the report is another");
                text.lines().count() - 1
            }
            _ => panic!("the report of rejected rows: {report:?}"),
        };
        assert!(batch.has_report && batch.has_workbook);
        let workbook = object(bench, batch.batch_id.rejects_workbook_key()).await;
        assert_eq!(rows_of(workbook), count + 1, "with its header");
    }

    /// Returns what the batch leaves if it is undisturbed, and what its parent leaves.
    pub async fn left(&self, ground: &Ground) -> Vec<Settled> {
        let batch = ground.bench.batch(&self.upload.batch).await;
        let detail = json!({
            "status": batch.status,
            "rows": batch.checkpoint.rows,
            "attempts": batch.attempts,
            "finished_at": batch.finished_at,
        });
        let id = &batch.batch_id;
        let mut keys = Vec::new();
        keys.extend(batch.has_report.then(|| id.rejects_key()));
        keys.extend(batch.has_workbook.then(|| id.rejects_workbook_key()));
        keys.extend(batch.has_changes.then(|| id.changes_key()));
        keys.extend(batch.dry_run.then(|| id.upload_key()));
        let mut all = vec![Settled::new(self.id(), detail, keys)];
        all.extend(self.parent.clone());
        all
    }
}

/// Returns what applying the rows one by one leaves.
fn expected(case: &Case, upload: &Upload, is_dry_run: bool) -> Expected {
    let mut expected = case.model(&Author::batch(upload.batch.batch_id.as_str()));
    if is_dry_run {
        expected.table = Table::clone(&case.before);
    }
    expected
}

async fn object(bench: &Bench, key: String) -> Vec<u8> {
    let get = bench.s3.get_object().bucket(BUCKET).key(key);
    let object = get.send().await.expect("an object");
    object.body.collect().await.expect("an object").to_vec()
}

/// Returns the fields of each line of a report, without those of the message and the whole row.
fn fields_of(report: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(report.as_bytes());
    let records = reader.records().map(|record| record.expect("a line"));
    records
        .map(|record| {
            let fields = record.iter().enumerate();
            let fields = fields.filter(|(column, _)| ![2, 8].contains(column));
            fields
                .map(|(_, field)| field.trim_start_matches('\'').to_owned())
                .collect()
        })
        .collect()
}

/// Returns the number of rows of a workbook's sheet.
pub fn rows_of(workbook: Vec<u8>) -> usize {
    let mut archive = zip::ZipArchive::new(Cursor::new(workbook)).expect("a zip archive");
    let mut sheet = archive
        .by_name("xl/worksheets/sheet1.xml")
        .expect("a sheet");
    let mut text = String::new();
    sheet.read_to_string(&mut text).expect("text");
    text.matches("<row ").count()
}
