//! What a run leaves in logs, metrics, messages, dead letters and events: no name, phone number, client member id, file
//! name or secret, whatever is requested and whatever fails.

mod client;
mod traffic;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use mpulse_local::BUILT_IN_TEMPLATE;

use crate::dev::{Api, Dev, GLANCE, KEY, PATIENCE, Running, folder, free_port, mpulse};
use client::Client;

/// Faults of the first run, so that errors of DynamoDB and S3 are logged.
const FAULTS: &str = "unprocessed=0.3,error=0.03,drop=0.02,throttle=0.02,s3drop=2000,seed=7";

/// Starts `mpulse dev`, whose output and log go to files.
fn start(folder: &Path, run: &str, arguments: &[&str]) -> Dev {
    let port = free_port();
    let file = |name: &str| File::create(folder.join(format!("{run}.{name}"))).expect("a file");
    let child = mpulse(folder, &["dev", "--data", "data", "--key", KEY])
        .args(["--port", &port.to_string()])
        .args(arguments)
        .stdout(file("out"))
        .stderr(file("log"))
        .spawn();
    let mut process = Running(child.expect("mpulse dev starts"));
    let (deadline, url) = (
        Instant::now() + PATIENCE,
        format!("http://127.0.0.1:{port}"),
    );
    loop {
        let printed = fs::read_to_string(folder.join(format!("{run}.out"))).expect("its output");
        if printed.contains(&ready(&url)) {
            return Dev {
                process,
                printed,
                url,
                port,
            };
        }
        let ended = process.0.try_wait().expect("a process");
        assert!(ended.is_none(), "{run}: {ended:?}, see its log");
        assert!(Instant::now() < deadline, "it gets ready: {printed}");
        std::thread::sleep(GLANCE);
    }
}

/// The last line before the output of functions; the lines before it show the key, as they should.
fn ready(url: &str) -> String {
    format!("mpulse is ready on {url}\n")
}

/// Returns the files in a folder and in its folders.
fn files_in(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.append(&mut files_in(&path));
        } else {
            files.insert(path);
        }
    }
    files
}

/// Returns the template with metrics, which are published on AWS only.
fn template() -> String {
    let level = "        RUST_LOG: info\n";
    let metrics =
        "        AWS_LAMBDA_RUNTIME_API: local\n        AWS_LAMBDA_FUNCTION_NAME: local\n";
    assert!(BUILT_IN_TEMPLATE.contains(level));
    BUILT_IN_TEMPLATE.replace(level, &format!("{level}{metrics}"))
}

/// Returns the template with functions that find no table, and queues that deliver a message once.
fn broken_template() -> String {
    let once = template()
        .replace("maxReceiveCount: 500", "maxReceiveCount: 1")
        .replace("maxReceiveCount: 100", "maxReceiveCount: 1")
        .replace("VisibilityTimeout: 930", "VisibilityTimeout: 5")
        .replace("Timeout: 900", "Timeout: 5")
        .replace(
            "MEMBERS_TABLE: !Ref MembersTable",
            "MEMBERS_TABLE: no-such-table",
        );
    let (api, workers) = once.split_once("  IngestFunction:\n").expect("ingest");
    let workers = workers
        .replacen(
            "BATCHES_TABLE: !Ref BatchesTable",
            "BATCHES_TABLE: no-such-table",
            1,
        )
        .replace(
            "EXPORTS_TABLE: !Ref ExportsTable",
            "EXPORTS_TABLE: no-such-table",
        );
    format!("{api}  IngestFunction:\n{workers}")
}

#[tokio::test]
async fn logs_metrics_messages_and_events_have_no_personal_data_and_no_secrets() {
    let folder = folder();
    let folder = folder.path();
    let (queues, events) = (folder.join("data/queues"), folder.join("data/events.jsonl"));
    fs::write(folder.join("template.yaml"), template()).expect("a file");
    let dev = start(folder, "first", &["--faults", FAULTS]);
    let mut client = Client::new(&dev);
    client.members().await;
    client.credentials().await;
    client.files().await;
    client.exports().await;
    let first_url = dev.url.clone();
    dev.process.kill();

    fs::write(folder.join("template.yaml"), broken_template()).expect("a file");
    let dev = start(folder, "second", &[]);
    client.api = Api::new(&dev, KEY);
    client.url.clone_from(&dev.url);
    client.failures(&queues).await;
    let second_url = dev.url.clone();
    dev.process.kill();

    let mut found = BTreeSet::new();
    let mut places = files_in(&queues);
    places.extend([
        events.clone(),
        folder.join("first.log"),
        folder.join("second.log"),
    ]);
    for place in &places {
        found.append(&mut client.needles.found_in(&fs::read(place).expect("a file")));
    }
    for (run, url) in [("first", first_url), ("second", second_url)] {
        let printed = fs::read_to_string(folder.join(format!("{run}.out"))).expect("its output");
        let (_, metrics) = printed.split_once(&ready(&url)).expect("it was ready");
        assert!(metrics.contains("CloudWatchMetrics"), "{run}: {metrics}");
        found.append(&mut client.needles.found_in(metrics.as_bytes()));
    }
    assert!(found.is_empty(), "{found:#?}");
    // The search has read what the requests have caused.
    for (place, text) in [
        (folder.join("first.log"), "invalid credentials"),
        (folder.join("first.log"), "a batch ended"),
        (folder.join("second.log"), "internal error"),
        (folder.join("second.log"), "dead letter"),
        (events, "\"Batch Ended\""),
    ] {
        let log = fs::read_to_string(&place).expect("a log");
        assert!(log.contains(text), "{text:?} in {log}");
    }
}
