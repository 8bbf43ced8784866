//! What expires, with a clock that the tests move. The clock is that of the process, so these tests have a program of
//! their own and run one after the other.
//!
//! Only the time of day moves. Durations, and the signatures of presigned URLs, follow the real clock.

use std::path::Path;
use std::time::Duration;

use mpulse_local::{BUILT_IN_TEMPLATE, Data};
use mpulse_shared::parts::PART_BYTES;
use mpulse_shared::time::{Timestamp, move_clock};
use mpulse_tests::{Answer, HEADER, PATIENCE, Rows, Stack, count, roster, row_of, send, text};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// Held by the test that uses the clock.
static CLOCK: Mutex<()> = Mutex::const_new(());

/// A row that is rejected: it has no phone number.
const REJECTED: &str = "4,bad,Ann,Lee,\n";

/// Moves the clock, and deletes what has expired by then.
async fn after_days(stack: &Stack, days: u64) {
    move_clock(Duration::from_hours(24 * days));
    stack.local_stack.delete_expired().await;
}

/// Starts a local stack on a folder that the test can look into.
async fn start() -> (Stack, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data::Folder(folder.path().to_owned());
    (Stack::with(BUILT_IN_TEMPLATE, &[], data).await, folder)
}

/// Returns the number of files and folders, with all that is in them.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            1 + if path.is_dir() { files(&path) } else { 0 }
        })
        .sum()
}

/// Returns the number of files of the local stack's S3.
fn stored(folder: &TempDir) -> usize {
    files(&folder.path().join("s3"))
}

/// Returns the number of items of all tables except the members and the keys.
async fn records(stack: &Stack) -> usize {
    let dynamodb = stack.local_stack.setup().dynamodb().expect("a client");
    let mut items = 0;
    for table in &stack.local_stack.template().tables {
        if ["MembersTable", "KeysTable"].contains(&table.logical_id.as_str()) {
            continue;
        }
        let pages = dynamodb.scan().table_name(&table.name).into_paginator();
        let found = pages.items().send().collect::<Result<Vec<_>, _>>().await;
        items += found.expect("a scan").len();
    }
    items
}

async fn export(stack: &Stack) -> Value {
    let created = stack
        .post("/api/exports", &json!({"account_id": "4"}))
        .await;
    created.expect(202);
    let path = text(&created.json()["links"]["self"]).to_owned();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let export = stack.get(&path).await.json();
        if export["status"] == "completed" {
            return export;
        }
        assert!(std::time::Instant::now() < deadline, "{export:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn report(stack: &Stack, batch: &Value, name: &str) -> Answer {
    let path = format!("/api/members/batch/{}/{name}", text(&batch["batch_id"]));
    stack.get(&path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_sent_by_half_is_deleted_after_a_day() {
    let _clock = CLOCK.lock().await;
    let (stack, folder) = start().await;
    let before = stored(&folder);
    let size = PART_BYTES + 100;
    let half = vec![b'x'; usize::try_from(size).expect("a size")];
    let batch = stack
        .open_batch(&json!({"file_name": "half.csv", "size": size, "multipart": true}))
        .await;
    stack.put_parts(&batch, &half, &[1]).await;
    let parts = text(&batch["links"]["parts"]).to_owned();
    assert!(stored(&folder) > before);

    move_clock(Duration::from_hours(23));
    stack.local_stack.delete_expired().await;
    let page = stack.get(&parts).await.json();
    assert!(page["results"][0]["etag"].is_string(), "{page:#}");

    // The lifecycle rule counts from midnight.
    after_days(&stack, 2).await;
    assert_eq!(stored(&folder), before, "nothing of it is left");
    assert_eq!(
        stack.batch(text(&batch["batch_id"])).await["status"],
        "expired"
    );
    assert_eq!(stack.get(&parts).await.status, 409);

    stack.upload(roster("4", 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_reports_and_records_are_kept_as_long_as_documented() {
    let _clock = CLOCK.lock().await;
    let (stack, folder) = start().await;
    let empty = (stored(&folder), records(&stack).await);
    let person = json!({"account_id": "4", "client_member_id": "once", "first_name": "Ann",
                        "last_name": "Lee", "phone_number": "+12025550123"});
    let create = async || {
        let request = stack.request(Method::POST, "/api/members/");
        send(request.header("idempotency-key", "one").json(&person)).await
    };
    create().await.expect(201);
    let dry = stack
        .upload_with(&json!({"dry_run": true}), roster("4", 2))
        .await;
    let batch = stack.upload(format!("{}{REJECTED}", roster("4", 20))).await;
    assert_eq!(count(&batch["rows"]["rejected"]), 1, "{batch:#}");
    let exported = export(&stack).await;

    create().await.expect(201);
    move_clock(Duration::from_hours(23));
    stack.local_stack.delete_expired().await;
    create().await.expect(201);
    move_clock(Duration::from_hours(2));
    // The key is free again, and so the request is a new one.
    create().await.problem(409, "conflict");

    after_days(&stack, 5).await;
    let uploaded = stack.upload_is_stored(&dry).await;
    assert!(uploaded, "the file of a dry run is kept for seven days");
    let kept = stack.get(text(&exported["links"]["self"])).await.json();
    let file = stack.anonymous(Method::GET, text(&kept["links"]["file"]));
    send(file).await.expect(200);
    after_days(&stack, 4).await;
    assert!(!stack.upload_is_stored(&dry).await);
    let apply = format!("/api/members/batch/{}/apply", text(&dry["batch_id"]));
    stack
        .post(&apply, &json!({}))
        .await
        .problem(409, "conflict");
    assert_eq!(
        stack.get(text(&exported["links"]["self"])).await.status,
        404
    );

    after_days(&stack, 19).await;
    assert_eq!(report(&stack, &batch, "rejects").await.status, 302);
    assert_eq!(report(&stack, &batch, "changes").await.status, 302);
    after_days(&stack, 3).await;
    for name in ["rejects", "changes"] {
        let gone = report(&stack, &batch, name).await;
        let problem = gone.problem(404, "not-found");
        assert!(
            text(&problem["detail"]).contains("after 30 days"),
            "{problem}"
        );
    }
    assert_eq!(stored(&folder), empty.0, "no file is left");
    assert_eq!(
        count(&stack.batch(text(&batch["batch_id"])).await["rows"]["created"]),
        20
    );

    after_days(&stack, 60).await;
    let path = format!("/api/members/batch/{}", text(&batch["batch_id"]));
    assert_eq!(stack.get(&path).await.status, 404);
    assert_eq!(records(&stack).await, empty.1, "no record is left");
    assert_eq!(stack.ids("aid=4").await.len(), 21, "members do not expire");
}

/// The register after many nights is not larger than after fewer, except for its members.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_nights_leave_nothing_behind() {
    let _clock = CLOCK.lock().await;
    let (stack, folder) = start().await;
    let mut sizes = Vec::new();
    for night in 1..=200 {
        let changed = row_of("4", 0, &format!("Night{night}"));
        let rest = roster("4", 10);
        let rest = rest.strip_prefix(HEADER).expect("a header");
        let rest = rest.split_once('\n').expect("rows").1;
        let batch = stack
            .upload(format!("{HEADER}{changed}{rest}{REJECTED}"))
            .await;
        if night > 1 {
            let expected = Rows {
                updated: 1,
                unchanged: 9,
                rejected: 1,
                ..Rows::default()
            };
            expected.check(&batch);
        }
        if night % 7 == 0 {
            export(&stack).await;
            let asked = json!({"file_name": "half.csv", "size": 5, "multipart": true});
            let half = stack.open_batch(&asked).await;
            stack.put_parts(&half, b"a,b,c", &[1]).await;
        }
        after_days(&stack, 1).await;
        if night == 100 || night == 198 {
            sizes.push((stored(&folder), records(&stack).await));
        }
    }
    // Both nights are the second after an export, and more than 90 days after the first. A file for each night would
    // be 98 files. Midnight may come between a few of them.
    let [(files, records), (later_files, later_records)] = [sizes[0], sizes[1]];
    assert!(later_files <= files + 10, "{sizes:?}");
    assert!(later_records <= records + 5, "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_jump_of_the_clock() {
    let _clock = CLOCK.lock().await;
    let (stack, _folder) = start().await;
    let batch = stack.open_batch(&json!({})).await;
    stack
        .put_file(&batch, roster("4", 20_000))
        .await
        .expect(200);
    let id = text(&batch["batch_id"]);
    stack
        .wait_until(id, |batch| {
            batch["status"] == "processing" || mpulse_tests::has_ended(batch)
        })
        .await;
    let jumped = Timestamp::now();
    after_days(&stack, 1).await;
    let ended = stack.wait_for_batch(id).await;
    Rows::created(20_000).check(&ended);
    assert!(ended["finished_at"].as_str() >= Some(jumped.to_string().as_str()));
}
