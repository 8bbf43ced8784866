//! The same event delivered repeatedly, as a queue may: one result, and no message acknowledged
//! before the batch has ended.

use std::time::Duration;

use ingest::Tuning;
use mpulse_shared::batch::{Mode, Rows, Status};
use mpulse_shared::member::{AccountId, Author};
use mpulse_shared::time::Timestamp;
use mpulse_tests::{HEADER, row, row_of};

use crate::direct_ingest::{Bench, Upload, codes, deliver};

const MINUTE: Duration = Duration::from_mins(1);

/// People in the file; a quarter of them occur twice.
const PEOPLE: u64 = 800;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_delivered_repeatedly_has_one_result() {
    let bench = Bench::start("unprocessed=0.1,latency=4..8,seed=5").await;
    let tuning = Tuning {
        window_members: 50,
        ..Tuning::default()
    };
    let service = ingest::service_tuned(&bench.faulty_setup(), tuning).expect("the setup is whole");
    let mut file = HEADER.to_owned();
    for index in 0..PEOPLE {
        file.push_str(&row("4", index));
        if index % 4 == 0 {
            file.push_str(&row_of("4", index, "Bob"));
            file.push_str("4,bad,Ann,Lee,12\n");
        }
    }
    let at = Timestamp::from_millis(1_700_000_000_000);
    let upload = bench.upload(Mode::Upsert, file, at).await;
    let Upload { batch, event } = &upload;

    // The first is cut short by its deadline, and stays in the queue.
    let done = deliver(&service, event, Duration::from_millis(400)).await;
    let first = bench.batch(batch).await;
    assert!(!done && !first.status.has_ended(), "{first:?}");
    assert!(first.checkpoint.rows.read > 0, "it has made progress");
    assert!(bench.is_stored(batch).await);

    // Of two at once, one holds the lease. The other's message stays in the queue, since the first
    // may die.
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let done = deliver(&service, event, MINUTE).await;
        (done, bench.batch(batch).await.status)
    };
    let (done, (late_done, status)) = tokio::join!(deliver(&service, event, MINUTE), late);
    assert_eq!(status, Status::Processing, "they met");
    assert!(done && !late_done);
    let ended = bench.batch(batch).await;
    assert_eq!(
        ended.attempts, 2,
        "a delivery that finds the lease taken is not a run"
    );

    // Two more, at once, and a last one after a request has changed a member.
    let again = tokio::join!(
        deliver(&service, event, MINUTE),
        deliver(&service, event, MINUTE)
    );
    assert_eq!(
        again,
        (true, true),
        "the batch has ended: they are acknowledged"
    );
    let four = AccountId::parse("4").expect("an account");
    let mut wanted = bench.members_of(&four).await;
    let mut changed = wanted.values().nth(7).expect("a member").clone();
    changed.profile.first_name = "Zoë".to_owned();
    changed.updated_at = Timestamp::now();
    changed.updated_by = Author::key("ops");
    bench.put(&changed).await;
    wanted.insert(changed.profile.id.clone(), changed);
    assert!(deliver(&service, event, MINUTE).await);

    let rows = Rows {
        read: PEOPLE + PEOPLE / 4 * 2,
        created: PEOPLE,
        updated: PEOPLE / 4,
        rejected: PEOPLE / 4,
        ..Rows::default()
    };
    assert_eq!(ended.checkpoint.rows, rows);
    assert_eq!(ended.status, Status::CompletedWithRejects);
    let last = bench.batch(batch).await;
    assert_eq!(last.checkpoint.rows, rows);
    assert_eq!((last.status, last.attempts), (ended.status, 2));
    let members = bench.members_of(&four).await;
    assert_eq!(members, wanted);
    assert_eq!(members.len() as u64, PEOPLE);
    let bobs = members.values().filter(|m| m.profile.first_name == "Bob");
    assert_eq!(bobs.count() as u64, PEOPLE / 4);
    let report = bench.report(batch).await.expect("a report");
    assert_eq!(codes(&report).len() as u64, rows.rejected, "each once");
    assert!(!bench.is_stored(batch).await, "the upload is deleted");
}
