//! Measures the engine without HTTP: `cargo run --release -p mpulse-dynamodb --example load -- ROWS
//! FOLDER`.
//!
//! Loads members into a table with two indexes, 25 statements a request from two threads, then
//! reads them by key and by index. Requests are made before the clock starts. CPU time is that of
//! the process, with the store's own threads; memory is anonymous memory.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mpulse_dynamodb::Engine;

const THREADS: usize = 2;
const ROWS_PER_REQUEST: usize = 25;
const ROWS_PER_STEP: usize = 100_000;
const ROWS_PER_PART: usize = 5_000;
const READS: usize = 50_000;

const TABLE: &str = r#"{"TableName":"members","BillingMode":"PAY_PER_REQUEST",
    "AttributeDefinitions":[{"AttributeName":"account_id","AttributeType":"S"},
        {"AttributeName":"client_member_id","AttributeType":"S"},
        {"AttributeName":"phone_number","AttributeType":"S"}],
    "KeySchema":[{"AttributeName":"account_id","KeyType":"HASH"},
        {"AttributeName":"client_member_id","KeyType":"RANGE"}],
    "GlobalSecondaryIndexes":[
        {"IndexName":"phone-index","Projection":{"ProjectionType":"ALL"},"KeySchema":[
            {"AttributeName":"phone_number","KeyType":"HASH"},
            {"AttributeName":"account_id","KeyType":"RANGE"}]},
        {"IndexName":"client-member-index","Projection":{"ProjectionType":"ALL"},"KeySchema":[
            {"AttributeName":"client_member_id","KeyType":"HASH"},
            {"AttributeName":"account_id","KeyType":"RANGE"}]}]}"#;

/// A phone number for a row, in no order.
fn phone(row: usize) -> String {
    let mixed = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    format!("+1{:010}", mixed % 10_000_000_000)
}

fn insert(from: usize) -> String {
    let statements: Vec<String> = (from..from + ROWS_PER_REQUEST)
        .map(|row| {
            format!(
                "{{\"Statement\":\"INSERT INTO \\\"members\\\" VALUE {{'account_id': ?, \
                 'client_member_id': ?, 'first_name': ?, 'last_name': ?, 'phone_number': ?, \
                 'created_at': ?, 'updated_at': ?, 'created_by': ?, 'updated_by': ?}}\",\
                 \"Parameters\":[{{\"S\":\"account-1\"}},{{\"S\":\"client-{row:08}\"}},\
                 {{\"S\":\"First{}\"}},{{\"S\":\"Last{}\"}},{{\"S\":\"{}\"}},\
                 {{\"S\":\"2026-10-10T10:10:10.000Z\"}},{{\"S\":\"2026-10-10T10:10:10.000Z\"}},\
                 {{\"S\":\"batch:01ABCDEFGHJKMNPQRSTVWXYZ00\"}},\
                 {{\"S\":\"batch:01ABCDEFGHJKMNPQRSTVWXYZ00\"}}]}}",
                row % 977,
                row % 1013,
                phone(row)
            )
        })
        .collect();
    format!(
        "{{\"Statements\":[{}],\"ReturnConsumedCapacity\":\"TOTAL\"}}",
        statements.join(",")
    )
}

/// Sends all requests from [`THREADS`] threads.
fn send(engine: &Engine, operation: &str, requests: &[String]) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let response = engine.call(operation, request.as_bytes());
                        if response.status != 200 {
                            return Err(String::from_utf8_lossy(&response.body).into_owned());
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".to_owned()))
        })
    })
}

/// Seconds of CPU that the process has used.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

fn anonymous_memory() -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("RssAnon"));
    line.unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .collect()
}

/// Time and CPU that work has taken.
#[derive(Default)]
struct Spent {
    time: Duration,
    cpu_seconds: f64,
}

impl Spent {
    fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let result = work();
        self.time += started.elapsed();
        self.cpu_seconds += cpu_seconds() - cpu;
        result
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn report(&self, what: &str, count: usize) {
        println!(
            "{what}: {:.0} a second, {:.1} µs of CPU each, {}",
            count as f64 / self.time.as_secs_f64(),
            self.cpu_seconds / count as f64 * 1e6,
            anonymous_memory()
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(rows), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: load ROWS FOLDER".into());
    };
    let rows: usize = rows.parse()?;
    if Path::new(&folder).exists() {
        return Err(format!("{folder} exists").into());
    }
    let engine = Engine::open(&folder)?;
    let created = engine.call("CreateTable", TABLE.as_bytes());
    if created.status != 200 {
        return Err(String::from_utf8_lossy(&created.body).into());
    }
    for from in (0..rows).step_by(ROWS_PER_STEP) {
        let to = rows.min(from + ROWS_PER_STEP);
        let mut spent = Spent::default();
        // In parts, so that the requests take little of the memory that is shown.
        for part in (from..to).step_by(ROWS_PER_PART) {
            let rows = part..to.min(part + ROWS_PER_PART);
            let requests: Vec<String> = rows.step_by(ROWS_PER_REQUEST).map(insert).collect();
            spent.on(|| send(&engine, "BatchExecuteStatement", &requests))?;
        }
        spent.report(&format!("rows {from} to {to}"), to - from);
    }
    let row = |read: usize| read.wrapping_mul(7919) % rows;
    let gets: Vec<String> = (0..READS)
        .map(|read| {
            format!(
                "{{\"TableName\":\"members\",\"Key\":{{\"account_id\":{{\"S\":\"account-1\"}},\
                 \"client_member_id\":{{\"S\":\"client-{:08}\"}}}}}}",
                row(read)
            )
        })
        .collect();
    let mut spent = Spent::default();
    spent.on(|| send(&engine, "GetItem", &gets))?;
    spent.report("GetItem", READS);
    let queries: Vec<String> = (0..READS)
        .map(|read| {
            format!(
                "{{\"TableName\":\"members\",\"IndexName\":\"phone-index\",\"Limit\":21,\
                 \"KeyConditionExpression\":\"phone_number = :p\",\
                 \"ExpressionAttributeValues\":{{\":p\":{{\"S\":\"{}\"}}}}}}",
                phone(row(read))
            )
        })
        .collect();
    let mut spent = Spent::default();
    spent.on(|| send(&engine, "Query", &queries))?;
    spent.report("Query of phone-index", READS);
    drop(engine);
    let started = Instant::now();
    drop(Engine::open(&folder)?);
    println!("open again: {:?}", started.elapsed());
    Ok(())
}
