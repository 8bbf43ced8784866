//! Parameters that several operations share, and their checks.

use serde::de::IgnoredAny;

use crate::capacity::Detail;
use crate::error::{ApiError, Result};
use crate::expression::{NamesAndValues, Parser, Scope, ast::Condition};
use crate::json::{Pairs, Text};
use crate::value::{Item, Value};

/// Returns a required parameter.
pub(super) fn required<T>(parameter: Option<T>, name: &str) -> Result<T> {
    parameter.ok_or_else(|| {
        ApiError::constraint(format_args!(
            "Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

/// Returns the name of a table.
pub(super) fn table_name<'a>(name: Option<&'a Text<'_>>) -> Result<&'a str> {
    let name = required(name, "tableName")?;
    check_name(name, "tableName")?;
    Ok(name)
}

/// Returns an error if a text cannot be the name of a table or an index.
pub(super) fn check_name(name: &str, parameter: &str) -> Result<()> {
    let refused = |rule: &str| {
        Err(ApiError::constraint(format_args!(
            "Value '{name}' at '{parameter}' failed to satisfy constraint: Member must {rule}"
        )))
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !name.bytes().all(fits) {
        return refused("satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
    }
    if name.len() < 3 {
        return refused("have length greater than or equal to 3");
    }
    if name.len() > 255 {
        return refused("have length less than or equal to 255");
    }
    Ok(())
}

/// Returns the option of a parameter; `None` if the parameter is absent.
pub(super) fn option<'a>(
    given: Option<&Text<'_>>,
    parameter: &str,
    options: &'a [&'a str],
) -> Result<Option<&'a str>> {
    let Some(given) = given else {
        return Ok(None);
    };
    let found = options.iter().find(|option| **option == &**given);
    found.copied().map(Some).ok_or_else(|| {
        ApiError::constraint(format_args!(
            "Value '{}' at '{parameter}' failed to satisfy constraint: \
             Member must satisfy enum value set: [{}]",
            &**given,
            options.join(", ")
        ))
    })
}

/// `ReturnConsumedCapacity`.
pub(super) fn detail(given: Option<&Text<'_>>) -> Result<Detail> {
    let found = option(
        given,
        "returnConsumedCapacity",
        &["INDEXES", "TOTAL", "NONE"],
    )?;
    Ok(match found {
        Some("INDEXES") => Detail::Indexes,
        Some("TOTAL") => Detail::Total,
        _ => Detail::None,
    })
}

/// `ReturnValuesOnConditionCheckFailure`: whether the item is to be returned.
pub(super) fn old_on_failure(given: Option<&Text<'_>>) -> Result<bool> {
    let parameter = "returnValuesOnConditionCheckFailure";
    Ok(option(given, parameter, &["ALL_OLD", "NONE"])? == Some("ALL_OLD"))
}

/// `ReturnValues` of `UpdateItem`, and of `PutItem` and `DeleteItem` where `any_kind` is false.
pub(super) fn return_values(given: Option<&Text<'_>>, any_kind: bool) -> Result<&'static str> {
    const ALL: [&str; 5] = ["ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"];
    let found = option(given, "returnValues", &ALL)?.unwrap_or("NONE");
    if !any_kind && !matches!(found, "NONE" | "ALL_OLD") {
        return Err(ApiError::validation(
            "ReturnValues can only be ALL_OLD or NONE",
        ));
    }
    Ok(ALL.into_iter().find(|one| *one == found).unwrap_or("NONE"))
}

/// Returns an error for the legacy parameters that expressions have replaced.
pub(super) fn refuse_legacy(given: &[(&str, &Option<IgnoredAny>)]) -> Result<()> {
    for (name, parameter) in given {
        if parameter.is_some() {
            return Err(ApiError::validation(format!(
                "The legacy parameter {name} is not supported by this engine; use an expression"
            )));
        }
    }
    Ok(())
}

/// A request's names and values, and its condition.
pub(super) struct Conditional<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) condition: Option<Condition>,
}

impl<'a> Conditional<'a> {
    pub(super) fn new(
        names: Option<Pairs<Text<'a>, Text<'a>>>,
        values: Option<Pairs<Text<'a>, Value>>,
        expression: Option<&str>,
    ) -> Result<Self> {
        let scope = Scope::new(NamesAndValues { names, values }, expression.is_some())?;
        let condition = expression
            .map(|text| Parser::new(text, "ConditionExpression", &scope)?.condition())
            .transpose()?;
        scope.check_all_used()?;
        Ok(Self { scope, condition })
    }

    /// Returns an error if an item does not meet the condition.
    pub(super) fn check(&self, before: Option<&Item>, return_old: bool) -> Result<()> {
        check_condition(
            self.condition.as_ref(),
            &self.scope.values,
            before,
            return_old,
        )
    }
}

/// Returns an error if an item does not meet a condition; an absent item has no attributes.
pub(super) fn check_condition(
    condition: Option<&Condition>,
    values: &[Value],
    before: Option<&Item>,
    return_old: bool,
) -> Result<()> {
    let Some(condition) = condition else {
        return Ok(());
    };
    let empty = Item::default();
    if crate::expression::evaluate(condition, before.unwrap_or(&empty), values) {
        return Ok(());
    }
    Err(ApiError::condition_failed(
        before.filter(|_| return_old).cloned(),
    ))
}
