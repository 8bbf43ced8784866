//! Cancelling a batch before, during and after its processing.

use std::fmt::Write;

use mpulse_tests::{HEADER, Stack, count, has_ended, roster, roster_ids, row, send, text};
use reqwest::Method;
use serde_json::json;

const BATCHES: &str = "/api/members/batch";

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_batch_is_queued_until_a_run_begins() {
    let stack = Stack::without_ingest().await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    let file = roster("4", 5);
    stack.put_file(&opened, file.clone()).await.expect(200);
    let batch = stack.batch(&id).await;
    assert_eq!(batch["status"], "queued");
    assert_eq!(
        batch["bytes"],
        json!({"total": file.len(), "done": 0, "percent": 0.0})
    );
    let listed = stack.get(BATCHES).await.json();
    assert_eq!(listed["results"], json!([batch]));
    stack
        .get(&format!("{BATCHES}/{id}/rejects"))
        .await
        .problem(409, "conflict");

    // No run has started, so the batch is cancelled at once.
    let cancelled = stack.delete(&format!("{BATCHES}/{id}")).await;
    cancelled.expect(200);
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert!(!stack.upload_is_stored(&opened).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_upload_of_a_cancelled_batch_is_deleted() {
    let stack = Stack::start().await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    let answer = stack.delete(&format!("{BATCHES}/{id}/")).await;
    answer.expect(200);
    assert_eq!(answer.json()["status"], "cancelled");

    stack.put_file(&opened, roster("4", 5)).await.expect(200);
    stack.wait_for_deletion(&opened).await;
    let batch = stack.batch(&id).await;
    assert_eq!(batch["status"], "cancelled");
    assert_eq!(batch["rows"]["read"], 0);
    let message = text(&batch["problem"]["message"]);
    assert!(message.contains("after 0 rows"), "{message}");
    assert_eq!(stack.ids("aid=4").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_batch_stops_when_cancelled_and_keeps_what_it_wrote() {
    let stack = Stack::start().await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    let people = 40_000;
    // Every hundredth row is followed by a rejected one.
    let mut file = HEADER.to_owned();
    for index in 0..people {
        file.push_str(&row("4", index));
        if index % 100 == 99 {
            writeln!(file, "4,bad{index},Ann,Lee,12").unwrap();
        }
    }
    stack.put_file(&opened, file).await.expect(200);
    stack
        .wait_until(&id, |batch| {
            count(&batch["rows"]["read"]) > 0 || has_ended(batch)
        })
        .await;
    let answer = stack.delete(&format!("{BATCHES}/{id}")).await;
    answer.expect(202);
    assert_eq!(answer.json()["status"], "cancelling");
    // Cancelling twice is not an error.
    let again = stack.delete(&format!("{BATCHES}/{id}")).await;
    assert!([200, 202, 409].contains(&again.status), "{}", again.text());

    let batch = stack.wait_for_batch(&id).await;
    assert_eq!(batch["status"], "cancelled");
    let [read, created, rejected] =
        ["read", "created", "rejected"].map(|name| count(&batch["rows"][name]));
    assert!(0 < read && read < people, "stopped in the middle: {read}");
    assert_eq!(read, created + rejected, "{batch:#}");
    assert_eq!(
        stack.ids("aid=4&limit=1000").await,
        roster_ids("4", created),
        "what it counted is stored, and nothing else"
    );
    assert_eq!(batch["problem"]["code"], "cancelled");
    let message = text(&batch["problem"]["message"]);
    let story = format!("after {read} rows: {created} were applied");
    assert!(message.contains(&story), "{message}");
    let report = stack.get(text(&batch["links"]["rejects"])).await;
    report.expect(302);
    let report = send(stack.anonymous(Method::GET, report.header("location"))).await;
    assert_eq!(report.text().lines().count() as u64, 1 + rejected);
    stack.wait_for_deletion(&opened).await;
    stack
        .delete(&format!("{BATCHES}/{id}"))
        .await
        .problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_has_ended_cannot_be_cancelled() {
    let stack = Stack::start().await;
    let completed = stack.upload(roster("4", 1)).await;
    let rejects = stack.upload(format!("{HEADER}4,1,Ann,Lee,12\n")).await;
    let failed = stack.upload("phone\n").await;
    for (batch, status) in [
        (completed, "completed"),
        (rejects, "completed_with_rejects"),
        (failed, "failed"),
    ] {
        assert_eq!(batch["status"], status);
        let path = format!("{BATCHES}/{}", text(&batch["batch_id"]));
        stack.delete(&path).await.problem(409, "conflict");
        assert_eq!(stack.get(&path).await.json(), batch);
    }
}
