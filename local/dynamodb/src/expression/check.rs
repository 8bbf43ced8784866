//! Checks of an expression that do not need an item: operands of the wrong
//! type, and paths that overlap.

use super::ast::{Operand, Path, Step, Term};
use super::condition::order;
use super::scope::Scope;
use crate::error::{ApiError, Result};
use crate::value::Value;

/// Returns the value, if an operand is one of the request's values.
fn value<'a>(scope: &'a Scope<'_>, operand: &Operand) -> Option<&'a Value> {
    match operand {
        Operand::Parameter(at) => scope.values.get(*at),
        _ => None,
    }
}

fn wrong_type(role: &str, function: &str, value: &Value) -> ApiError {
    ApiError::validation(format!(
        "Invalid {role}: Incorrect operand type for operator or function; \
         operator or function: {function}, operand type: {}",
        value.type_name()
    ))
}

/// Checks that operands have an order, and that they are not the same path.
pub(super) fn comparison(
    scope: &Scope<'_>,
    role: &str,
    operator: &str,
    left: &Operand,
    right: &Operand,
) -> Result<()> {
    if matches!(left, Operand::Path(_)) && left == right {
        return Err(same_operand(role, operator, left));
    }
    if matches!(operator, "=" | "<>") {
        return Ok(());
    }
    for operand in [left, right] {
        if let Some(value) = value(scope, operand)
            && !matches!(value, Value::S(_) | Value::N(_) | Value::B(_))
        {
            return Err(wrong_type(role, operator, value));
        }
    }
    Ok(())
}

fn same_operand(role: &str, operator: &str, operand: &Operand) -> ApiError {
    let Operand::Path(path) = operand else {
        return ApiError::validation(format!("Invalid {role}"));
    };
    ApiError::validation(format!(
        "Invalid {role}: The first operand must be distinct from the remaining operands for this \
         operator or function; operator: {operator}, first operand: {}",
        listed(path)
    ))
}

/// Checks that the operands of a function differ.
pub(super) fn distinct(role: &str, function: &str, left: &Operand, right: &Operand) -> Result<()> {
    if matches!(left, Operand::Path(_)) && left == right {
        return Err(same_operand(role, function, left));
    }
    Ok(())
}

/// Checks that the bounds of BETWEEN have one type and are in order.
pub(super) fn between(scope: &Scope<'_>, role: &str, low: &Operand, high: &Operand) -> Result<()> {
    for operand in [low, high] {
        if let Some(value) = value(scope, operand)
            && !matches!(value, Value::S(_) | Value::N(_) | Value::B(_))
        {
            return Err(wrong_type(role, "BETWEEN", value));
        }
    }
    let (Some(low), Some(high)) = (value(scope, low), value(scope, high)) else {
        return Ok(());
    };
    let bounds = || {
        format!(
            "lower bound operand: AttributeValue: {}, upper bound operand: AttributeValue: {}",
            shown(low),
            shown(high)
        )
    };
    match order(low, high) {
        None => Err(ApiError::validation(format!(
            "Invalid {role}: The BETWEEN operator requires same data type for lower and upper \
             bounds; {}",
            bounds()
        ))),
        Some(std::cmp::Ordering::Greater) => Err(ApiError::validation(format!(
            "Invalid {role}: The BETWEEN operator requires upper bound to be greater than or equal \
             to lower bound; {}",
            bounds()
        ))),
        Some(_) => Ok(()),
    }
}

fn shown(value: &Value) -> String {
    use base64::Engine as _;
    match value {
        Value::S(text) => format!("{{S:{text}}}"),
        Value::N(number) => format!("{{N:{number}}}"),
        Value::B(bytes) => {
            format!(
                "{{B:{}}}",
                base64::engine::general_purpose::STANDARD.encode(bytes)
            )
        }
        other => format!("{{{}}}", other.type_name()),
    }
}

/// Checks that the operands of `begins_with` are strings or binaries.
pub(super) fn begins_with(scope: &Scope<'_>, role: &str, operands: &[&Operand]) -> Result<()> {
    for operand in operands {
        if let Some(value) = value(scope, operand)
            && !matches!(value, Value::S(_) | Value::B(_))
        {
            return Err(wrong_type(role, "begins_with", value));
        }
        if matches!(operand, Operand::Size(_)) {
            return Err(ApiError::validation(format!(
                "Invalid {role}: Incorrect operand type for operator or function; \
                 operator or function: begins_with, operand type: N"
            )));
        }
    }
    Ok(())
}

/// Checks that the operand of `size` has a size.
pub(super) fn size(scope: &Scope<'_>, role: &str, operand: &Operand) -> Result<()> {
    match value(scope, operand) {
        Some(value @ (Value::N(_) | Value::Bool(_) | Value::Null)) => {
            Err(wrong_type(role, "size", value))
        }
        _ => Ok(()),
    }
}

/// Checks that the operand of `attribute_type` names a type.
pub(super) fn attribute_type(scope: &Scope<'_>, role: &str, kind: &Operand) -> Result<()> {
    const TYPES: [&str; 10] = ["S", "SS", "N", "NS", "B", "BS", "BOOL", "NULL", "L", "M"];
    match value(scope, kind) {
        Some(Value::S(text)) if TYPES.contains(&text.as_str()) => Ok(()),
        Some(Value::S(text)) => Err(ApiError::validation(format!(
            "Invalid {role}: Invalid attribute type name found; type: {text}, \
             valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
        ))),
        Some(value) => Err(wrong_type(role, "attribute_type", value)),
        None => Err(ApiError::validation(format!(
            "Invalid {role}: Incorrect operand type for operator or function; \
             operator or function: attribute_type, operand type: document path"
        ))),
    }
}

/// Checks that ADD has a number or a set, and DELETE a set.
pub(super) fn set_action(scope: &Scope<'_>, section: &str, operand: &Operand) -> Result<()> {
    match value(scope, operand) {
        Some(Value::N(_)) if section == "ADD" => Ok(()),
        Some(Value::Ss(_) | Value::Ns(_) | Value::Bs(_)) | None => Ok(()),
        Some(value) => Err(ApiError::validation(format!(
            "Invalid UpdateExpression: Incorrect operand type for operator or function; \
             operator: {section}, operand type: {}, typeSet: {}",
            long_name(value),
            if section == "ADD" {
                "ALLOWED_FOR_ADD_OPERAND"
            } else {
                "ALLOWED_FOR_DELETE_OPERAND"
            }
        ))),
    }
}

fn long_name(value: &Value) -> &'static str {
    match value {
        Value::S(_) => "STRING",
        Value::N(_) => "NUMBER",
        Value::B(_) => "BINARY",
        Value::Bool(_) => "BOOLEAN",
        Value::Null => "NULL",
        Value::L(_) => "LIST",
        Value::M(_) => "MAP",
        Value::Ss(_) => "STRING_SET",
        Value::Ns(_) => "NUMBER_SET",
        Value::Bs(_) => "BINARY_SET",
    }
}

/// Checks that only numbers are added and subtracted.
pub(super) fn arithmetic(scope: &Scope<'_>, operator: &str, terms: &[&Term]) -> Result<()> {
    for term in terms {
        match term {
            Term::Operand(operand) => {
                if let Some(value) = value(scope, operand)
                    && !matches!(value, Value::N(_))
                {
                    return Err(wrong_type("UpdateExpression", operator, value));
                }
            }
            Term::ListAppend(..) => {
                return Err(wrong_type(
                    "UpdateExpression",
                    operator,
                    &Value::L(Vec::new()),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that only lists are appended.
pub(super) fn list_append(scope: &Scope<'_>, terms: &[&Term]) -> Result<()> {
    for term in terms {
        if let Term::Operand(operand) = term
            && let Some(value) = value(scope, operand)
            && !matches!(value, Value::L(_))
        {
            return Err(wrong_type("UpdateExpression", "list_append", value));
        }
    }
    Ok(())
}

/// Checks that no two paths overlap, and that none uses as a list what another uses as a
/// map.
pub(super) fn no_overlap(paths: &[&Path], role: &str) -> Result<()> {
    for (at, first) in paths.iter().enumerate() {
        for second in &paths[at + 1..] {
            let shared = first.0.iter().zip(&second.0);
            let differ = shared.clone().position(|(a, b)| a != b);
            let problem = match differ {
                None => "overlap",
                Some(differ) => match (&first.0[differ], &second.0[differ]) {
                    (Step::Name(_), Step::Index(_)) | (Step::Index(_), Step::Name(_)) => "conflict",
                    _ => continue,
                },
            };
            return Err(ApiError::validation(format!(
                "Invalid {role}: Two document paths {problem} with each other; \
                 must remove or rewrite one of these paths; path one: {}, path two: {}",
                listed(first),
                listed(second)
            )));
        }
    }
    Ok(())
}

/// Returns a path as error messages show it.
fn listed(path: &Path) -> String {
    let steps: Vec<String> = path
        .0
        .iter()
        .map(|step| match step {
            Step::Name(name) => name.clone(),
            Step::Index(index) => format!("[{index}]"),
        })
        .collect();
    format!("[{}]", steps.join(", "))
}
