//! Events at the end of batches, as the event bus receives them.

use std::fs;
use std::time::{Duration, Instant};

use mpulse_tests::{HEADER, PATIENCE, Stack, row, text};
use serde_json::{Value, json};

const BATCHES: &str = "/api/members/batch";

/// Returns the events of a batch, once there is one.
async fn events_of(stack: &Stack, batch_id: &str) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = fs::read_to_string(stack.local_stack.event_log()).expect("a log");
        let events = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .filter(|event| event["detail"]["batch_id"] == batch_id)
            .collect::<Vec<_>>();
        if !events.is_empty() {
            return events;
        }
        assert!(Instant::now() < deadline, "no event of {batch_id}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_batch_is_an_event_with_its_counters() {
    let stack = Stack::start().await;
    let file = format!("{HEADER}{}4,bad,Zoë,Brien,12\n", row("4", 1));
    let ended = stack
        .upload_with(&json!({"file_name": "Zoë.csv"}), file)
        .await;
    let id = text(&ended["batch_id"]).to_owned();
    let events = events_of(&stack, &id).await;
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(event["source"], "mpulse.batch");
    assert_eq!(event["detail-type"], "Batch Ended");
    let detail = &event["detail"];
    for field in [
        "status",
        "mode",
        "dry_run",
        "rows",
        "attempts",
        "created_by",
        "created_at",
        "finished_at",
    ] {
        assert_eq!(detail[field], ended[field], "{field}");
    }
    assert_eq!(detail["status"], "completed_with_rejects");
    let setup = stack.local_stack.setup();
    assert_eq!(detail["stack"], setup.required("STACK_NAME").expect("set"));
    assert!(!event.to_string().contains("Zoë"), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_fail_or_are_cancelled_or_only_predict_have_events_too() {
    let stack = Stack::start().await;
    let failed = stack.upload_with(&json!({}), "no header\n").await;
    let dry = stack
        .upload_with(
            &json!({"dry_run": true}),
            format!("{HEADER}{}", row("4", 1)),
        )
        .await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    stack.delete(&format!("{BATCHES}/{id}")).await.expect(200);
    // The answer to the first request may have been lost before the event was sent.
    stack
        .delete(&format!("{BATCHES}/{id}"))
        .await
        .problem(409, "conflict");

    let failed = events_of(&stack, text(&failed["batch_id"])).await;
    assert_eq!(failed[0]["detail"]["status"], "failed");
    assert!(
        failed[0]["detail"]["problem_code"].is_string(),
        "{failed:?}"
    );
    let dry = events_of(&stack, text(&dry["batch_id"])).await;
    assert_eq!(dry[0]["detail"]["dry_run"], true);
    let cancelled = events_of(&stack, &id).await;
    assert_eq!(cancelled.len(), 2, "{cancelled:?}");
    assert_eq!(cancelled[0]["detail"], cancelled[1]["detail"]);
    assert_eq!(cancelled[0]["detail"]["status"], "cancelled");
}
