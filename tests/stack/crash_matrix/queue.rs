//! Killed runs behind the queue: the function is stopped at its timeout, the message becomes visible again, and the next run
//! ends the batch or the export. Then the queues and their dead-letter queues are empty.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use mpulse_local::{BUILT_IN_TEMPLATE, Data};
use mpulse_shared::export::{Export, Format};
use mpulse_shared::member::AccountId;
use mpulse_shared::run::Point;
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::exports::Exports;
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{HEADER, PATIENCE, Stack, row, text};
use serde_json::{Value, json};

use super::subject::Scenario;
use super::{MATRIX, kills};

/// The timeout of the functions in seconds, and that of their messages' invisibility.
const TIMEOUT: u64 = 3;
const VISIBILITY: u64 = 6;

/// Members of each account.
const PEOPLE: u64 = 40;

/// Returns the template with short timeouts, and with as many runs at once as the test has.
fn template() -> String {
    BUILT_IN_TEMPLATE
        .replace("Timeout: 900\n", &format!("Timeout: {TIMEOUT}\n"))
        .replace(
            "VisibilityTimeout: 930\n",
            &format!("VisibilityTimeout: {VISIBILITY}\n"),
        )
        .replace("MaximumConcurrency: 10 ", "MaximumConcurrency: 50 ")
        .replace("MaximumConcurrency: 5 ", "MaximumConcurrency: 50 ")
}

/// Returns the points of a scenario.
fn points(scenario: Scenario) -> &'static [Point] {
    let mut all = MATRIX.iter();
    all.find(|(one, _)| *one == scenario)
        .expect("it is in the matrix")
        .1
}

/// Waits until the run on a record is killed at a point, and its invocation is stopped. Then the lease ends, as after a
/// minute.
async fn wait_for_death(stack: &Stack, (table, key): (&str, &str), id: &str, point: Point) {
    let died = kills::watch(id, Some((point, 1)));
    let death = tokio::time::timeout(PATIENCE, died.notified()).await;
    death.unwrap_or_else(|_| panic!("{point:?} is not reached"));
    tokio::time::sleep(Duration::from_secs(TIMEOUT)).await;
    let setup = stack.local_stack.setup();
    let client = setup.dynamodb().expect("a client");
    let update = client
        .update_item()
        .table_name(setup.required(table).expect("set"));
    let id_of = AttributeValue::S(id.to_owned());
    let update = update
        .key(key, id_of)
        .update_expression("REMOVE lease_owner, lease_until");
    update.send().await.expect("the engine itself doesn't fail");
    kills::forget(id);
}

/// Kills the run on a batch at a point, and returns the batch once it has ended.
async fn killed_batch(stack: &Stack, number: usize, point: Point) -> Value {
    let mut file = HEADER.to_owned();
    for index in 0..PEOPLE {
        file.push_str(&row(&format!("b{number}"), index));
    }
    file.push_str("4,bad,Ann,Lee,12\n");
    let batch = stack.open_batch(&json!({})).await;
    let id = text(&batch["batch_id"]);
    let death = wait_for_death(stack, ("BATCHES_TABLE", "batch_id"), id, point);
    let ((), sent) = tokio::join!(death, stack.put_file(&batch, file));
    sent.expect(200);
    let ended = stack.wait_for_batch(id).await;
    assert_eq!(ended["rows"]["created"], PEOPLE, "{point:?}: {ended:#}");
    assert_eq!(ended["rows"]["read"], PEOPLE + 1, "{point:?}");
    assert_eq!(ended["status"], "completed_with_rejects", "{point:?}");
    ended
}

/// Kills the run on an export at a point, and waits for its end.
async fn killed_export(stack: &Stack, number: usize, point: Point) -> String {
    let setup = stack.local_stack.setup();
    let exports = Exports::from_setup(&setup).expect("a table");
    let files = Files::from_setup(&setup).expect("a bucket");
    let account = AccountId::parse(&format!("e{number}")).expect("an account");
    let rows: String = (0..PEOPLE)
        .map(|index| row(account.as_str(), index))
        .collect();
    stack.upload(format!("{HEADER}{rows}")).await;
    let export = Export::new(
        account,
        Format::Csv,
        "key:test".to_owned(),
        Timestamp::now(),
    );
    exports.create(&export).await.expect("an export");
    let id = export.export_id.as_str();
    let death = wait_for_death(stack, ("EXPORTS_TABLE", "export_id"), id, point);
    let ((), requested) = tokio::join!(death, files.request_export(&export));
    requested.expect("S3 itself doesn't fail");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stored = exports.get(&export.export_id).await.expect("the engine");
        let stored = stored.expect("the export");
        if stored.status.has_ended() {
            assert_eq!(stored.checkpoint.rows, PEOPLE, "{point:?}");
            return id.to_owned();
        }
        assert!(Instant::now() < deadline, "{point:?}: {stored:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the number of messages in all queues.
fn messages(data: &Path) -> usize {
    let queues = fs::read_dir(data.join("queues")).expect("the folder of the queues");
    queues
        .map(|queue| {
            fs::read_dir(queue.expect("a folder").path())
                .expect("a queue")
                .count()
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_of_a_killed_run_is_delivered_again_until_its_batch_has_ended() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = Data::Folder(data.path().to_owned());
    let stack = Stack::with(&template(), &[], folder).await;
    let of_batches = points(Scenario::Upsert).iter().enumerate();
    let of_exports = points(Scenario::Export).iter().enumerate();
    let (batches, exports) = tokio::join!(
        join_all(of_batches.map(|(number, point)| killed_batch(&stack, number, *point))),
        join_all(of_exports.map(|(number, point)| killed_export(&stack, number, *point))),
    );
    let deadline = Instant::now() + PATIENCE;
    while messages(data.path()) > 0 {
        assert!(Instant::now() < deadline, "a message is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = fs::read_to_string(stack.local_stack.event_log()).expect("a log");
    let events = |id: &str| log.lines().filter(|line| line.contains(id)).count();
    for batch in &batches {
        let id = text(&batch["batch_id"]);
        assert!((1..=2).contains(&events(id)), "{id}");
        assert!(!stack.upload_is_stored(batch).await, "{id}");
    }
    for id in &exports {
        assert!((1..=2).contains(&events(id)), "{id}");
    }
}
