//! The results of batches: members, counters and status, by mode and under concurrent writes.

use std::fmt::Write;
use std::time::{Duration, Instant};

use mpulse_local::{BUILT_IN_TEMPLATE, Data};
use mpulse_tests::{Rows, Stack, client_id, count, roster, roster_ids, row, text};
use serde_json::{Value, json};

/// The template without the event source of ingest, so that an upload stays queued.
fn without_ingest() -> String {
    let (at, rest) = BUILT_IN_TEMPLATE
        .split_once("            BatchSize: 1\n")
        .expect("an event source");
    format!("{at}            Enabled: false\n            BatchSize: 1\n{rest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn rosters_of_every_size_around_a_request_are_loaded_once_and_then_unchanged() {
    let stack = Stack::start().await;
    for people in [0, 1, 24, 25, 26, 50, 99, 100, 101] {
        let account = format!("of-{people}");
        let file = roster(&account, people);
        Rows::created(people).check(&stack.upload(file.clone()).await);
        let query = format!("aid={account}&limit=1000");
        assert_eq!(stack.ids(&query).await, roster_ids(&account, people));
        let before = stack.pages(&query).await;
        Rows::unchanged(people).check(&stack.upload(file).await);
        assert_eq!(
            stack.pages(&query).await,
            before,
            "not even the time has changed"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_rows_are_loaded_once_and_then_unchanged() {
    let stack = Stack::start().await;
    let people = 20_000;
    let file = roster("4", people);
    let batch = stack.upload(file.clone()).await;
    Rows::created(people).check(&batch);
    assert_eq!(
        batch["bytes"],
        json!({"total": file.len(), "done": file.len(), "percent": 100.0})
    );
    assert_eq!(stack.ids("aid=4&limit=1000").await, roster_ids("4", people));

    Rows::unchanged(people).check(&stack.upload(file.clone()).await);
    assert_eq!(stack.ids("aid=4&limit=1000").await.len(), 20_000);

    // One in a hundred has another last name.
    let changed = file
        .lines()
        .enumerate()
        .fold(String::new(), |mut changed, (index, line)| {
            let line = if index % 100 == 1 {
                line.replace("Lee", "Li")
            } else {
                line.to_owned()
            };
            writeln!(changed, "{line}").unwrap();
            changed
        });
    let batch = stack.upload(changed).await;
    let rows = Rows {
        updated: 200,
        unchanged: people - 200,
        ..Rows::default()
    };
    rows.check(&batch);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_batch_reports_everything() {
    let stack = Stack::start().await;
    let file = roster("4", 30);
    let options = json!({"file_name": "members.csv"});
    let batch = stack.upload_with(&options, file.clone()).await;
    Rows::created(30).check(&batch);
    assert_eq!(batch["file_name"], "members.csv");
    assert_eq!(batch["attempts"], 1);
    assert_eq!(
        batch["bytes"],
        json!({"total": file.len(), "done": file.len(), "percent": 100.0})
    );
    assert_eq!(batch["eta_seconds"], Value::Null);
    assert_eq!(batch["links"]["rejects"], Value::Null);
    let [reads, writes] = ["read_units", "write_units"]
        .map(|name| batch["capacity"][name].as_f64().expect("a number"));
    assert!(writes >= 90.0, "three for each member: {batch:#}");
    let usd = batch["price"]["usd"].as_f64().expect("a number");
    let wanted = (reads * 0.125 + writes * 0.625) / 1e6;
    assert!((usd - wanted).abs() <= 5.1e-7 && usd > 0.0, "{batch:#}");
    let times =
        ["created_at", "started_at", "finished_at"].map(|name| text(&batch[name]).to_owned());
    assert!(times.is_sorted(), "{times:?}");
    stack.wait_for_deletion(&batch).await;
    // The members name the batch as their author.
    let author = format!("batch:{}", text(&batch["batch_id"]));
    let member = stack.get("/api/members/4~c000003").await.json();
    assert_eq!(member["created_by"], author);
    assert_eq!(member["updated_by"], author);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_differs_changes_the_member_and_keeps_its_creation() {
    let stack = Stack::start().await;
    let first = stack.upload(roster("4", 3)).await;
    let [_, before, _] = &stack.pages("aid=4").await[0][..] else {
        panic!("three members");
    };
    let before = before.clone();
    let second = stack.upload(roster("4", 3).replace("Lee 1", "Li")).await;
    let rows = Rows {
        updated: 1,
        unchanged: 2,
        ..Rows::default()
    };
    rows.check(&second);
    let after = stack.get("/api/members/4~c000001").await.json();
    assert_eq!(after["last_name"], "Li");
    assert_eq!(after["created_at"], before["created_at"]);
    assert_eq!(
        after["created_by"],
        format!("batch:{}", text(&first["batch_id"]))
    );
    assert_eq!(
        after["updated_by"],
        format!("batch:{}", text(&second["batch_id"]))
    );
    assert!(text(&after["updated_at"]) > text(&before["updated_at"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn mode_create_does_not_change_existing_members() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 30)).await;
    let before = stack.pages("aid=4").await;
    let file = roster("4", 40).replace("Ann", "Bob");
    let batch = stack.upload_with(&json!({"mode": "create"}), file).await;
    let rows = Rows {
        created: 10,
        unchanged: 30,
        ..Rows::default()
    };
    rows.check(&batch);
    let after = stack.pages("aid=4").await;
    assert_eq!(after[0][..30], before[0][..]);
    assert!(
        after[0][30..]
            .iter()
            .all(|member| member["first_name"] == "Bob")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mode_overwrite_writes_every_row() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 30)).await;
    let batch = stack
        .upload_with(&json!({"mode": "overwrite"}), roster("4", 40))
        .await;
    let rows = Rows {
        updated: 40,
        ..Rows::default()
    };
    rows.check(&batch);
    let author = json!(format!("batch:{}", text(&batch["batch_id"])));
    let members = stack.pages("aid=4").await;
    assert_eq!(members[0].len(), 40);
    assert!(
        members[0]
            .iter()
            .all(|member| member["updated_by"] == author)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_concurrent_uploads_are_each_exact() {
    let stack = Stack::start().await;
    let mut opened = Vec::new();
    for index in 0..10 {
        let batch = stack.open_batch(&json!({})).await;
        stack
            .put_file(&batch, roster(&format!("a{index}"), 300))
            .await
            .expect(200);
        opened.push(batch);
    }
    for (index, batch) in opened.iter().enumerate() {
        Rows::created(300).check(&stack.wait_for_batch(text(&batch["batch_id"])).await);
        let account = format!("a{index}");
        assert_eq!(
            stack.ids(&format!("aid={account}&limit=1000")).await,
            roster_ids(&account, 300)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_file_to_the_same_url_after_the_end_is_a_warning_only() {
    let stack = Stack::start().await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    stack.put_file(&opened, roster("4", 2)).await.expect(200);
    let ended = stack.wait_for_batch(&id).await;
    Rows::created(2).check(&ended);
    stack
        .put_file(&opened, format!("{}{}", roster("4", 2), row("4", 3)))
        .await
        .expect(200);
    stack.wait_for_deletion(&opened).await;
    let mut after = stack.batch(&id).await;
    assert_eq!(after["warnings"][0]["code"], "late_upload", "{after:#}");
    after["warnings"] = json!([]);
    assert_eq!(after, ended);
    assert_eq!(stack.ids("aid=4").await, roster_ids("4", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_sent_twice_is_read_once() {
    // A client that lost the response sends again before a run has started.
    let folder = tempfile::tempdir().unwrap();
    let data = || Data::Folder(folder.path().join("data"));
    let stack = Stack::with(&without_ingest(), &[], data()).await;
    let opened = stack.open_batch(&json!({})).await;
    for _ in 0..2 {
        stack.put_file(&opened, roster("4", 30)).await.expect(200);
    }
    stack.local_stack.stop().await;

    let stack = Stack::with(BUILT_IN_TEMPLATE, &[], data()).await;
    let batch = stack.wait_for_batch(text(&opened["batch_id"])).await;
    Rows::created(30).check(&batch);
    assert_eq!(batch["attempts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_written_after_the_upload_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let data = || Data::Folder(folder.path().join("data"));
    let stack = Stack::with(&without_ingest(), &[], data()).await;
    let opened = stack.open_batch(&json!({})).await;
    stack.put_file(&opened, roster("4", 30)).await.expect(200);
    let newer = json!({
        "account_id": "4", "client_member_id": client_id(7), "first_name": "Zoë",
        "last_name": "Lee", "phone_number": "7145550123",
    });
    let answer = stack.post("/api/members/", &newer).await;
    answer.expect(201);
    let newer = answer.json();
    stack.local_stack.stop().await;

    let stack = Stack::with(BUILT_IN_TEMPLATE, &[], data()).await;
    let batch = stack.wait_for_batch(text(&opened["batch_id"])).await;
    assert_eq!(batch["status"], "completed");
    assert_eq!(
        batch["rows"],
        json!({"read": 30, "absent": 0, "created": 29, "updated": 0, "unchanged": 0, "superseded": 1, "rejected": 0,
               "removed": 0})
    );
    assert_eq!(stack.get("/api/members/4~c000007").await.json(), newer);
    assert_eq!(stack.ids("aid=4").await, roster_ids("4", 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_between_two_runs_fails_the_batch() {
    let short = BUILT_IN_TEMPLATE
        .replace("      Timeout: 900\n", "      Timeout: 2\n")
        .replace("VisibilityTimeout: 930", "VisibilityTimeout: 8");
    assert_ne!(short, BUILT_IN_TEMPLATE);
    // At this rate, a run of two seconds writes a third of the file.
    let limit = [("MaxWriteUnitsPerSecond", "20000")];
    let stack = Stack::with(&short, &limit, Data::Ephemeral).await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    let people = 40_000;
    stack
        .put_file(&opened, roster("4", people))
        .await
        .expect(200);
    // Until a run has started and stopped: its message is redelivered after the new file's.
    let (mut read, mut since) = (0, Instant::now());
    while read == 0 || since.elapsed() < Duration::from_millis(1200) {
        let now = count(&stack.batch(&id).await["rows"]["read"]);
        if now != read {
            (read, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    // Of the same length, so that only the content differs.
    stack
        .put_file(&opened, roster("5", people))
        .await
        .expect(200);
    let batch = stack.wait_for_batch(&id).await;
    assert!(count(&batch["attempts"]) > 1, "{batch:#}");
    let of_the_second = stack.ids("aid=5&limit=1000").await.len();
    assert_eq!(
        of_the_second, 0,
        "two files are not processed as one: {batch:#}"
    );
    assert_eq!(batch["problem"]["code"], "file_replaced", "{batch:#}");
    assert_eq!(batch["status"], "failed", "{batch:#}");
    // What was counted and not written yet cannot be read any more.
    let written = stack.ids("aid=4&limit=1000").await.len() as u64;
    let counted = count(&batch["rows"]["read"]);
    assert!(
        0 < written && written <= counted,
        "{written} of {counted}, {read} of them before"
    );
}
