//! DynamoDB requests item by item: which items of a batch are unprocessed, and the response that says so.

use http::header::CONTENT_LENGTH;
use http::{HeaderName, Response, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::access::Access;
use super::handle::Faults;
use super::partitions::Throttling;
use super::random::Random;
use super::refusal::{EXCEEDED, Refusal, THROTTLED, full};
use crate::upstream::Body;

/// What is passed on to the engine.
#[derive(Debug)]
pub(super) enum Filtered {
    /// The whole request.
    Whole,
    /// Nothing; this is the response.
    Nothing(Refusal),
    /// Nothing, because a partition has no units left.
    Throttled(Throttling),
    /// The request without its unprocessed items.
    Part(Option<Value>, Unprocessed),
}

/// The unprocessed items.
#[derive(Debug)]
pub(super) enum Unprocessed {
    /// Writes, by table.
    Items(Map<String, Value>),
    /// Keys with the other fields of a table's entry, by table.
    Keys(Map<String, Value>),
    /// The responses to unprocessed statements, and `None` in place of the others.
    Statements(Vec<Option<Value>>),
}

/// Why an item is unprocessed.
#[derive(Debug)]
pub(super) enum Reason {
    Random,
    OverBudget,
    Partition(Throttling),
}

/// Decides item by item, and counts.
pub(super) struct ItemFilter<'a> {
    pub(super) faults: &'a Faults,
    pub(super) random: Random,
    pub(super) share: f64,
    pub(super) passed: u64,
    pub(super) picked: u64,
    pub(super) over_budget: u64,
    /// Why the first item was throttled by a partition.
    pub(super) throttled: Option<Throttling>,
}

impl ItemFilter<'_> {
    /// Returns why the next item is unprocessed, if it is. `written` is the table that it is
    /// written to, and `access` what it needs of partitions.
    pub(super) fn reject(
        &mut self,
        written: Option<&str>,
        access: impl FnOnce() -> Option<Access>,
    ) -> Option<Reason> {
        if self.random.chance(self.share) {
            self.picked += 1;
            Some(Reason::Random)
        } else if written.is_some_and(|table| !self.faults.grant(table)) {
            self.over_budget += 1;
            Some(Reason::OverBudget)
        } else if let Err(throttling) = self.faults.take(access) {
            self.picked += 1;
            self.throttled.get_or_insert_with(|| throttling.clone());
            Some(Reason::Partition(throttling))
        } else {
            self.passed += 1;
            None
        }
    }
}

/// Removes unprocessed items from the `RequestItems` of a batch, and returns them in the same form:
/// the other fields of a table's entry (such as `ConsistentRead`) are in both.
pub(super) fn filter_tables(
    body: &mut Value,
    filter: &mut ItemFilter<'_>,
    write: bool,
) -> Option<Map<String, Value>> {
    let tables = body.get_mut("RequestItems")?.as_object_mut()?;
    let mut held = Map::new();
    for (table, entry) in tables.iter_mut() {
        let all = std::mem::take(items_of(entry)?);
        let mut back = entry.clone();
        let written = write.then_some(table.as_str());
        let access = |item: &Value| {
            if write {
                Access::of_write_request(table, item)
            } else {
                Access::of_key(table, item, entry)
            }
        };
        let (kept, out) = all
            .into_iter()
            .partition::<Vec<_>, _>(|item| filter.reject(written, || access(item)).is_none());
        *items_of(entry)? = kept;
        *items_of(&mut back)? = out;
        held.insert(table.clone(), back);
    }
    for all in [tables, &mut held] {
        all.retain(|_, entry| items_of(entry).is_some_and(|items| !items.is_empty()));
    }
    Some(held)
}

/// Returns the items of a table's entry in a batch: the entry itself, or its keys.
pub(super) fn items_of(entry: &mut Value) -> Option<&mut Vec<Value>> {
    match entry {
        Value::Array(items) => Some(items),
        entry => entry.get_mut("Keys")?.as_array_mut(),
    }
}

/// Removes unprocessed statements from a batch, and returns the response to each of them.
pub(super) fn filter_statements(
    body: &mut Value,
    filter: &mut ItemFilter<'_>,
) -> Option<Vec<Option<Value>>> {
    let statements = body.get_mut("Statements")?.as_array_mut()?;
    let mut answers = Vec::with_capacity(statements.len());
    statements.retain(|statement| {
        let text = statement.get("Statement").and_then(Value::as_str);
        let table = text.and_then(table_written);
        let answer = filter
            .reject(table, || Access::of_statement(statement))
            .map(|hold| unprocessed_statement(&hold, table));
        let passes = answer.is_none();
        answers.push(answer);
        passes
    });
    Some(answers)
}

/// Returns the response to an unprocessed statement.
pub(super) fn unprocessed_statement(hold: &Reason, table: Option<&str>) -> Value {
    let (code, message) = match hold {
        Reason::Random => ("ThrottlingError", THROTTLED.message),
        Reason::OverBudget => ("ProvisionedThroughputExceeded", EXCEEDED.message),
        Reason::Partition(throttling) => ("ThrottlingError", throttling.message()),
    };
    let mut answer = json!({"Error": {"Code": code, "Message": message}});
    if let Some(table) = table {
        answer["TableName"] = table.into();
    }
    answer
}

/// Returns the table that the body of a single write names.
pub(super) fn written_by(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Write {
        #[serde(rename = "TableName")]
        table: Option<String>,
        #[serde(rename = "Statement")]
        statement: Option<String>,
    }
    let write: Write = serde_json::from_slice(body).ok()?;
    let stated = || table_written(write.statement.as_deref()?).map(str::to_owned);
    write.table.or_else(stated)
}

/// Returns the table that a `PartiQL` statement writes to; `None` if it reads.
pub(super) fn table_written(statement: &str) -> Option<&str> {
    let (verb, rest) = word(statement);
    let target = match verb.to_ascii_uppercase().as_str() {
        "INSERT" | "DELETE" => word(rest).1,
        "UPDATE" => rest,
        _ => return None,
    };
    match target.trim_start().strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(table, _)| table),
        None => Some(word(target).0),
    }
}

/// Returns the first word of a text, and the rest.
pub(super) fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

impl Unprocessed {
    /// Returns the response if nothing was passed on to the engine.
    pub(super) fn alone(self) -> Option<Value> {
        let nothing = match &self {
            Self::Items(_) => json!({}),
            Self::Keys(_) => json!({"Responses": {}}),
            Self::Statements(_) => json!({"Responses": []}),
        };
        self.joined(nothing)
    }

    /// Adds the unprocessed items to the engine's response. A response that cannot be read must not
    /// reach the client, because it would report that everything was processed.
    pub(super) async fn join(self, answer: Response<Body>) -> Option<Response<Body>> {
        if answer.status() != StatusCode::OK {
            return Some(answer);
        }
        let (mut head, body) = answer.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let joined = self.joined(serde_json::from_slice(&body).ok()?)?;
        for outdated in [CONTENT_LENGTH, HeaderName::from_static("x-amz-crc32")] {
            head.headers.remove(outdated);
        }
        Some(Response::from_parts(head, full(joined.to_string().into())))
    }

    /// Returns the response with the unprocessed items; `None` if it has an unexpected form.
    pub(super) fn joined(self, mut answer: Value) -> Option<Value> {
        match self {
            Self::Items(held) => give_back(&mut answer, "UnprocessedItems", held)?,
            Self::Keys(held) => give_back(&mut answer, "UnprocessedKeys", held)?,
            Self::Statements(held) => {
                let responses = answer.get_mut("Responses")?.as_array_mut()?;
                let mut others = std::mem::take(responses).into_iter();
                let all = held.into_iter().map(|held| held.or_else(|| others.next()));
                *responses = all.collect::<Option<_>>()?;
            }
        }
        Some(answer)
    }
}

/// Adds unprocessed items to those that the engine itself returns in this field.
pub(super) fn give_back(answer: &mut Value, field: &str, held: Map<String, Value>) -> Option<()> {
    let tables = answer.as_object_mut()?.entry(field);
    let tables = tables.or_insert_with(|| json!({})).as_object_mut()?;
    for (table, mut back) in held {
        match tables.get_mut(&table) {
            Some(entry) => items_of(entry)?.append(items_of(&mut back)?),
            None => drop(tables.insert(table, back)),
        }
    }
    Some(())
}
