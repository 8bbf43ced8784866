//! What the fuzz targets in `tests/fuzz` call: the parsers and what is made of their results, each checked by its own rules.
//! Nothing else calls it. Each function panics if a rule is broken.

use std::ops::RangeBounds;

use crate::expression::ast::{Condition, Path, Step};
use crate::expression::{
    KeyCondition, NamesAndValues, Parser, Projection, Scope, apply, check_paths, evaluate,
};
use crate::partiql::ast::Verb;
use crate::partiql::{Statements, value_of};
use crate::schema::{KeyAttribute, KeySchema, KeyType};
use crate::storage::{decode, encode, item_key, range_of};
use crate::value::{Item, Number, Value};

/// `ExpressionAttributeNames` of each expression.
const NAMES: &str = r##"{"#p": "p", "#s": "s", "#m": "m", "#l": "l", "#x": "a b"}"##;

/// `ExpressionAttributeValues` of each expression, and the parameters of each statement.
const VALUES: &str = r#"{":p": {"S": "p"}, ":n": {"N": "2"}, ":o": {"N": "10"}, ":s": {"S": "b"}, ":e": {"S": ""},
    ":b": {"B": "AAE="}, ":l": {"L": [{"N": "1"}]}, ":m": {"M": {"a": {"S": "x"}}}, ":ss": {"SS": ["a", "b"]},
    ":ns": {"NS": ["1", "2"]}, ":t": {"BOOL": true}, ":z": {"NULL": true}}"#;

/// The items that expressions read, by the sort keys that they have.
const SORT_KEYS: [&str; 6] = ["-1e-5", "0", "1", "2", "3", "10"];

/// The item that expressions read and change.
const ITEM: &str = r#"{"p": {"S": "p"}, "n": {"N": "2"}, "t": {"S": "abc"}, "b": {"B": "AAEC"},
    "l": {"L": [{"N": "1"}, {"M": {"a": {"S": "x"}}}, {"L": [{"NULL": true}]}]},
    "m": {"M": {"a": {"N": "1"}, "b": {"M": {"c": {"S": "y"}}}}}, "a b": {"BOOL": false},
    "ss": {"SS": ["a", "c"]}, "ns": {"NS": ["1", "3"]}, "bs": {"BS": ["AA=="]}, "z": {"NULL": true}}"#;

/// An expression's kind.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A condition or a filter.
    Condition,
    /// The key condition of a Query.
    KeyCondition,
    /// A projection.
    Projection,
    /// An update.
    Update,
}

fn scope() -> Scope<'static> {
    let given = NamesAndValues {
        names: serde_json::from_str(NAMES).ok(),
        values: serde_json::from_str(VALUES).ok(),
    };
    Scope::new(given, true).expect("valid names and values")
}

fn item() -> Item {
    serde_json::from_str(ITEM).expect("an item")
}

/// Parses an expression, and applies it to an item. A key condition selects the keys of exactly the items that it is true for.
pub fn expression(kind: Kind, text: &str) {
    let scope = scope();
    let parser = |role| Parser::new(text, role, &scope);
    match kind {
        Kind::Condition => {
            if let Ok(condition) = parser("ConditionExpression").and_then(Parser::condition) {
                check_condition(&condition, &item(), &scope.values);
            }
        }
        Kind::KeyCondition => {
            let parsed = parser("KeyConditionExpression").and_then(Parser::condition);
            if let Ok(condition) = parsed {
                check_key_condition(&condition, &scope.values);
            }
        }
        Kind::Projection => {
            if let Ok(paths) = parser("ProjectionExpression").and_then(Parser::projection) {
                check_projection(&paths);
            }
        }
        Kind::Update => {
            if let Ok(actions) = parser("UpdateExpression").and_then(Parser::update)
                && check_paths(&actions).is_ok()
                && let Ok(after) = apply(&actions, &item(), &scope.values)
            {
                check_item(&after);
            }
        }
    }
}

fn check_condition(condition: &Condition, item: &Item, values: &[Value]) {
    let is_met = evaluate(condition, item, values);
    let not = Condition::Not(Box::new(condition.clone()));
    assert_ne!(evaluate(&not, item, values), is_met);
}

fn check_key_condition(condition: &Condition, values: &[Value]) {
    let attribute = |name: &str, kind| KeyAttribute {
        name: name.to_owned(),
        kind,
    };
    let key = KeySchema {
        hash: attribute("p", KeyType::S),
        range: Some(attribute("s", KeyType::N)),
    };
    let Ok(keys) = KeyCondition::new(condition.clone(), &key, values) else {
        return;
    };
    let range = range_of(&keys.hash, keys.range.as_ref());
    for number in SORT_KEYS {
        let mut item = Item::default();
        item.insert("p", Value::S("p".to_owned()));
        item.insert("s", Value::N(number.parse().expect("a number")));
        let is_in_range = range.contains(&item_key(&key, &item));
        assert_eq!(is_in_range, evaluate(condition, &item, values), "{number}");
    }
}

fn check_projection(paths: &[Path]) {
    let projection = Projection::new(paths);
    let part = projection.apply(&item());
    check_item(&part);
    let has_index = |path: &Path| path.0.iter().any(|step| matches!(step, Step::Index(_)));
    // What is left of a list has other indexes.
    if !paths.iter().any(has_index) {
        assert_eq!(projection.apply(&part), part);
    }
}

/// Parses a statement, and applies it to an item.
pub fn statement(text: &str) {
    let Ok(statement) = Statements::default().get(text) else {
        return;
    };
    let values = scope().values;
    let item = item();
    let where_clause = match &statement.verb {
        Verb::Insert(attributes) => {
            let attributes = attributes
                .iter()
                .map(|(name, content)| Ok((name.clone(), value_of(content, &values)?)));
            if let Ok(attributes) = attributes.collect::<crate::error::Result<_>>() {
                check_item(&Item::from_unsorted(attributes));
            }
            return;
        }
        Verb::Select(paths, condition) => {
            check_item(&Projection::new(paths).apply(&item));
            condition
        }
        Verb::Update(actions, condition, _) => {
            if check_paths(actions).is_ok()
                && let Ok(after) = apply(actions, &item, &values)
            {
                check_item(&after);
            }
            condition
        }
        Verb::Delete(condition, _) => condition,
    };
    if let Some(condition) = where_clause {
        check_condition(condition, &item, &values);
    }
}

/// An item that is stored, or sent, is read as it was.
fn check_item(item: &Item) {
    assert_eq!(decode(&encode(item)).as_ref(), Some(item));
    let json = serde_json::to_string(item).expect("JSON");
    // Empty names and nesting beyond that of JSON are rejected where they are received.
    if let Ok(read) = serde_json::from_str::<Item>(&json) {
        assert_eq!(read, *item, "{json}");
    }
    // It is computed without overflow.
    let _ = item.size();
}

/// Reads an item from the protocol's JSON.
pub fn item_of_json(json: &[u8]) {
    let Ok(item) = serde_json::from_slice::<Item>(json) else {
        return;
    };
    check_item(&item);
    let written = serde_json::to_vec(&item).expect("JSON");
    let read = serde_json::from_slice::<Item>(&written).expect("an item");
    assert_eq!(read, item);
}

/// Reads an item from bytes of the store.
pub fn item_of_bytes(bytes: &[u8]) {
    if let Some(item) = decode(bytes) {
        assert_eq!(decode(&encode(&item)), Some(item));
    }
}

/// Reads two numbers, and compares and adds them.
pub fn numbers(first: &str, second: &str) {
    let (Some(a), Some(b)) = (number(first), number(second)) else {
        return;
    };
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    assert_eq!(a.cmp(&b), sortable(a).cmp(&sortable(b)), "{a} {b}");
    assert_eq!(a == b, a.to_string() == b.to_string(), "{a} {b}");
    assert_eq!(a.add(b), b.add(a), "{a} + {b}");
    let zero: Number = "0".parse().expect("zero");
    assert_eq!(a.subtract(a), Ok(zero));
    if let Ok(sum) = a.add(b) {
        assert_eq!(sum.subtract(b), Ok(a), "{a} + {b} - {b}");
        assert_eq!(sum.cmp(&a), b.cmp(&zero), "{a} + {b}");
    }
    assert_eq!(
        a.subtract(b).ok(),
        b.subtract(a).ok().and_then(|d| zero.subtract(d).ok())
    );
}

fn number(text: &str) -> Option<Number> {
    let number: Number = text.parse().ok()?;
    assert_eq!(number.to_string().parse(), Ok(number), "{text}");
    let mut item = Item::default();
    item.insert("n", Value::N(number));
    check_item(&item);
    // 38 digits in pairs on both sides of the point, one byte more, and one for the sign.
    assert!((1..=22).contains(&number.size()), "{text}");
    if let Some(seconds) = number.to_i64() {
        let whole: Number = seconds.to_string().parse().expect("a number");
        assert!(
            number
                .subtract(whole)
                .is_ok_and(|rest| rest < one() && one_below() < rest)
        );
    }
    Some(number)
}

fn one() -> Number {
    Number::from(1_usize)
}

fn one_below() -> Number {
    "-1".parse().expect("a number")
}

fn sortable(number: Number) -> Vec<u8> {
    let mut bytes = Vec::new();
    number.write_sortable(&mut bytes);
    bytes
}
