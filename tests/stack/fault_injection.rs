//! Files that are loaded while faults are injected: which requests are affected, and that the
//! result of a batch is not.

use mpulse_tests::{Rows, Stack, phone, roster, roster_ids, text};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_exact_with_unprocessed_items() {
    // The budget is never reached; it is set because units are counted only with a budget.
    let stack = Stack::with_faults("unprocessed=0.3,latency=0..3,wcu=100000,seed=7").await;
    let batch = stack.upload(roster("4", 60)).await;
    Rows::created(60).check(&batch);
    assert_eq!(stack.ids("aid=4&limit=1000").await, roster_ids("4", 60));

    let faults = stack.local_stack.faults().expect("faults were asked for");
    let counters = faults.counters();
    assert!(counters.partly_refused > 0, "{counters:?}");
    let setup = stack.local_stack.setup();
    let members = setup.required("MEMBERS_TABLE").expect("a table");
    assert_eq!(counters.units[members], 180, "three for each member");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_exact_with_broken_downloads() {
    let stack = Stack::with_faults("seed=7").await;
    let faults = stack.local_stack.faults().expect("faults were asked for");
    let file = roster("4", 3000);
    let spec = format!("s3drop={},seed=7", file.len() / 3);
    faults.set(spec.parse().expect("a spec"));
    let batch = stack.upload(file).await;
    Rows::created(3000).check(&batch);
    assert!(faults.counters().cut > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_reach_s3_without_faults() {
    let stack = Stack::with_faults("seed=7").await;
    let batch = stack.open_batch(&json!({})).await;
    let url = text(&batch["upload"]["url"]);
    assert!(url.starts_with(&stack.local_stack.endpoints().s3), "{url}");

    let file = format!("{}4,c1,,Lee,{}\n", mpulse_tests::HEADER, phone(1));
    let batch = stack.upload(file).await;
    assert_eq!(batch["status"], "completed_with_rejects", "{batch:#}");
    let rejects = stack.get(text(&batch["links"]["rejects"])).await;
    rejects.expect(302);
    let url = rejects.header("location");
    assert!(url.starts_with(&stack.local_stack.endpoints().s3), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_functions_meet_faults_and_those_of_the_test_do_not() {
    let stack = Stack::with_faults("error=1").await;
    let answer = stack.get("/api/members/?aid=4").await;
    assert!(answer.status >= 500, "{}", answer.text());
    let faults = stack.local_stack.faults().expect("faults were asked for");
    assert!(faults.counters().failed > 0);
    faults.set(mpulse_local::faults::Spec::default());
    let answer = stack.get("/api/members/?aid=4").await;
    answer.expect(200);
    assert_eq!(answer.json()["results"], Value::Array(Vec::new()));
}
