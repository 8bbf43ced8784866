//! The engine of the local stack: expressions, statements, numbers, items, and whole calls.

use std::sync::OnceLock;

use mpulse_dynamodb::Engine;
use mpulse_dynamodb::fuzz::{self, Kind};
use serde_json::Value;
use tempfile::TempDir;

use crate::pieces::choice;

/// Expressions, whose last byte chooses their kind.
pub fn expression(input: &[u8]) {
    let (seed, text) = choice(input);
    let kinds = [
        Kind::Condition,
        Kind::KeyCondition,
        Kind::Projection,
        Kind::Update,
    ];
    if let Ok(text) = std::str::from_utf8(text) {
        fuzz::expression(kinds[usize::from(seed) % kinds.len()], text);
    }
}

/// `PartiQL` statements.
pub fn statement(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        fuzz::statement(text);
    }
}

/// Two numbers with a space between them.
pub fn number(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        let (first, second) = text.split_once(' ').unwrap_or((text, text));
        fuzz::numbers(first, second);
    }
}

/// Items: of JSON if they begin with a brace, or else of bytes of the store.
pub fn item(input: &[u8]) {
    if input.first() == Some(&b'{') {
        fuzz::item_of_json(input);
    } else {
        fuzz::item_of_bytes(input);
    }
}

/// The operations that change no table: those take long.
const OPERATIONS: [&str; 12] = [
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "DeleteItem",
    "ExecuteStatement",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
];

const TABLE: &str = r#"{"TableName": "tab", "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}, {"AttributeName": "s", "AttributeType": "N"},
        {"AttributeName": "g", "AttributeType": "B"}],
    "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
    "GlobalSecondaryIndexes": [{"IndexName": "idx", "Projection": {"ProjectionType": "ALL"},
        "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}]}]}"#;

/// Calls, each a line with the first letters of an operation and its body. The responses are JSON, and none is an internal
/// error.
pub fn calls(input: &[u8]) {
    for line in input.split(|&byte| byte == b'\n').take(8) {
        let end = line.iter().position(|&byte| byte == b' ').unwrap_or(0);
        let (name, body) = line.split_at(end);
        let named = |operation: &&&str| !name.is_empty() && operation.as_bytes().starts_with(name);
        let Some(operation) = OPERATIONS.iter().find(named) else {
            return;
        };
        let response = engine().call(operation, body.trim_ascii());
        let text = String::from_utf8_lossy(&response.body);
        assert!(matches!(response.status, 200 | 400), "{operation}: {text}");
        serde_json::from_str::<Value>(&text).expect("JSON");
    }
}

/// Returns an engine with a table. What earlier inputs have stored stays in it.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<(TempDir, Engine)> = OnceLock::new();
    let (_, engine) = ENGINE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::open(folder.path()).expect("an engine");
        assert_eq!(engine.call("CreateTable", TABLE.as_bytes()).status, 200);
        (folder, engine)
    });
    engine
}
