//! The operations as a caller sees them: by JSON in, JSON out.

#[path = "operations/batches.rs"]
mod batches;
#[path = "operations/concurrency.rs"]
mod concurrency;
#[path = "operations/expressions.rs"]
mod expressions;
#[path = "operations/indexes.rs"]
mod indexes;
#[path = "operations/limits.rs"]
mod limits;
#[path = "operations/paging.rs"]
mod paging;
#[path = "operations/statements.rs"]
mod statements;

use mpulse_dynamodb::Engine;
use serde_json::{Value, json};

/// An engine on a folder of its own, with a table `things` and its indexes `by-kind` (all
/// attributes), `by-score` (keys only) and `by-note` (an attribute more).
struct Bench {
    engine: Engine,
    _folder: tempfile::TempDir,
}

fn index(name: &str, hash: &str, range: Option<&str>, projection: &Value) -> Value {
    let mut key = vec![json!({"AttributeName": hash, "KeyType": "HASH"})];
    key.extend(range.map(|range| json!({"AttributeName": range, "KeyType": "RANGE"})));
    json!({"IndexName": name, "KeySchema": key, "Projection": projection})
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::open(folder.path()).expect("it opens");
        let bench = Self {
            engine,
            _folder: folder,
        };
        let attribute =
            |(name, kind): (&str, &str)| json!({"AttributeName": name, "AttributeType": kind});
        let attributes = [("p", "S"), ("s", "S"), ("kind", "S"), ("score", "N")].map(attribute);
        bench.done(
            "CreateTable",
            json!({
                "TableName": "things",
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": attributes,
                "KeySchema": [
                    {"AttributeName": "p", "KeyType": "HASH"},
                    {"AttributeName": "s", "KeyType": "RANGE"},
                ],
                "GlobalSecondaryIndexes": [
                    index("by-kind", "kind", Some("score"), &json!({"ProjectionType": "ALL"})),
                    index("by-score", "score", None, &json!({"ProjectionType": "KEYS_ONLY"})),
                    index("by-note", "kind", None, &json!({
                        "ProjectionType": "INCLUDE",
                        "NonKeyAttributes": ["note"],
                    })),
                ],
            }),
        );
        bench
    }

    fn call(&self, operation: &str, body: &Value) -> (u16, Value) {
        let response = self.engine.call(operation, body.to_string().as_bytes());
        let body = serde_json::from_slice(&response.body).expect("an answer is JSON");
        (response.status, body)
    }

    #[expect(clippy::needless_pass_by_value, reason = "bodies are made in place")]
    fn done(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.call(operation, &body);
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// The error's name and message.
    #[expect(clippy::needless_pass_by_value, reason = "bodies are made in place")]
    fn refused(&self, operation: &str, body: Value) -> (String, String) {
        let (status, answer) = self.call(operation, &body);
        assert_eq!(status, 400, "{operation}: {answer}");
        let kind = answer["__type"].as_str().expect("a type");
        let kind = kind.rsplit('#').next().unwrap_or_default().to_owned();
        let message = answer["message"].as_str().or(answer["Message"].as_str());
        (kind, message.unwrap_or_default().to_owned())
    }

    #[expect(clippy::needless_pass_by_value, reason = "items are made in place")]
    fn put(&self, item: Value) {
        self.done("PutItem", json!({"TableName": "things", "Item": item}));
    }

    fn get(&self, p: &str, s: &str) -> Value {
        let get = json!({"TableName": "things", "Key": key(p, s)});
        self.done("GetItem", get)["Item"].clone()
    }
}

fn key(p: &str, s: &str) -> Value {
    json!({"p": {"S": p}, "s": {"S": s}})
}

/// An item with these attributes beside its key.
fn item(p: &str, s: &str, rest: &Value) -> Value {
    let mut item = key(p, s);
    for (name, value) in rest.as_object().expect("attributes") {
        item[name] = value.clone();
    }
    item
}

/// The sort keys of an answer's items.
fn sorts(answer: &Value) -> Vec<&str> {
    let items = answer["Items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["s"]["S"].as_str().expect("a sort key"))
        .collect()
}

const VALIDATION: &str = "ValidationException";
