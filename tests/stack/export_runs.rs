//! Runs of the export function, with events that the test delivers itself: they are killed, run out of time, and meet each
//! other, and the file is the same.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use export::Tuning;
use mpulse_shared::csv;
use mpulse_shared::export::{Export, Format, Status};
use mpulse_shared::member::{AccountId, Author, Member, MemberId, Profile};
use mpulse_shared::phone::Phone;
use mpulse_shared::run::Service;
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::exports::Exports;
use mpulse_shared::store::member_item::to_item;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{client_id, phone};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::direct_ingest::{BUCKET, Bench, deliver, event};

/// A piece that S3 accepts, the smallest.
const PIECE_BYTES: usize = 5 << 20;

/// Members whose rows fill two pieces and a part of a third.
const PEOPLE: u64 = 48_000;

/// Enough for any run.
const LONG: Duration = Duration::from_mins(5);

struct Ground {
    bench: Bench,
    exports: Exports,
}

impl Ground {
    async fn start() -> Self {
        let bench = Bench::start("seed=1").await;
        let exports = Exports::from_setup(&bench.local_stack.setup()).expect("a table");
        Self { bench, exports }
    }

    /// Stores this many members of account 4. Returns the file that an export of them has.
    async fn fill(&self, people: u64) -> String {
        let members: Vec<Member> = (0..people).map(member).collect();
        let setup = self.bench.local_stack.setup();
        let table = setup.required("MEMBERS_TABLE").expect("a table").to_owned();
        let mut requests = JoinSet::new();
        for some in members.chunks(25) {
            let puts: Vec<WriteRequest> = some
                .iter()
                .map(|member| {
                    let put = PutRequest::builder().set_item(Some(to_item(member)));
                    let put = put.build().expect("an item");
                    WriteRequest::builder().put_request(put).build()
                })
                .collect();
            let write = self.bench.dynamodb.batch_write_item();
            requests.spawn(write.request_items(&table, puts).send());
            if requests.len() >= 8 {
                let written = requests.join_next().await.expect("a request");
                written
                    .expect("no panic")
                    .expect("the engine itself doesn't fail");
            }
        }
        for written in requests.join_all().await {
            written.expect("the engine itself doesn't fail");
        }
        let mut file = csv::member_header();
        for member in &members {
            csv::push_member(&mut file, &member.profile);
        }
        file
    }

    /// Creates an export. Returns it with its event.
    async fn export(&self, format: Format) -> (Export, Value) {
        let account = AccountId::parse("4").expect("an account");
        let export = Export::new(account, format, "key:test".to_owned(), Timestamp::now());
        self.exports.create(&export).await.expect("an export");
        let key = export.export_id.request_key();
        let put = self.bench.s3.put_object().bucket(BUCKET).key(&key);
        put.send().await.expect("a request");
        (export, event(&key, 0, "e", Timestamp::now()))
    }

    fn service(&self, tuning: Tuning) -> Service {
        let setup = self.bench.local_stack.setup();
        export::service_tuned(&setup, tuning).expect("the settings are complete")
    }

    async fn stored(&self, export: &Export) -> Export {
        let stored = self.exports.get(&export.export_id).await;
        stored.expect("the engine").expect("the export")
    }

    /// Waits until this many pieces are stored.
    async fn wait_for_pieces(&self, export: &Export, pieces: u32) {
        while self.stored(export).await.checkpoint.pieces < pieces {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Returns the file of an export.
    async fn file(&self, export: &Export) -> Vec<u8> {
        let get = self.bench.s3.get_object().bucket(BUCKET);
        let object = get.key(export.file_key()).send().await.expect("a file");
        object.body.collect().await.expect("a file").to_vec()
    }

    /// Ends the lease of a killed run, as after a minute, once what it had in flight has arrived.
    async fn end_lease(&self) {
        tokio::time::sleep(Duration::from_millis(40)).await;
        self.exports.release_all().await.expect("the engine");
    }

    /// Checks that an export of all people has ended with this file.
    async fn check_completed(&self, export: &Export, expected: &str) {
        let ended = self.stored(export).await;
        assert_eq!(
            (ended.status, ended.checkpoint.rows),
            (Status::Completed, PEOPLE)
        );
        assert!(self.file(export).await == expected.as_bytes());
    }

    /// Returns whether an object exists.
    async fn is_stored(&self, key: &str) -> bool {
        let head = self.bench.s3.head_object().bucket(BUCKET);
        head.key(key).send().await.is_ok()
    }
}

/// A member with long names, so that few fill a piece.
fn member(index: u64) -> Member {
    let profile = Profile {
        id: MemberId {
            account_id: AccountId::parse("4").expect("an account"),
            client_member_id: mpulse_shared::member::ClientMemberId::from_stored(client_id(index)),
        },
        first_name: "é, \"x\" ".repeat(12),
        last_name: format!("{index:0>100}"),
        phone_number: Phone::from_stored(phone(index)),
    };
    Member::new(profile, Timestamp::from_millis(0), Author::key("test"))
}

fn small() -> Tuning {
    Tuning {
        piece_bytes: PIECE_BYTES,
        ..Tuning::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_ten_times_leaves_the_same_file() {
    const KILLS: u32 = 10;
    let ground = Ground::start().await;
    let expected = ground.fill(PEOPLE).await;
    let service = ground.service(small());

    let (whole, event) = ground.export(Format::Csv).await;
    let started = Instant::now();
    let (done, until_piece) = tokio::join!(deliver(&service, &event, LONG), async {
        ground.wait_for_pieces(&whole, 1).await;
        started.elapsed()
    });
    assert!(done && ground.file(&whole).await == expected.as_bytes());

    let (export, event) = ground.export(Format::Csv).await;
    let random = &mut fastrand::Rng::with_seed(10);
    let mut pieces = 0;
    for kill in 1..=KILLS {
        // Two runs are killed after a piece, and the others long before the next one.
        let moment = async {
            while ground.stored(&export).await.attempts < kill {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if kill % 5 == 0 {
                ground.wait_for_pieces(&export, kill / 5).await;
            } else {
                let time = until_piece.mul_f64(0.2 + 0.3 * random.f64());
                // On a computer that has become faster, the next piece comes first.
                let next = ground.wait_for_pieces(&export, pieces + 1);
                let _ = tokio::time::timeout(time, next).await;
            }
        };
        tokio::select! {
            _ = deliver(&service, &event, LONG) => panic!("it ended before kill {kill}"),
            () = moment => {}
        }
        ground.end_lease().await;
        pieces = ground.stored(&export).await.checkpoint.pieces;
    }
    assert!(deliver(&service, &event, LONG).await);
    let ended = ground.stored(&export).await;
    assert_eq!(ended.status, Status::Completed, "{:?}", ended.problem);
    assert_eq!(
        (ended.checkpoint.rows, ended.checkpoint.last),
        (PEOPLE, None)
    );
    assert_eq!(ended.attempts, KILLS + 1);
    assert!(ground.file(&export).await == expected.as_bytes());
    assert!(!ground.is_stored(&export.export_id.request_key()).await);

    // The message once more: nothing happens.
    assert!(deliver(&service, &event, LONG).await);
    assert_eq!(ground.stored(&export).await.attempts, ended.attempts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_runs_out_of_time_hands_the_export_back() {
    let ground = Ground::start().await;
    let expected = ground.fill(PEOPLE).await;
    let service = ground.service(small());
    let (export, event) = ground.export(Format::Csv).await;
    // More time for each run, until one is long enough for a piece.
    let mut time = Duration::from_millis(200);
    while !deliver(&service, &event, time).await {
        let stored = ground.stored(&export).await;
        assert_eq!(stored.status, Status::Processing, "{:?}", stored.problem);
        assert_eq!((stored.lease_owner, stored.stalled), (None, 0));
        time = time.mul_f64(1.3);
    }
    assert!(ground.stored(&export).await.attempts > 1);
    assert!(ground.file(&export).await == expected.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_finds_the_lease_taken() {
    let ground = Ground::start().await;
    ground.fill(100).await;
    let (export, event) = ground.export(Format::Csv).await;
    let claim = ground
        .exports
        .claim(&export.export_id, "other", Timestamp::now());
    claim.await.expect("the engine");
    let service = ground.service(small());
    assert!(
        !deliver(&service, &event, LONG).await,
        "it is delivered again"
    );
    assert!(!ground.is_stored(&export.file_key()).await);
    assert!(ground.is_stored(&export.export_id.request_key()).await);
    ground.exports.release_all().await.expect("the engine");
    assert!(deliver(&service, &event, LONG).await);
    assert!(ground.is_stored(&export.file_key()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_after_its_last_piece_leaves_the_same_file() {
    let ground = Ground::start().await;
    let expected = ground.fill(PEOPLE).await;
    let service = ground.service(small());
    let (export, event) = ground.export(Format::Csv).await;
    let whole = async {
        while !ground.stored(&export).await.checkpoint.is_whole {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // The upload may be completed by then, or not.
    tokio::select! {
        _ = deliver(&service, &event, LONG) => {}
        () = whole => {}
    }
    ground.end_lease().await;
    assert!(deliver(&service, &event, LONG).await);
    ground.check_completed(&export, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_that_are_gone_are_made_again() {
    let ground = Ground::start().await;
    let expected = ground.fill(PEOPLE).await;
    let service = ground.service(small());
    let (export, event) = ground.export(Format::Csv).await;
    tokio::select! {
        _ = deliver(&service, &event, LONG) => panic!("it ended before its first piece"),
        () = ground.wait_for_pieces(&export, 1) => {}
    }
    ground.end_lease().await;
    let stored = ground.stored(&export).await;
    assert_eq!(stored.status, Status::Processing);
    let abort = ground.bench.s3.abort_multipart_upload().bucket(BUCKET);
    let upload = stored.checkpoint.upload_id.expect("an upload");
    let aborted = abort.key(export.file_key()).upload_id(upload).send().await;
    aborted.expect("S3 itself doesn't fail");
    assert!(deliver(&service, &event, LONG).await);
    ground.check_completed(&export, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_has_a_limit_of_rows() {
    let ground = Ground::start().await;
    ground.fill(3000).await;
    let (export, event) = ground.export(Format::Xlsx).await;
    // Compressed, these rows need less than a piece.
    let service = ground.service(Tuning {
        max_workbook_rows: 3000,
        ..small()
    });
    assert!(deliver(&service, &event, LONG).await);
    let ended = ground.stored(&export).await;
    assert_eq!(ended.status, Status::Completed, "{:?}", ended.problem);
    assert_eq!(ended.checkpoint.rows, 3000);
    assert!(ground.file(&export).await.starts_with(b"PK"));

    let service = ground.service(Tuning {
        max_workbook_rows: 2999,
        ..small()
    });
    let (export, event) = ground.export(Format::Xlsx).await;
    assert!(deliver(&service, &event, LONG).await);
    let ended = ground.stored(&export).await;
    let problem = ended.problem.expect("a problem");
    assert_eq!(
        (ended.status, problem.code.as_str()),
        (Status::Failed, "too_many_members")
    );
    assert!(!ground.is_stored(&export.file_key()).await);
}
