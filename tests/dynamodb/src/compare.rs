//! Whether two responses are the same: errors by their type, results by their content, without regard to the order
//! of what has none (sets, the items of a scan, the items of a batch).

use serde_json::{Map, Value};

use crate::engines::Response;
use crate::requests::Request;

/// Returns a description of the difference between two responses to a request, or `None` if they are the same.
#[must_use]
pub fn difference(request: &Request, one: &Response, other: &Response) -> Option<String> {
    if one.status != other.status {
        return Some(format!("status {} and {}", one.status, other.status));
    }
    if one.status != 200 {
        let (one, other) = (error(one), error(other));
        return (one != other).then(|| format!("{one:?} and {other:?}"));
    }
    let (one, other) = (normal(request, &one.body), normal(request, &other.body));
    (one != other).then(|| format!("{one}\nand\n{other}"))
}

/// An error's type without its namespace, and the item that a failed condition returns.
fn error(response: &Response) -> (String, Value) {
    let kind = response.body["__type"].as_str().unwrap_or_default();
    let kind = kind.rsplit('#').next().unwrap_or_default();
    (kind.to_owned(), sorted_sets(&response.body["Item"]))
}

fn normal(request: &Request, body: &Value) -> Value {
    let mut body = sorted_sets(body);
    if let Value::Object(body) = &mut body {
        // Tables report sizes and counts with a delay of hours on AWS.
        body.remove("TableDescription");
        body.remove("ItemCollectionMetrics");
        if request.operation == "Scan"
            && let Some(items) = body.get_mut("Items")
        {
            sort(items);
        }
        if let Some(Value::Object(tables)) = body.get_mut("Responses") {
            for (_, items) in tables {
                sort(items);
            }
        }
        if let Some(Value::Array(statements)) = body.get_mut("Responses") {
            for statement in statements {
                if let Some(Value::Object(error)) = statement.get_mut("Error") {
                    error.remove("Message");
                }
            }
        }
        if body
            .get("UnprocessedItems")
            .is_some_and(|left| left == &Value::Object(Map::new()))
        {
            body.remove("UnprocessedItems");
        }
        if body
            .get("UnprocessedKeys")
            .is_some_and(|left| left == &Value::Object(Map::new()))
        {
            body.remove("UnprocessedKeys");
        }
    }
    body
}

fn sort(items: &mut Value) {
    if let Value::Array(items) = items {
        items.sort_by_key(ToString::to_string);
    }
}

/// The value with the members of sets in order, and capacities as plain numbers.
fn sorted_sets(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| {
                let mut value = sorted_sets(value);
                if matches!(name.as_str(), "SS" | "NS" | "BS") {
                    sort(&mut value);
                }
                (name.clone(), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(array) => array.iter().map(sorted_sets).collect(),
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        other => other.clone(),
    }
}
