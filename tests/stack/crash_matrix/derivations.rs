//! Requests that apply or revert a batch and are stopped at any of their points. A repeated request has the same result as one
//! that was not stopped.

use futures_util::future::join_all;
use mpulse_shared::batch::{Batch, BatchId};
use mpulse_shared::run::Point::{self, ChildListed, ChildNamed, ChildStored, FileCopied};
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::batches::Batches;
use mpulse_tests::{Stack, has_ended, roster, text};
use serde_json::{Value, json};

use super::kills;

/// The points of each request.
pub const POINTS: [(&str, &[Point]); 2] = [
    ("apply", &[ChildStored, ChildNamed, ChildListed, FileCopied]),
    ("revert", &[ChildStored, ChildListed, FileCopied]),
];

/// Members of each account.
const PEOPLE: u64 = 30;

async fn stored(stack: &Stack, batch: &Value) -> Batch {
    let batches = Batches::from_setup(&stack.local_stack.setup()).expect("a table");
    let id: BatchId = text(&batch["batch_id"]).parse().expect("an id");
    let stored = batches.get(&id).await.expect("the engine");
    stored.expect("the batch")
}

/// Stops a request at a point, and repeats it.
async fn check(stack: &Stack, action: &str, point: Point) {
    let account = format!("{action}-{point:?}").to_lowercase();
    let is_apply = action == "apply";
    let options = json!({"dry_run": is_apply});
    let parent = stack.upload_with(&options, roster(&account, PEOPLE)).await;
    let path = format!("/api/members/batch/{}/{action}", text(&parent["batch_id"]));
    let id = text(&parent["batch_id"]);
    let nothing = json!({});
    let request = stack.post(&path, &nothing);
    let stopped = kills::killed_at((id, point, 1), request).await;
    assert!(stopped.is_none(), "{action} {point:?}: it ended");
    kills::forget(id);

    let repeated = stack.post(&path, &nothing).await;
    // The dry run is applied already, once the file is copied.
    let status = if is_apply && point == FileCopied {
        409
    } else {
        202
    };
    repeated.expect(status);
    let after = stored(stack, &parent).await;
    let child = match &after.applied_by {
        Some(child) => child.to_string(),
        None => text(&repeated.json()["batch_id"]).to_owned(),
    };
    let child = stack.wait_until(&child, has_ended).await;
    assert_eq!(
        child["status"], "completed",
        "{action} {point:?}: {child:#}"
    );
    let members = stack.ids(&format!("aid={account}")).await.len() as u64;
    assert_eq!(
        members,
        if is_apply { PEOPLE } else { 0 },
        "{action} {point:?}"
    );
    // Of a revert that was stopped, the parent may list a batch that waits for its file, and expires.
    let children = after.child_batch_ids.len();
    let stopped = usize::from(!is_apply && point != ChildStored);
    assert_eq!(children, 1 + stopped, "{action} {point:?}");
    if is_apply {
        assert_eq!(child["rows"]["created"], PEOPLE, "{point:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_stopped_at_any_point_can_be_repeated() {
    let stack = Stack::start().await;
    let cells = POINTS.iter().flat_map(|(action, points)| {
        let stack = &stack;
        points.iter().map(move |point| check(stack, action, *point))
    });
    join_all(cells).await;
}
