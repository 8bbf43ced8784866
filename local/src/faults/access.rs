//! What an item of a request to DynamoDB reads or writes: the attributes that the request names, which decide the
//! partitions that it needs.

use serde_json::{Map, Value};

use super::batches::table_written;
use super::operation::Operation;

/// Attributes of an item, in DynamoDB's JSON.
pub(super) type Image = Map<String, Value>;

/// An access to one item, or to items of one partition key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Access {
    /// A write.
    Write {
        table: String,
        /// What the request says of the item before the write.
        before: Option<Image>,
        /// What the request says of the item after it.
        after: Option<Image>,
    },
    /// A read.
    Read {
        table: String,
        index: Option<String>,
        /// Where the read begins.
        key: Image,
        /// The read units, as far as they are known before.
        units: f64,
    },
}

impl Access {
    pub(super) fn table(&self) -> &str {
        match self {
            Self::Write { table, .. } | Self::Read { table, .. } => table,
        }
    }

    /// Returns the access of a request that is not a batch; `None` if it has no limit.
    pub(super) fn of_request(operation: Operation, body: &Value) -> Option<Self> {
        let table = || Some(body.get("TableName")?.as_str()?.to_owned());
        match operation {
            Operation::Statement => Self::of_statement(body),
            Operation::Write => {
                let key = image(body.get("Key"));
                Some(Self::Write {
                    table: table()?,
                    after: image(body.get("Item")).or_else(|| key.clone()),
                    before: key,
                })
            }
            Operation::Read => Some(Self::Read {
                table: table()?,
                index: None,
                key: image(body.get("Key"))?,
                units: read_units(body),
            }),
            Operation::Query => Some(Self::Read {
                table: table()?,
                index: body.get("IndexName").and_then(text),
                key: image(body.get("ExclusiveStartKey")).or_else(|| queried(body))?,
                units: 0.0,
            }),
            _ => None,
        }
    }

    /// Returns the access of an element of `BatchWriteItem`.
    pub(super) fn of_write_request(table: &str, request: &Value) -> Option<Self> {
        let part = |request: &Value, name: &str| image(request.get(name));
        let after = request.get("PutRequest").and_then(|put| part(put, "Item"));
        let delete = request.get("DeleteRequest");
        let before = delete.and_then(|delete| part(delete, "Key"));
        (after.is_some() || before.is_some()).then(|| Self::Write {
            table: table.to_owned(),
            before,
            after,
        })
    }

    /// Returns the access of a key of `BatchGetItem`, whose table has this entry.
    pub(super) fn of_key(table: &str, key: &Value, entry: &Value) -> Option<Self> {
        Some(Self::Read {
            table: table.to_owned(),
            index: None,
            key: image(Some(key))?,
            units: read_units(entry),
        })
    }

    /// Returns the access of a `PartiQL` statement; `None` if it reads.
    pub(super) fn of_statement(statement: &Value) -> Option<Self> {
        let text = statement.get("Statement")?.as_str()?;
        let parameters = statement.get("Parameters").and_then(Value::as_array);
        let (set, conditions) = assignments(text, parameters.map_or(&[], Vec::as_slice));
        let verb = text.trim_start().get(..6)?.to_ascii_uppercase();
        let (before, after) = match verb.as_str() {
            "INSERT" => (None, Some(set)),
            "UPDATE" => {
                let mut after = conditions.clone();
                after.extend(set);
                (Some(conditions), Some(after))
            }
            _ => (Some(conditions), None),
        };
        Some(Self::Write {
            table: table_written(text)?.to_owned(),
            before,
            after,
        })
    }
}

fn image(value: Option<&Value>) -> Option<Image> {
    value?.as_object().cloned()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Returns the read units of an item of at most 4 KB.
fn read_units(request: &Value) -> f64 {
    let is_consistent = request.get("ConsistentRead").and_then(Value::as_bool);
    if is_consistent == Some(true) {
        1.0
    } else {
        0.5
    }
}

/// Returns the attributes that the key condition of a query compares by `=`.
fn queried(body: &Value) -> Option<Image> {
    let names = body.get("ExpressionAttributeNames");
    let values = body.get("ExpressionAttributeValues")?;
    let condition = body.get("KeyConditionExpression")?.as_str()?;
    let mut equal = Image::new();
    for part in condition
        .split(" AND ")
        .flat_map(|part| part.split(" and "))
    {
        if let Some((name, value)) = part.split_once('=') {
            let name = name.trim();
            let replaced = names.and_then(|names| names.get(name)).and_then(text);
            let value = values.get(value.trim())?.clone();
            equal.insert(replaced.unwrap_or_else(|| name.to_owned()), value);
        }
    }
    Some(equal)
}

/// Returns the parameters of a `PartiQL` statement by the attribute that each follows: those before `WHERE`, and those after
/// it.
fn assignments(statement: &str, parameters: &[Value]) -> (Image, Image) {
    let (mut set, mut conditions) = (Image::new(), Image::new());
    let (mut name, mut is_condition) = (String::new(), false);
    let mut parameters = parameters.iter();
    let is_boundary = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-' || c == '?');
    for word in statement.split(is_boundary).filter(|word| !word.is_empty()) {
        if word == "?" {
            let Some(value) = parameters.next() else {
                break;
            };
            let image = if is_condition {
                &mut conditions
            } else {
                &mut set
            };
            image.insert(std::mem::take(&mut name), value.clone());
        } else {
            is_condition |= word.eq_ignore_ascii_case("WHERE");
            word.clone_into(&mut name);
        }
    }
    (set, conditions)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(before: &Value, after: &Value) -> Access {
        Access::Write {
            table: "T".to_owned(),
            before: image(Some(before)),
            after: image(Some(after)),
        }
    }

    #[test]
    fn statements_name_the_item_before_and_after() {
        let nothing = Value::Null;
        let cases = [
            (
                r#"INSERT INTO "T" VALUE {'a-id': ?, 'b': ?}"#,
                json!([{"S": "1"}, {"S": "2"}]),
                Some(write(
                    &nothing,
                    &json!({"a-id": {"S": "1"}, "b": {"S": "2"}}),
                )),
            ),
            (
                r#"update "T" SET b=? SET c = ? WHERE a = ? AND b = ?"#,
                json!([{"S": "new"}, {"S": "c"}, {"S": "1"}, {"S": "old"}]),
                Some(write(
                    &json!({"a": {"S": "1"}, "b": {"S": "old"}}),
                    &json!({"a": {"S": "1"}, "b": {"S": "new"}, "c": {"S": "c"}}),
                )),
            ),
            (
                r#"DELETE FROM "T" WHERE a = ?"#,
                json!([{"S": "1"}]),
                Some(write(&json!({"a": {"S": "1"}}), &nothing)),
            ),
            (
                r#"SELECT * FROM "T" WHERE a = ?"#,
                json!([{"S": "1"}]),
                None,
            ),
        ];
        for (statement, parameters, expected) in cases {
            let request = json!({"Statement": statement, "Parameters": parameters});
            assert_eq!(Access::of_statement(&request), expected, "{statement}");
        }
    }

    #[test]
    fn queries_name_the_place_where_they_begin() {
        let read = |key: &Value| {
            Some(Access::Read {
                table: "T".to_owned(),
                index: Some("i".to_owned()),
                key: key.as_object().expect("a key").clone(),
                units: 0.0,
            })
        };
        let mut query = json!({
            "TableName": "T", "IndexName": "i",
            "KeyConditionExpression": "#p = :p AND begins_with(s, :s)",
            "ExpressionAttributeNames": {"#p": "phone"},
            "ExpressionAttributeValues": {":p": {"S": "+1"}, ":s": {"S": "x"}},
        });
        let access = |query: &Value| Access::of_request(Operation::Query, query);
        assert_eq!(access(&query), read(&json!({"phone": {"S": "+1"}})));
        let start = json!({"phone": {"S": "+1"}, "s": {"S": "xy"}});
        query["ExclusiveStartKey"] = start.clone();
        assert_eq!(access(&query), read(&start));
    }
}
