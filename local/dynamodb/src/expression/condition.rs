//! Evaluates conditions on items.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::ast::{Comparison, Condition, Operand};
use super::path::read_path;
use crate::value::{Item, Number, Value};

/// Returns whether `item` meets `condition`. A comparison with an absent attribute is false, except
/// `<>`.
pub(crate) fn evaluate(condition: &Condition, item: &Item, values: &[Value]) -> bool {
    let read = |operand| read_operand(operand, item, values);
    match condition {
        Condition::Compare(comparison, left, right) => match (read(left), read(right)) {
            (Some(left), Some(right)) => compare(*comparison, &left, &right),
            // An absent attribute differs from everything.
            _ => *comparison == Comparison::NotEqual,
        },
        Condition::Between(value, low, high) => {
            let (Some(value), Some(low), Some(high)) = (read(value), read(low), read(high)) else {
                return false;
            };
            compare(Comparison::GreaterOrEqual, &value, &low)
                && compare(Comparison::LessOrEqual, &value, &high)
        }
        Condition::In(value, options) => read(value).is_some_and(|value| {
            options
                .iter()
                .any(|option| read(option).is_some_and(|option| *value == *option))
        }),
        Condition::Exists(path) => read_path(item, path).is_some(),
        Condition::NotExists(path) => read_path(item, path).is_none(),
        Condition::HasType(path, kind) => match (read_path(item, path), read(kind)) {
            (Some(value), Some(kind)) => *kind == Value::S(value.type_name().to_owned()),
            _ => false,
        },
        Condition::BeginsWith(value, prefix) => match (read(value), read(prefix)) {
            (Some(value), Some(prefix)) => match (&*value, &*prefix) {
                (Value::S(value), Value::S(prefix)) => value.starts_with(prefix),
                (Value::B(value), Value::B(prefix)) => value.starts_with(prefix),
                _ => false,
            },
            _ => false,
        },
        Condition::Contains(value, part) => match (read(value), read(part)) {
            (Some(value), Some(part)) => contains(&value, &part),
            _ => false,
        },
        Condition::And(left, right) => {
            evaluate(left, item, values) && evaluate(right, item, values)
        }
        Condition::Or(left, right) => evaluate(left, item, values) || evaluate(right, item, values),
        Condition::Not(inner) => !evaluate(inner, item, values),
    }
}

fn read_operand<'a>(
    operand: &'a Operand,
    item: &'a Item,
    values: &'a [Value],
) -> Option<Cow<'a, Value>> {
    match operand {
        Operand::Path(path) => read_path(item, path).map(Cow::Borrowed),
        Operand::Value(value) => Some(Cow::Borrowed(value)),
        Operand::Parameter(at) => values.get(*at).map(Cow::Borrowed),
        Operand::Size(inner) => {
            let size = match &*read_operand(inner, item, values)? {
                Value::S(text) => text.len(),
                Value::B(bytes) => bytes.len(),
                Value::L(values) => values.len(),
                Value::M(map) => map.len(),
                Value::Ss(texts) => texts.len(),
                Value::Ns(numbers) => numbers.len(),
                Value::Bs(all) => all.len(),
                Value::N(_) | Value::Bool(_) | Value::Null => return None,
            };
            Some(Cow::Owned(Value::N(Number::from(size))))
        }
    }
}

/// Compares two values. Values of different types have no order.
pub(crate) fn compare(comparison: Comparison, left: &Value, right: &Value) -> bool {
    match comparison {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => order(left, right) == Some(Ordering::Less),
        Comparison::Greater => order(left, right) == Some(Ordering::Greater),
        Comparison::LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
        Comparison::GreaterOrEqual => order(left, right).is_some_and(Ordering::is_ge),
    }
}

/// Returns the order of two values, if their type has one.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::S(left), Value::S(right)) => Some(left.cmp(right)),
        (Value::N(left), Value::N(right)) => Some(left.cmp(right)),
        (Value::B(left), Value::B(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::S(value), Value::S(part)) => value.contains(part.as_str()),
        (Value::B(value), Value::B(part)) => {
            part.is_empty() || value.windows(part.len()).any(|window| window == part)
        }
        (Value::Ss(texts), Value::S(part)) => texts.contains(part),
        (Value::Ns(numbers), Value::N(part)) => numbers.contains(part),
        (Value::Bs(all), Value::B(part)) => all.contains(part),
        (Value::L(values), part) => values.contains(part),
        _ => false,
    }
}
