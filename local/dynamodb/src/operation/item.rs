//! `PutItem`, `GetItem` and `DeleteItem`.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::parameters::{
    Conditional, detail, old_on_failure, option, refuse_legacy, required, return_values, table_name,
};
use crate::capacity::{Consumed, Report, Units};
use crate::error::{ApiError, Result};
use crate::expression::{NamesAndValues, Parser, Projection, Scope};
use crate::json::{Pairs, Text};
use crate::request::read;
use crate::shared::Shared;
use crate::storage::item_key;
use crate::table::{Decision, Section, Target};
use crate::value::{Item, Value};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Write<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    item: Option<Item>,
    key: Option<Item>,
    condition_expression: Option<Text<'a>>,
    expression_attribute_names: Option<Pairs<Text<'a>, Text<'a>>>,
    expression_attribute_values: Option<Pairs<Text<'a>, Value>>,
    return_values: Option<Text<'a>>,
    return_values_on_condition_check_failure: Option<Text<'a>>,
    return_consumed_capacity: Option<Text<'a>>,
    return_item_collection_metrics: Option<Text<'a>>,
    expected: Option<IgnoredAny>,
    conditional_operator: Option<IgnoredAny>,
}

/// The response to a write.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WriteAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attributes: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consumed_capacity: Option<Report>,
}

pub(super) fn put_item(shared: &Shared, body: &[u8]) -> Result<WriteAnswer> {
    let request: Write<'_> = read(body)?;
    table_name(request.table_name.as_ref())?;
    if request.item.is_none() {
        required(request.item.as_ref(), "item")?;
    }
    write(shared, request, true)
}

pub(super) fn delete_item(shared: &Shared, body: &[u8]) -> Result<WriteAnswer> {
    let request: Write<'_> = read(body)?;
    table_name(request.table_name.as_ref())?;
    required(request.key.as_ref(), "key")?;
    write(shared, request, false)
}

fn write(shared: &Shared, request: Write<'_>, is_put: bool) -> Result<WriteAnswer> {
    let name = table_name(request.table_name.as_ref())?;
    refuse_legacy(&[
        ("Expected", &request.expected),
        ("ConditionalOperator", &request.conditional_operator),
    ])?;
    let returned = return_values(request.return_values.as_ref(), false)?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    let return_old = old_on_failure(request.return_values_on_condition_check_failure.as_ref())?;
    option(
        request.return_item_collection_metrics.as_ref(),
        "returnItemCollectionMetrics",
        &["SIZE", "NONE"],
    )?;
    let conditional = Conditional::new(
        request.expression_attribute_names,
        request.expression_attribute_values,
        request.condition_expression.as_deref(),
    )?;
    let table = shared.table(name)?;
    let layout = table.layout();
    let (key, decision) = if is_put {
        let item = request.item.unwrap_or_default();
        layout.check_item(&item)?;
        (item_key(&layout.schema.key, &item), Decision::Put(item))
    } else {
        let key = request.key.unwrap_or_default();
        layout.schema.key.check_key(&key)?;
        (item_key(&layout.schema.key, &key), Decision::Delete)
    };
    let targets = [Target { table, key }];
    let mut section = Section::enter(&shared.store, &shared.locks, &targets)?;
    if let Decision::Put(item) = &decision {
        section.check_again(0, &layout, item)?;
    }
    let before = section.read(0)?;
    conditional.check(before.as_ref(), return_old)?;
    let written = section.write(0, before, decision);
    section.commit()?;
    Ok(WriteAnswer {
        attributes: written.before.filter(|_| returned == "ALL_OLD"),
        consumed_capacity: written.consumed.report(name, detail),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ItemGet<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    key: Option<Item>,
    projection_expression: Option<Text<'a>>,
    expression_attribute_names: Option<Pairs<Text<'a>, Text<'a>>>,
    consistent_read: Option<bool>,
    return_consumed_capacity: Option<Text<'a>>,
    attributes_to_get: Option<IgnoredAny>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Report>,
}

pub(super) fn get_item(shared: &Shared, body: &[u8]) -> Result<GetAnswer> {
    let request: ItemGet<'_> = read(body)?;
    let name = table_name(request.table_name.as_ref())?;
    let key = required(request.key.as_ref(), "key")?;
    refuse_legacy(&[("AttributesToGet", &request.attributes_to_get)])?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    let projection = projection(
        request.projection_expression.as_deref(),
        request.expression_attribute_names,
    )?;
    let table = shared.table(name)?;
    let layout = table.layout();
    layout.schema.key.check_key(key)?;
    let item = layout.read(&item_key(&layout.schema.key, key))?;
    let size = item.as_ref().map_or(0, Item::size);
    let consumed = Consumed {
        table: Units::of_read(size, request.consistent_read == Some(true)),
        ..Consumed::default()
    };
    Ok(GetAnswer {
        item: item.map(|item| projected(item, projection.as_ref())),
        consumed_capacity: consumed.report(name, detail),
    })
}

/// Returns a request's projection.
pub(super) fn projection(
    expression: Option<&str>,
    names: Option<Pairs<Text<'_>, Text<'_>>>,
) -> Result<Option<Projection>> {
    if expression.is_none() && names.is_none() {
        return Ok(None);
    }
    let scope = Scope::new(
        NamesAndValues {
            names,
            values: None,
        },
        expression.is_some(),
    )?;
    let Some(expression) = expression else {
        return Err(ApiError::validation(
            "ExpressionAttributeNames can only be specified when using expressions",
        ));
    };
    let paths = Parser::new(expression, "ProjectionExpression", &scope)?.projection()?;
    scope.check_all_used()?;
    Ok(Some(Projection::new(&paths)))
}

pub(super) fn projected(item: Item, projection: Option<&Projection>) -> Item {
    match projection {
        Some(projection) => projection.apply(&item),
        None => item,
    }
}
