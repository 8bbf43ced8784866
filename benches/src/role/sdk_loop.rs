//! The bare SDK loop: items prepared in advance, sent with BatchWriteItem of 25 through the
//! unmodified SDK, with as many requests in flight as ingest has at most, and nothing else. No
//! function that writes through the SDK can cost less.
//!

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use mpulse_shared::setup::Setup;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::figures::Figures;
use crate::ground::Ground;
use crate::process::{cpu_seconds, memory};

/// The hidden subcommand of this role.
pub const ROLE: &str = "role-sdk-loop";

/// The maximum number of items of one BatchWriteItem (an AWS limit).
const ITEMS: u64 = 25;

/// Requests in flight: the maximum of ingest's limiter.
const IN_FLIGHT: usize = 64;

/// Rows prepared before they are sent: sending takes much longer than the clock's tick of 10 ms,
/// and they fit into memory.
const CHUNK: u64 = 50_000;

/// Runs the loop in its own process.
///
/// # Errors
/// Returns an error if it fails.
pub async fn measure(ground: &Ground, rows: u64) -> Result<Figures, Error> {
    ground.table.take_asked();
    let output = Command::new(std::env::current_exe()?)
        .args([ROLE, &rows.to_string()])
        .env_clear()
        .envs(&ground.environment)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("the SDK loop ended: {}", output.status).into());
    }
    let asked = ground.table.take_asked();
    if asked.writes != rows {
        return Err(format!("the SDK loop sent {} of {rows} rows", asked.writes).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The role: sends, and prints what only the sending has used.
///
/// # Errors
/// Returns an error if a request fails.
pub async fn run(rows: u64) -> Result<(), Error> {
    let setup = Setup::from_process();
    let table = setup.required("MEMBERS_TABLE")?;
    let client = setup.dynamodb()?;
    let (mut cpu, mut wall, mut sent) = (0.0, 0.0, 0);
    while sent < rows {
        let some = CHUNK.min(rows - sent);
        let requests = requests(sent, some, table);
        let (cpu_before, started) = (cpu_seconds("self")?, Instant::now());
        send(&client, requests).await?;
        cpu += cpu_seconds("self")? - cpu_before;
        wall += started.elapsed().as_secs_f64();
        sent += some;
    }
    let figures = Figures {
        what: "bare SDK loop".to_owned(),
        rows,
        requests: rows.div_ceil(ITEMS),
        wall_seconds: wall,
        cpu_seconds: cpu,
        // Most of it is the prepared items.
        peak_rss_bytes: Some(memory("self", "VmHWM")?),
        peak_anon_bytes: None,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

type Request = HashMap<String, Vec<WriteRequest>>;

async fn send(client: &Client, requests: Vec<Request>) -> Result<(), Error> {
    let requests = Arc::new(Mutex::new(requests));
    let mut senders = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, requests) = (client.clone(), Arc::clone(&requests));
        senders.spawn(async move {
            loop {
                let next = requests
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop();
                let Some(request) = next else {
                    return Ok::<_, Error>(());
                };
                client
                    .batch_write_item()
                    .set_request_items(Some(request))
                    .send()
                    .await?;
            }
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    Ok(())
}

/// Returns requests for rows from `first` on.
fn requests(first: u64, rows: u64, table: &str) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut from = first;
    while from < first + rows {
        let to = (from + ITEMS).min(first + rows);
        let writes = (from..to).map(write).collect();
        requests.push(HashMap::from([(table.to_owned(), writes)]));
        from = to;
    }
    requests
}

/// Returns a member with the attributes that ingest writes, of the usual lengths.
fn write(row: u64) -> WriteRequest {
    let time = "2026-11-23T18:06:00.000Z";
    let author = "batch:01KAR9Z8F4X7M3V2T5N6P8QWER";
    let put = [
        ("account_id", "4"),
        ("client_member_id", &(1_000_000_000 + row).to_string()),
        ("first_name", "Josephine"),
        ("last_name", "O'Brien"),
        ("phone_number", &format!("+1714{:07}", row % 10_000_000)),
        ("created_at", time),
        ("updated_at", time),
        ("created_by", author),
        ("updated_by", author),
    ]
    .into_iter()
    .fold(PutRequest::builder(), |put, (name, text)| {
        put.item(name, AttributeValue::S(text.to_owned()))
    })
    .build()
    .expect("a put request has an item");
    WriteRequest::builder().put_request(put).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_a_request_of_at_most_25() {
        let sizes: Vec<usize> = requests(100, 60, "M")
            .iter()
            .map(|r| r["M"].len())
            .collect();
        assert_eq!(sizes, [25, 25, 10]);
    }
}
