//! What a cell of the matrix works on: a batch or an export, and the ground that all cells share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use ingest::Service;
use mpulse_shared::member::{AccountId, Member};
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::exports::Exports;
use mpulse_shared::store::member_item::to_item;

use super::batches::BatchSubject;
use super::exports::ExportSubject;
use super::rosters;
use super::traces::Settled;
use crate::direct_ingest::Bench;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A roster creates and updates members.
    Upsert,
    /// The same from a workbook, which each run reads from its beginning.
    Workbook,
    /// A roster is written without reading.
    Overwrite,
    /// A roster replaces an account, in several passes.
    Replace,
    /// A replacement is previewed.
    DryRun,
    /// A replacement is reverted.
    Revert,
    /// An account is erased.
    Erase,
    /// The first run of an upsert has no time, and hands its message back.
    OutOfTime,
    /// The report of rejected rows has several pieces.
    LargeRejects,
    /// The report of changes has several pieces, some of which S3 copies.
    LargeChanges,
    /// A file of one piece.
    Export,
    /// A workbook of one piece.
    ExportWorkbook,
    /// The first run of an export has no time, and hands its message back.
    ExportOutOfTime,
    /// A file of several pieces.
    LargeExport,
}

impl Scenario {
    /// Returns whether the matrix lists some of its points only: the others are as in another scenario.
    pub fn is_partial(self) -> bool {
        matches!(
            self,
            Self::Overwrite
                | Self::Workbook
                | Self::LargeRejects
                | Self::LargeChanges
                | Self::LargeExport
        )
    }

    /// Returns the time of the runs that are killed.
    pub fn time(self) -> Duration {
        match self {
            Self::OutOfTime | Self::ExportOutOfTime => Duration::ZERO,
            _ => super::LONG,
        }
    }
}

/// The local stack, and functions with small windows and pieces.
pub struct Ground {
    pub bench: Bench,
    pub exports: Exports,
    /// Ingest, and ingest with parts of reports that are large enough for S3 to copy.
    pub ingest: [Service; 2],
    pub export: Service,
    /// The members of an account whose rows fill several pieces. No cell changes them.
    pub large: Vec<Member>,
    accounts: AtomicU64,
}

impl Ground {
    pub async fn start() -> Self {
        let bench = Bench::start("seed=1").await;
        let setup = bench.local_stack.setup();
        let ingest = rosters::tunings().map(|tuning| {
            ingest::service_tuned(&setup, tuning).expect("the settings are complete")
        });
        let tuning = export::Tuning {
            piece_bytes: rosters::SMALLEST_PIECE,
            ..export::Tuning::default()
        };
        let ground = Self {
            exports: Exports::from_setup(&setup).expect("the settings are complete"),
            ingest,
            export: export::service_tuned(&setup, tuning).expect("the settings are complete"),
            large: rosters::large_members(),
            accounts: AtomicU64::new(0),
            bench,
        };
        ground.put(&ground.large).await;
        ground
    }

    /// Returns an account that no other cell uses.
    pub fn account(&self) -> AccountId {
        let number = self.accounts.fetch_add(1, Ordering::Relaxed);
        AccountId::parse(&format!("cell-{number}")).expect("an account")
    }

    /// Checks that nothing has changed the members with long names.
    pub async fn check_large_members(&self) {
        let account = AccountId::parse(rosters::LARGE).expect("an account");
        let found = self.bench.members_of(&account).await;
        assert!(found.into_values().eq(self.large.iter().cloned()));
    }

    /// Stores members.
    pub async fn put(&self, members: &[Member]) {
        let setup = self.bench.local_stack.setup();
        let table = setup.required("MEMBERS_TABLE").expect("set");
        for some in members.chunks(25) {
            let put = |member| {
                let put = PutRequest::builder().set_item(Some(to_item(member)));
                let put = put.build().expect("an item");
                WriteRequest::builder().put_request(put).build()
            };
            let write = self.bench.dynamodb.batch_write_item();
            let write = write.request_items(table, some.iter().map(put).collect());
            write.send().await.expect("the engine itself doesn't fail");
        }
    }
}

/// What a cell works on.
pub enum Subject {
    Batch(Box<BatchSubject>),
    Export(Box<ExportSubject>),
}

impl Subject {
    /// Creates the batch or the export of a scenario, and what it needs.
    pub async fn new(ground: &Ground, scenario: Scenario) -> Self {
        match scenario {
            Scenario::Export
            | Scenario::ExportWorkbook
            | Scenario::ExportOutOfTime
            | Scenario::LargeExport => {
                Self::Export(Box::new(ExportSubject::new(ground, scenario).await))
            }
            _ => Self::Batch(Box::new(BatchSubject::new(ground, scenario).await)),
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::Batch(batch) => batch.id(),
            Self::Export(export) => export.id(),
        }
    }

    /// Delivers the message, with this much time for the invocation. Returns whether it is acknowledged.
    pub async fn deliver(&self, time: Duration) -> bool {
        match self {
            Self::Batch(batch) => batch.deliver(time).await,
            Self::Export(export) => export.deliver(time).await,
        }
    }

    /// Ends the lease of a killed run, as after a minute, once what it had in flight has arrived.
    pub async fn bury(&self, ground: &Ground) {
        match self {
            Self::Batch(batch) => batch.bury(ground).await,
            Self::Export(export) => export.bury(ground).await,
        }
    }

    /// Checks the members, the record and the reports or the file, after this many runs.
    pub async fn check(&self, ground: &Ground, runs: u32) {
        match self {
            Self::Batch(batch) => batch.check(ground, runs).await,
            Self::Export(export) => export.check(ground, runs).await,
        }
    }

    /// Returns the record as text.
    pub async fn story(&self, ground: &Ground) -> String {
        match self {
            Self::Batch(batch) => batch.story(ground).await,
            Self::Export(export) => export.story(ground).await,
        }
    }

    /// Returns what is to be left.
    pub async fn settled(&self, ground: &Ground, kills: u32, leaves_upload: bool) -> Vec<Settled> {
        let mut all = match self {
            Self::Batch(batch) => batch.left(ground).await,
            Self::Export(export) => vec![export.left(ground).await],
        };
        all[0].kills = kills;
        all[0].uploads = if leaves_upload { kills } else { 0 };
        all
    }
}
