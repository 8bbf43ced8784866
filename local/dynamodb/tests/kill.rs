//! An acknowledged write survives a killed process, with its index entries; a rejected write is
//! not there.
//!
//! The test runs itself as a child, which writes and prints a line for each acknowledged write,
//! and kills it again and again. `KILLS` sets how often.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use mpulse_dynamodb::Engine;
use serde_json::{Value, json};

const KILLS_BY_DEFAULT: u64 = 1000;
/// Kills after which the folder is opened here and looked through, and another one is started.
const KILLS_PER_FOLDER: u64 = 50;
/// Folders at once.
const THREADS: usize = 2;
/// The most acknowledged writes before a kill.
const MAX_WRITES: u64 = 40;

const FOLDER: &str = "KILL_TEST_FOLDER";
const FIRST: &str = "KILL_TEST_FIRST";
const ACKNOWLEDGED: &str = "acknowledged ";

/// A phone number that no other write uses.
fn phone(write: u64) -> String {
    format!(
        "+{:012}",
        write.wrapping_mul(0x9e37_79b9) % 1_000_000_000_000
    )
}

fn key(write: u64) -> Value {
    json!({"account_id": {"S": "a"}, "id": {"S": format!("{write:08}")}})
}

/// What write number `write` changes: the item's number, and the phone it has then.
///
/// Of four writes two add an item, one changes the second's phone, and one deletes the first.
fn change(write: u64) -> (u64, Option<String>) {
    match write % 4 {
        0 | 1 => (write, Some(phone(write))),
        2 => (write - 1, Some(phone(write))),
        _ => (write - 3, None),
    }
}

fn call(engine: &Engine, operation: &str, body: &Value) -> (u16, Value) {
    let response = engine.call(operation, body.to_string().as_bytes());
    let body = serde_json::from_slice(&response.body).expect("an answer is JSON");
    (response.status, body)
}

fn done(engine: &Engine, operation: &str, body: &Value) -> Value {
    let (status, answer) = call(engine, operation, body);
    assert_eq!(status, 200, "{operation}: {answer}");
    answer
}

fn create_table(engine: &Engine) {
    let index = |name: &str, attribute: &str| {
        json!({
            "IndexName": name,
            "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        })
    };
    let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let attributes = ["account_id", "id", "phone"].map(attribute);
    let table = json!({
        "TableName": "members",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes,
        "KeySchema": [
            {"AttributeName": "account_id", "KeyType": "HASH"},
            {"AttributeName": "id", "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [index("by-phone", "phone"), index("by-id", "id")],
    });
    done(engine, "CreateTable", &table);
}

/// Carries out a write, which may have been carried out before.
fn write(engine: &Engine, write: u64) {
    let (number, phone) = change(write);
    let mut item = key(number);
    match (write % 4, phone) {
        (0, Some(phone)) => {
            item["phone"] = json!({"S": phone});
            let put = json!({"PutRequest": {"Item": item}});
            done(
                engine,
                "BatchWriteItem",
                &json!({"RequestItems": {"members": [put]}}),
            );
        }
        (1, Some(phone)) => {
            let statement = json!({
                "Statement": "INSERT INTO members VALUE {'account_id': ?, 'id': ?, 'phone': ?}",
                "Parameters": [item["account_id"], item["id"], {"S": phone}],
            });
            let answer = done(
                engine,
                "BatchExecuteStatement",
                &json!({"Statements": [statement]}),
            );
            let code = &answer["Responses"][0]["Error"]["Code"];
            assert!(code.is_null() || code == "DuplicateItem", "{answer}");
        }
        (_, Some(phone)) => {
            let update = json!({
                "TableName": "members",
                "Key": item,
                "UpdateExpression": "SET phone = :p",
                "ConditionExpression": "attribute_exists(id)",
                "ExpressionAttributeValues": {":p": {"S": phone}},
            });
            done(engine, "UpdateItem", &update);
        }
        (_, None) => {
            done(
                engine,
                "DeleteItem",
                &json!({"TableName": "members", "Key": item}),
            );
        }
    }
}

/// Tries to write over an item that exists. It must be rejected.
fn write_refused(engine: &Engine, number: u64) {
    let mut item = key(number);
    item["phone"] = json!({"S": "refused"});
    let put = json!({
        "TableName": "members",
        "Item": item,
        "ConditionExpression": "attribute_not_exists(id)",
    });
    let (status, answer) = call(engine, "PutItem", &put);
    assert_eq!(status, 400, "{answer}");
}

/// The child: writes on and on. Does nothing where it isn't one.
#[test]
fn child_that_writes() {
    let (Ok(folder), Ok(first)) = (env::var(FOLDER), env::var(FIRST)) else {
        return;
    };
    let first: u64 = first.parse().expect("a number");
    let engine = Engine::open(folder).expect("the folder opens");
    for number in first.. {
        write(&engine, number);
        println!("{ACKNOWLEDGED}{number}");
        if number % 4 == 1 {
            write_refused(&engine, number);
        }
    }
}

/// Starts a child at write number `first`, and kills it after so many more. Gives the number of
/// the first write that was not acknowledged.
fn run_and_kill(folder: &Path, first: u64, writes: u64) -> u64 {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args([
            "child_that_writes",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let mut next = first;
    for line in output.lines() {
        let line = line.expect("a line");
        // The first line has the test's name before it.
        if let Some((_, number)) = line.split_once(ACKNOWLEDGED) {
            next = number.trim().parse::<u64>().expect("a number") + 1;
            if next == first + writes {
                child.kill().expect("it can be killed");
            }
        }
    }
    child.wait().expect("it ends");
    assert!(
        next >= first + writes,
        "the child ended by itself at {next}"
    );
    next
}

/// Looks through the folder after all writes before `next`, and maybe `next` itself.
fn check(folder: &Path, next: u64) {
    let mut wanted: BTreeMap<String, Option<String>> = BTreeMap::new();
    for write in 0..next {
        let (number, phone) = change(write);
        wanted.insert(format!("{number:08}"), phone);
    }
    let (number, phone) = change(next);
    let maybe = (format!("{number:08}"), phone);

    let engine = Engine::open(folder).expect("the folder opens");
    let all = |index: Option<&str>| {
        let mut found = BTreeMap::new();
        let mut start = Value::Null;
        loop {
            let scan =
                json!({"TableName": "members", "IndexName": index, "ExclusiveStartKey": start});
            let page = done(&engine, "Scan", &scan);
            for item in page["Items"].as_array().expect("items") {
                let text = |name: &str| item[name]["S"].as_str().expect("a text").to_owned();
                let before = found.insert(text("id"), text("phone"));
                assert_eq!(before, None, "an item has two entries in {index:?}");
            }
            start = page["LastEvaluatedKey"].clone();
            if start.is_null() {
                return found;
            }
        }
    };
    let items = all(None);
    assert_eq!(
        items,
        all(Some("by-phone")),
        "an index has other items than the table"
    );
    assert_eq!(
        items,
        all(Some("by-id")),
        "an index has other items than the table"
    );
    for (id, phone) in &wanted {
        let found = items.get(id);
        let is_maybe = maybe.0 == *id && maybe.1.as_ref() == found;
        assert!(
            found == phone.as_ref() || is_maybe,
            "{id}: {found:?} instead of {phone:?}"
        );
    }
    for id in items.keys() {
        assert!(
            wanted.contains_key(id) || *id == maybe.0,
            "{id} was never written"
        );
    }
    // By key as well: a scan doesn't look keys up.
    for (id, phone) in items.iter().rev().take(100) {
        let query = json!({
            "TableName": "members",
            "IndexName": "by-phone",
            "KeyConditionExpression": "phone = :p",
            "ExpressionAttributeValues": {":p": {"S": phone}},
        });
        let answer = done(&engine, "Query", &query);
        assert_eq!(answer["Items"][0]["id"]["S"], **id, "{answer}");
    }
}

#[test]
fn what_was_acknowledged_survives_kills() {
    let kills = env::var("KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills: u64 = kills.unwrap_or(KILLS_BY_DEFAULT);
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let round = rounds.fetch_add(1, Ordering::Relaxed);
                    if round * KILLS_PER_FOLDER >= kills {
                        return;
                    }
                    kill_in_one_folder(round);
                }
            });
        }
    });
}

fn kill_in_one_folder(round: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    create_table(&Engine::open(folder.path()).expect("the folder opens"));
    let mut next = 0;
    let mut random = 0x2545_f491_4f6c_dd1d_u64.wrapping_add(round);
    for _ in 0..KILLS_PER_FOLDER {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        next = run_and_kill(folder.path(), next, 1 + random % MAX_WRITES);
    }
    check(folder.path(), next);
}
