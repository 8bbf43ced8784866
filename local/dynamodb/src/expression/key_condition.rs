//! Key conditions: the equality on the partition key, and the condition on the sort key.

use super::ast::{Comparison, Condition, Operand, Path};
use crate::error::{ApiError, Result};
use crate::schema::KeySchema;
use crate::value::Value;

/// The key condition of a Query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyCondition {
    pub(crate) hash: Value,
    pub(crate) range: Option<RangeCondition>,
}

/// A condition on the sort key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RangeCondition {
    Compare(Comparison, Value),
    Between(Value, Value),
    BeginsWith(Value),
}

impl KeyCondition {
    /// Splits a condition into its parts. `key` is the key of the table or index.
    pub(crate) fn new(condition: Condition, key: &KeySchema, values: &[Value]) -> Result<Self> {
        let mut parts = Vec::new();
        split(condition, &mut parts)?;
        let mut hash = None;
        let mut range = None;
        let mut others = Vec::new();
        for part in parts {
            let (name, part) = on_attribute(part, values)?;
            if name == key.hash.name {
                let RangeCondition::Compare(Comparison::Equal, value) = part else {
                    return Err(ApiError::validation("Query key condition not supported"));
                };
                key.hash.check_condition(&value)?;
                once(&mut hash, value)?;
            } else if let Some(sort) = key.range.as_ref().filter(|sort| sort.name == name) {
                match &part {
                    RangeCondition::Compare(Comparison::NotEqual, _) => {
                        return Err(ApiError::validation("Query key condition not supported"));
                    }
                    RangeCondition::Compare(_, value) | RangeCondition::BeginsWith(value) => {
                        sort.check_condition(value)?;
                    }
                    RangeCondition::Between(low, high) => {
                        sort.check_condition(low)?;
                        sort.check_condition(high)?;
                    }
                }
                once(&mut range, part)?;
            } else {
                others.push(name);
            }
        }
        let missed = |name: &str| {
            ApiError::validation(format!("Query condition missed key schema element: {name}"))
        };
        let Some(hash) = hash else {
            return Err(missed(&key.hash.name));
        };
        if others.is_empty() {
            return Ok(Self { hash, range });
        }
        match &key.range {
            Some(sort) if range.is_none() => Err(missed(&sort.name)),
            _ => Err(ApiError::validation("Query key condition not supported")),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<()> {
    if place.replace(value).is_some() {
        return Err(ApiError::validation(
            "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one \
             condition per key",
        ));
    }
    Ok(())
}

fn invalid(problem: &str) -> ApiError {
    ApiError::validation(format!("Invalid KeyConditionExpression: {problem}"))
}

fn split(condition: Condition, parts: &mut Vec<Condition>) -> Result<()> {
    match condition {
        Condition::And(left, right) => {
            split(*left, parts)?;
            split(*right, parts)
        }
        Condition::Or(..) => Err(operator("OR")),
        Condition::Not(_) => Err(operator("NOT")),
        other => {
            parts.push(other);
            Ok(())
        }
    }
}

fn operator(name: &str) -> ApiError {
    invalid(&format!(
        "Invalid operator used in KeyConditionExpression: {name}"
    ))
}

/// Returns the attribute of a part, and its condition.
fn on_attribute(condition: Condition, values: &[Value]) -> Result<(String, RangeCondition)> {
    let value = |operand: Operand| match operand {
        Operand::Parameter(at) => values.get(at).cloned(),
        Operand::Value(value) => Some(value),
        _ => None,
    };
    let needs_value =
        || invalid("No key expression value found, or the operands are of the wrong kind");
    match condition {
        Condition::Compare(Comparison::NotEqual, ..) => Err(operator("<>")),
        Condition::Compare(comparison, Operand::Path(path), right) => Ok((
            attribute(&path)?,
            RangeCondition::Compare(comparison, value(right).ok_or_else(needs_value)?),
        )),
        Condition::Compare(comparison, left, Operand::Path(path)) => Ok((
            attribute(&path)?,
            RangeCondition::Compare(mirrored(comparison), value(left).ok_or_else(needs_value)?),
        )),
        Condition::Between(Operand::Path(path), low, high) => Ok((
            attribute(&path)?,
            RangeCondition::Between(
                value(low).ok_or_else(needs_value)?,
                value(high).ok_or_else(needs_value)?,
            ),
        )),
        Condition::BeginsWith(Operand::Path(path), prefix) => Ok((
            attribute(&path)?,
            RangeCondition::BeginsWith(value(prefix).ok_or_else(needs_value)?),
        )),
        Condition::In(..) => Err(operator("IN")),
        Condition::Exists(_) => Err(operator("attribute_exists")),
        Condition::NotExists(_) => Err(operator("attribute_not_exists")),
        Condition::HasType(..) => Err(operator("attribute_type")),
        Condition::Contains(..) => Err(operator("contains")),
        _ => Err(needs_value()),
    }
}

fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}

fn attribute(path: &Path) -> Result<String> {
    path.as_attribute().map(str::to_owned).ok_or_else(|| {
        invalid("KeyConditionExpressions cannot have conditions on nested attributes")
    })
}
