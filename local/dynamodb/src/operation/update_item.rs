//! `UpdateItem`.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::item::WriteAnswer;
use super::parameters::{
    check_condition, detail, old_on_failure, option, refuse_legacy, required, return_values,
    table_name,
};
use crate::error::{ApiError, Result};
use crate::expression::ast::Action;
use crate::expression::{NamesAndValues, Parser, Projection, Scope, apply, check_paths};
use crate::json::{Pairs, Text};
use crate::request::read;
use crate::shared::Shared;
use crate::table::{Decision, Layout, Section, Target};
use crate::value::{Item, Value};

const TOO_LARGE: &str = "Item size to update has exceeded the maximum allowed size";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    key: Option<Item>,
    update_expression: Option<Text<'a>>,
    condition_expression: Option<Text<'a>>,
    expression_attribute_names: Option<Pairs<Text<'a>, Text<'a>>>,
    expression_attribute_values: Option<Pairs<Text<'a>, Value>>,
    return_values: Option<Text<'a>>,
    return_values_on_condition_check_failure: Option<Text<'a>>,
    return_consumed_capacity: Option<Text<'a>>,
    return_item_collection_metrics: Option<Text<'a>>,
    attribute_updates: Option<IgnoredAny>,
    expected: Option<IgnoredAny>,
    conditional_operator: Option<IgnoredAny>,
}

pub(super) fn update_item(shared: &Shared, body: &[u8]) -> Result<WriteAnswer> {
    let request: Request<'_> = read(body)?;
    let name = table_name(request.table_name.as_ref())?;
    let key = required(request.key.as_ref(), "key")?;
    refuse_legacy(&[
        ("AttributeUpdates", &request.attribute_updates),
        ("Expected", &request.expected),
        ("ConditionalOperator", &request.conditional_operator),
    ])?;
    let returned = return_values(request.return_values.as_ref(), true)?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    let return_old = old_on_failure(request.return_values_on_condition_check_failure.as_ref())?;
    option(
        request.return_item_collection_metrics.as_ref(),
        "returnItemCollectionMetrics",
        &["SIZE", "NONE"],
    )?;
    let has_expressions =
        request.update_expression.is_some() || request.condition_expression.is_some();
    let given = NamesAndValues {
        names: request.expression_attribute_names,
        values: request.expression_attribute_values,
    };
    let scope = Scope::new(given, has_expressions)?;
    let actions = match &request.update_expression {
        Some(text) => Parser::new(text, "UpdateExpression", &scope)?.update()?,
        None => Vec::new(),
    };
    let condition = match &request.condition_expression {
        Some(text) => Some(Parser::new(text, "ConditionExpression", &scope)?.condition()?),
        None => None,
    };
    check_paths(&actions)?;
    scope.check_all_used()?;
    let table = shared.table(name)?;
    let layout = table.layout();
    layout.schema.key.check_key(key)?;
    check_not_key(&layout, &actions)?;
    let targets = [Target::new(&table, &layout, key)];
    let mut section = Section::enter(&shared.store, &shared.locks, &targets)?;
    let before = section.read(0)?;
    check_condition(
        condition.as_ref(),
        &scope.values,
        before.as_ref(),
        return_old,
    )?;
    let after = updated(
        section.layout(0),
        key,
        before.as_ref(),
        &actions,
        &scope.values,
    )?;
    let written = section.write(0, before, Decision::Put(after));
    section.commit()?;
    let touched = || {
        let paths: Vec<_> = actions
            .iter()
            .map(|action| action.path().to_list())
            .collect();
        Projection::new(&paths)
    };
    let part = |item: Option<Item>| {
        let part = item.map(|item| touched().apply(&item));
        part.filter(|part| !part.is_empty())
    };
    Ok(WriteAnswer {
        attributes: match returned {
            "ALL_OLD" => written.before,
            "ALL_NEW" => written.after,
            "UPDATED_OLD" => part(written.before),
            "UPDATED_NEW" => part(written.after),
            _ => None,
        },
        consumed_capacity: written.consumed.report(name, detail),
    })
}

/// Returns an error for an update of the key.
pub(super) fn check_not_key(layout: &Layout, actions: &[Action]) -> Result<()> {
    for action in actions {
        let name = action.path().top();
        if layout.schema.key.contains(name) {
            return Err(ApiError::invalid_parameter(format_args!(
                "Cannot update attribute {name}. This attribute is part of the key"
            )));
        }
    }
    Ok(())
}

/// Returns the item after an update; a new item starts with its key.
pub(super) fn updated(
    layout: &Layout,
    key: &Item,
    before: Option<&Item>,
    actions: &[Action],
    values: &[Value],
) -> Result<Item> {
    let after = apply(actions, before.unwrap_or(key), values)?;
    layout.check_attributes(&after, TOO_LARGE)?;
    Ok(after)
}
