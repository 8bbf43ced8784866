//! Events at the end of batches, when the local stack is killed around these moments, and their way to a URL.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::dev::{Api, Dev, GLANCE, KEY, PATIENCE, folder, has_ended};

/// How often the local stack is killed.
const KILLS: u64 = 25;

const HEADER: &str = "account_id,client_member_id,first_name,last_name,phone_number\n";

/// Requests that a receiver got.
type Received = Arc<Mutex<Vec<Value>>>;

/// Receives events at a URL. It responds to every third request with an error.
async fn receiver() -> (String, Received) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let url = format!(
        "http://{}/events",
        listener.local_addr().expect("an address")
    );
    let received = Received::default();
    let all = Arc::clone(&received);
    tokio::spawn(async move {
        let mut requests = 0;
        while let Ok((stream, _)) = listener.accept().await {
            requests += 1;
            let is_error = requests % 3 == 0;
            if let Some(event) = answer(stream, is_error).await.filter(|_| !is_error) {
                all.lock().expect("a list").push(event);
            }
        }
    });
    (url, received)
}

/// Reads a request, responds, and closes the connection. Returns the body.
async fn answer(stream: TcpStream, is_error: bool) -> Option<Value> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let status = if is_error { "503 Busy" } else { "200 OK" };
    let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(response.as_bytes()).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Creates a batch with a small file; every third one is cancelled instead. Returns its id, or `None` if a request failed
/// before it was known.
async fn begin(api: &Api, number: u64) -> String {
    let answer = api.request(Method::POST, "/api/members/batch").send().await;
    let opened: Value = answer.expect("an answer").json().await.expect("JSON");
    let id = opened["batch_id"].as_str().expect("an id").to_owned();
    if number.is_multiple_of(3) {
        return id;
    }
    let row = |row| format!("4,c{number}-{row},Ann,Lee,714555{row:04}\n");
    let rows: String = (0..50).map(row).collect();
    let put = api
        .http
        .put(opened["upload"]["url"].as_str().expect("a URL"));
    let put = put.header("content-type", "text/csv");
    let sent = put.body(format!("{HEADER}{rows}")).send().await;
    assert_eq!(sent.expect("an answer").status(), StatusCode::OK);
    id
}

#[tokio::test]
async fn no_event_is_lost_by_kills_around_the_end_of_batches() {
    let folder = folder();
    let folder = folder.path();
    let (url, received) = receiver().await;
    let arguments = ["--key", KEY, "--events-to", &url];
    let mut dev = Dev::start(folder, &arguments);
    let (port, api) = (dev.port, Api::new(&dev, KEY));
    let random = &mut Rng::with_seed(25);
    let mut cancelled = BTreeSet::new();
    let mut ids = Vec::new();
    for kill in 1..=KILLS {
        let id = begin(&api, kill).await;
        let path = format!("/api/members/batch/{id}");
        if kill.is_multiple_of(3) {
            // The response may be lost.
            let cancelling = tokio::spawn(api.request(Method::DELETE, &path).send());
            tokio::time::sleep(Duration::from_millis(random.u64(..12))).await;
            dev.process.kill();
            let _ = cancelling.await;
            cancelled.insert(id.clone());
        } else {
            // A batch of this size takes some 30 ms.
            tokio::time::sleep(Duration::from_millis(random.u64(..60))).await;
            dev.process.kill();
        }
        ids.push(id);
        dev = Dev::start_on(port, folder, &arguments).expect("it starts again");
        for id in &cancelled {
            // As a client does that got no response.
            let path = format!("/api/members/batch/{id}");
            let answer = api.request(Method::DELETE, &path).send().await;
            let status = answer.expect("an answer").status();
            assert!([200, 409].contains(&status.as_u16()), "{status}");
        }
        cancelled.clear();
    }
    let mut ended = BTreeMap::new();
    for id in &ids {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let batch = api.get(&format!("/api/members/batch/{id}")).await;
            if has_ended(&batch) {
                ended.insert(id.as_str(), batch);
                break;
            }
            assert!(Instant::now() < deadline, "{batch:#}");
            tokio::time::sleep(GLANCE).await;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let log = folder.join("data/events.jsonl");
    let (logged, got) = loop {
        let text = fs::read_to_string(&log).expect("a log");
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        let logged: Vec<Value> = text.lines().map(parse).collect();
        let got = received.lock().expect("a list").clone();
        let with_event: BTreeSet<&str> = logged
            .iter()
            .filter_map(|event| event["detail"]["batch_id"].as_str())
            .collect();
        let is_complete = ended.keys().all(|id| with_event.contains(id));
        if is_complete && logged.iter().all(|event| got.contains(event)) {
            break (logged, got);
        }
        assert!(
            Instant::now() < deadline,
            "{} of {} batches have an event, and {} of {} events were received",
            with_event.len(),
            ended.len(),
            got.len(),
            logged.len()
        );
        tokio::time::sleep(GLANCE).await;
    };
    for event in &logged {
        let detail = &event["detail"];
        let batch = &ended[detail["batch_id"].as_str().expect("an id")];
        for field in ["status", "rows", "finished_at", "attempts"] {
            assert_eq!(detail[field], batch[field], "{field} of {detail:#}");
        }
    }
    // Each event once, but for those whose confirmation was lost by a kill.
    assert!(got.len() <= logged.len() + usize::try_from(KILLS).expect("few"));
}
