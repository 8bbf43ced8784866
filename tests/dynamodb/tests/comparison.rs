//! The embedded engine and another one answer the same generated requests alike.
//!
//! `cargo test -p mpulse-dynamodb-comparison --features peers`. `COMPARISON_REQUESTS` sets how many requests are
//! generated, `COMPARISON_SEED` the sequence. The peer is dynoxide, which runs in this process, or the `MiniStack` at
//! `COMPARISON_URL`. `COMPARISON_SHOWN` sets how many differences are shown, and shows an example of each known one.

use std::collections::BTreeMap;

use mpulse_dynamodb_comparison::compare::difference;
use mpulse_dynamodb_comparison::engines::{Engine, Response};
use mpulse_dynamodb_comparison::known::Peer;
use mpulse_dynamodb_comparison::requests::{self, Request};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Requests of one sequence, on a table that starts empty.
const SEQUENCE: usize = 60;
/// One in so many accepted requests is followed by a Scan, which shows every effect of writes.
const SCAN_EVERY: u64 = 4;
/// Differences that are shown if `COMPARISON_SHOWN` is not set.
const SHOWN: u64 = 12;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    (listener, url)
}

async fn own(folder: &std::path::Path) -> String {
    let (listener, url) = listen().await;
    let engine = mpulse_dynamodb::Engine::open(folder).expect("the engine opens its folder");
    tokio::spawn(mpulse_dynamodb::serve(
        listener,
        engine,
        std::future::pending(),
    ));
    url
}

async fn peer() -> (Peer, String) {
    if let Ok(url) = std::env::var("COMPARISON_URL") {
        return (Peer::MiniStack, url);
    }
    let (listener, url) = listen().await;
    let database = dynoxide::Database::memory().expect("a database in memory");
    tokio::spawn(dynoxide::server::serve_with_shutdown(
        listener,
        database,
        std::future::pending(),
    ));
    (Peer::Dynoxide, url)
}

async fn call(engine: &Engine, operation: &'static str, body: Value) -> Response {
    let request = Request { operation, body };
    engine.call(&request).await.expect("a response")
}

/// Returns a request for all items.
fn scan() -> Request {
    Request {
        operation: "Scan",
        body: json!({"TableName": requests::TABLE}),
    }
}

/// Creates the table, and waits until it is active.
async fn create_table(engine: &Engine) {
    let name = json!({"TableName": requests::TABLE});
    let created = engine
        .call(&requests::create_table())
        .await
        .expect("a response");
    assert_eq!(created.status, 200, "{created:?}");
    let is_active = |response: &Response| {
        let table = &response.body["Table"];
        let indexes = table["GlobalSecondaryIndexes"].as_array();
        table["TableStatus"] == "ACTIVE"
            && indexes.is_some_and(|all| all.iter().all(|index| index["IndexStatus"] == "ACTIVE"))
    };
    while !is_active(&call(engine, "DescribeTable", name.clone()).await) {}
}

/// Deletes all items; or the table, if the engine stores an item whose key it rejects.
async fn empty(engine: &Engine) {
    let scan = json!({"TableName": requests::TABLE, "ProjectionExpression": "pk, sk"});
    let scanned = call(engine, "Scan", scan).await;
    for key in scanned.body["Items"].as_array().expect("items") {
        let delete = json!({"TableName": requests::TABLE, "Key": key});
        if call(engine, "DeleteItem", delete).await.status != 200 {
            let name = json!({"TableName": requests::TABLE});
            call(engine, "DeleteTable", name.clone()).await;
            while call(engine, "DescribeTable", name.clone()).await.status == 200 {}
            return create_table(engine).await;
        }
    }
}

/// The beginning of a message, without the details of the request.
fn beginning(message: &Value) -> String {
    let message = message.as_str().unwrap_or("-");
    let parts: Vec<&str> = message.split([';', ':']).take(2).collect();
    parts.join(":").chars().take(110).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_requests_are_answered_alike() {
    let total = setting("COMPARISON_REQUESTS", 50_000);
    let seed = setting("COMPARISON_SEED", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let http = mpulse_local::http_client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let own = Engine::new(http.clone(), own(folder.path()).await);
    let (known, url) = peer().await;
    let peer = Engine::new(http, url);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = requests::any_request();
    let (mut compared, mut accepted) = (0, 0);
    let mut explained: BTreeMap<&str, (u64, String)> = BTreeMap::new();
    let mut differences: BTreeMap<String, (u64, String)> = BTreeMap::new();
    create_table(&own).await;
    create_table(&peer).await;
    while compared < total {
        empty(&own).await;
        empty(&peer).await;
        let mut next_page = None;
        for _ in 0..SEQUENCE {
            let generated = || strategy.new_tree(&mut runner).expect("a request").current();
            let request = next_page.take().unwrap_or_else(generated);
            let one = own.call(&request).await.expect("a response");
            let other = peer.call(&request).await.expect("a response");
            compared += 1;
            accepted += u64::from(one.status == 200);
            let last = &one.body["LastEvaluatedKey"];
            if !last.is_null() {
                let mut next = request.clone();
                next.body["ExclusiveStartKey"] = last.clone();
                next_page = Some(next);
            } else if one.status == 200 && compared % SCAN_EVERY == 0 {
                next_page = Some(scan());
            }
            if let Some(difference) = difference(&request, &one, &other) {
                let text = format!(
                    "{} {}\n{difference}\nown {}\npeer {}",
                    request.operation, request.body, one.body["message"], other.body["message"]
                );
                if let Some(name) = known.explanation(&request, &one, &other) {
                    explained.entry(name).or_insert((0, text)).0 += 1;
                    if one.status != 200 && other.status != 200 {
                        continue;
                    }
                    // The tables may differ from here on.
                    break;
                }
                let kind = format!(
                    "{} | {} | {}",
                    request.operation,
                    beginning(&one.body["message"]),
                    beginning(&other.body["message"])
                );
                differences.entry(kind).or_insert((0, text)).0 += 1;
                break;
            }
        }
    }
    let examples = std::env::var_os("COMPARISON_SHOWN").is_some();
    for (name, (count, text)) in &explained {
        println!("{count} times known: {name}");
        if examples {
            println!("{text}");
        }
    }
    let shown = usize::try_from(setting("COMPARISON_SHOWN", SHOWN)).expect("a small number");
    for (count, text) in differences.values().take(shown) {
        println!("--- {count} times:\n{text}");
    }
    println!(
        "{compared} requests compared, {accepted} of them successful, {} kinds of differences",
        differences.len()
    );
    assert!(
        accepted * 3 > compared,
        "at least a third of the requests succeed"
    );
    assert!(
        differences.is_empty(),
        "{} kinds of differences",
        differences.len()
    );
}
