//! Mode `replace`: what protects the members of an account when a file is incomplete or late, and what it costs.

use std::fmt::Write;
use std::time::Duration;

use ingest::Tuning;
use mpulse_shared::batch::{Batch, BatchRequest, Limit, Mode, Removal, Rows, Status};
use mpulse_shared::member::AccountId;
use mpulse_shared::time::Timestamp;
use mpulse_tests::HEADER;

use crate::direct_ingest::{Bench, deliver};

/// Members of the account.
const MEMBERS: u64 = 200;

struct Ground {
    bench: Bench,
    service: ingest::Service,
    account: AccountId,
}

impl Ground {
    async fn start() -> Self {
        let bench = Bench::start("seed=1").await;
        let tuning = Tuning {
            window_members: 16,
            first_wait: Duration::from_millis(2),
            ..Tuning::default()
        };
        let setup = bench.local_stack.setup();
        let service = ingest::service_tuned(&setup, tuning).expect("the setup is whole");
        let account = AccountId::parse("4").expect("an account");
        Self {
            bench,
            service,
            account,
        }
    }

    async fn load(&self, mode: Mode, removal: Removal, file: String, at: i64) -> Batch {
        let request = BatchRequest {
            mode,
            account_id: Some(self.account.clone()),
            removal: Some(removal),
            ..BatchRequest::default()
        };
        let at = Timestamp::from_millis(1_700_000_000_000 + at);
        let upload = self.bench.upload_for(request, file, at).await;
        assert!(deliver(&self.service, &upload.event, Duration::from_mins(1)).await);
        self.bench.batch(&upload.batch).await
    }

    async fn count(&self) -> u64 {
        self.bench.members_of(&self.account).await.len() as u64
    }
}

fn roster(members: impl Iterator<Item = u64>) -> String {
    let mut file = HEADER.to_owned();
    for member in members {
        writeln!(file, "4,m{member:04},Ann,Lee,+1714555{member:04}").expect("memory");
    }
    file
}

fn limit(limit: &str) -> Removal {
    Removal {
        limit: limit.parse().expect("a limit"),
        ..Removal::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_file_removes_nobody_unless_the_limit_allows_it() {
    let ground = Ground::start().await;
    let all = ground
        .load(Mode::Replace, Removal::default(), roster(0..MEMBERS), 0)
        .await;
    assert_eq!(all.status, Status::Completed);
    assert_eq!(ground.count().await, MEMBERS);
    // 30 % are missing.
    let some = || roster(0..140);
    let refused = ground
        .load(Mode::Replace, Removal::default(), some(), 10)
        .await;
    let problem = refused.problem.expect("a problem");
    assert_eq!(problem.code, "removal_limit_exceeded");
    let numbers = "60 of 200 members of account 4 are not in the file";
    assert!(problem.message.contains(numbers), "{}", problem.message);
    assert_eq!(refused.checkpoint.rows.absent, 0);
    assert_eq!(ground.count().await, MEMBERS);
    let removed = ground.load(Mode::Replace, limit("30%"), some(), 20).await;
    let rows = Rows {
        read: 140,
        absent: 60,
        unchanged: 140,
        removed: 60,
        ..Rows::default()
    };
    assert_eq!(removed.checkpoint.rows, rows);
    assert_eq!(ground.count().await, 140);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_at_any_byte_loses_nobody_under_the_default_limit() {
    let ground = Ground::start().await;
    let whole = roster(0..MEMBERS);
    ground
        .load(Mode::Replace, Removal::default(), whole.clone(), 0)
        .await;
    // The header alone is no roster; a cut in the last tenth is what the limit is for.
    for (number, percent) in [20, 50, 89].into_iter().enumerate() {
        let cut = whole[..whole.len() * percent / 100].to_owned();
        let at = 10 * (i64::try_from(number).expect("few") + 1);
        let batch = ground
            .load(Mode::Replace, Removal::default(), cut, at)
            .await;
        assert_eq!(batch.status, Status::Failed, "{percent} %");
        assert_eq!(ground.count().await, MEMBERS, "{percent} %");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_file_brings_nobody_back() {
    let ground = Ground::start().await;
    ground
        .load(Mode::Upsert, Removal::default(), roster(0..MEMBERS), 0)
        .await;
    let newer = ground
        .load(Mode::Replace, limit("100%"), roster(0..150), 100)
        .await;
    assert_eq!(newer.checkpoint.rows.removed, 50);
    for mode in [Mode::Upsert, Mode::Replace, Mode::Overwrite] {
        let older = ground
            .load(mode, limit("100%"), roster(100..MEMBERS), 50)
            .await;
        assert_eq!(older.status, Status::Completed, "{mode:?}");
        let rows = older.checkpoint.rows;
        // Overwriting does not read members: all of its rows are superseded.
        let superseded = if mode == Mode::Overwrite { 100 } else { 50 };
        assert_eq!(rows.superseded, superseded, "{mode:?}");
        assert_eq!((rows.created, rows.removed), (0, 0), "{mode:?}");
        assert_eq!(ground.count().await, 150, "{mode:?}");
    }
    // A newer file may.
    let newest = ground
        .load(Mode::Upsert, Removal::default(), roster(100..MEMBERS), 200)
        .await;
    assert_eq!(newest.checkpoint.rows.created, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_read_once() {
    let ground = Ground::start().await;
    let load = |mode, members: std::ops::Range<u64>, at| {
        ground.load(mode, limit("100%"), roster(members), at)
    };
    load(Mode::Upsert, 0..MEMBERS, 0).await;
    let upsert = load(Mode::Upsert, 0..MEMBERS, 10).await;
    let replace = load(Mode::Replace, 0..MEMBERS, 20).await;
    let read = |batch: &Batch| batch.checkpoint.capacity.read_units;
    assert!(
        (read(&replace) - read(&upsert)).abs() < 1e-6,
        "{} {}",
        read(&replace),
        read(&upsert)
    );
    // Each member that is removed is read by its key.
    let removal = load(Mode::Replace, 0..MEMBERS - 1, 30).await;
    assert!(read(&removal) <= read(&upsert) + 1.0, "{}", read(&removal));
    assert!((removal.checkpoint.capacity.write_units - 3.0).abs() < 1e-6);
    assert_eq!(Limit::default().to_string(), "10%");
}
