//! `BatchGetItem`.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::batch_write::refuse_duplicates;
use super::item::{projected, projection};
use super::parameters::{check_name, detail, refuse_legacy, required};
use crate::capacity::{Consumed, Report, Units};
use crate::error::{ApiError, Result};
use crate::expression::Projection;
use crate::json::{Pairs, Text};
use crate::request::read;
use crate::shared::Shared;
use crate::table::Target;
use crate::value::Item;

/// The maximum number of keys in a request, and of bytes in a response's items (AWS limits).
const MAX_KEYS: usize = 100;
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchGet<'a> {
    #[serde(borrow)]
    request_items: Option<Pairs<Text<'a>, TableKeys<'a>>>,
    return_consumed_capacity: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableKeys<'a> {
    keys: Option<Vec<Item>>,
    #[serde(borrow)]
    projection_expression: Option<Text<'a>>,
    expression_attribute_names: Option<Pairs<Text<'a>, Text<'a>>>,
    consistent_read: Option<bool>,
    attributes_to_get: Option<IgnoredAny>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    responses: BTreeMap<String, Vec<Item>>,
    unprocessed_keys: BTreeMap<String, Unprocessed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Vec<Report>>,
}

/// The keys that a caller has to request again.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Unprocessed {
    keys: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projection_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression_attribute_names: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consistent_read: Option<bool>,
}

/// One table's part of a request.
struct Part<'a> {
    name: Text<'a>,
    keys: Vec<Item>,
    targets: Vec<Target>,
    projection: Option<Projection>,
    again: Unprocessed,
}

pub(super) fn batch_get(shared: &Shared, body: &[u8]) -> Result<Answer> {
    let request: BatchGet<'_> = read(body)?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    let tables = required(request.request_items, "requestItems")?.0;
    if tables.is_empty() {
        return Err(ApiError::constraint(
            "Value '{}' at 'requestItems' failed to satisfy constraint: \
             Member must have length greater than or equal to 1",
        ));
    }
    let parts = parts(shared, tables)?;
    let mut answer = Answer {
        responses: BTreeMap::new(),
        unprocessed_keys: BTreeMap::new(),
        consumed_capacity: None,
    };
    let mut reports = Vec::new();
    let mut bytes = 0;
    for mut part in parts {
        let is_consistent = part.again.consistent_read == Some(true);
        let mut consumed = Consumed::default();
        let mut items = Vec::with_capacity(part.keys.len());
        for (key, target) in part.keys.into_iter().zip(&part.targets) {
            if bytes > MAX_BYTES {
                part.again.keys.push(key);
                continue;
            }
            let item = target.table.layout().read(&target.key)?;
            let size = item.as_ref().map_or(0, Item::size);
            bytes += size;
            if bytes > MAX_BYTES {
                part.again.keys.push(key);
                continue;
            }
            consumed.table += Units::of_read(size, is_consistent);
            items.extend(item.map(|item| projected(item, part.projection.as_ref())));
        }
        answer.responses.insert(part.name.to_string(), items);
        if !part.again.keys.is_empty() {
            answer
                .unprocessed_keys
                .insert(part.name.to_string(), part.again);
        }
        reports.extend(consumed.report(&part.name, detail));
    }
    answer.consumed_capacity = Some(reports).filter(|reports| !reports.is_empty());
    Ok(answer)
}

fn parts<'a>(shared: &Shared, tables: Vec<(Text<'a>, TableKeys<'a>)>) -> Result<Vec<Part<'a>>> {
    let mut parts = Vec::with_capacity(tables.len());
    let mut count = 0;
    for (name, keys) in &tables {
        check_name(name, "requestItems")?;
        let given = keys.keys.as_ref().map_or(0, Vec::len);
        let refused = |rule: &str| {
            ApiError::constraint(format_args!(
                "Value at 'RequestItems.{}.member.Keys' failed to satisfy constraint: \
                 Member must have length {rule}",
                &**name
            ))
        };
        if given == 0 {
            return Err(refused("greater than or equal to 1"));
        }
        if given > MAX_KEYS {
            return Err(refused("less than or equal to 100"));
        }
        count += given;
    }
    if count > MAX_KEYS {
        return Err(ApiError::validation(
            "Too many items requested for the BatchGetItem call",
        ));
    }
    for (name, given) in tables {
        refuse_legacy(&[("AttributesToGet", &given.attributes_to_get)])?;
        let again = Unprocessed {
            keys: Vec::new(),
            projection_expression: given
                .projection_expression
                .as_ref()
                .map(|one| one.to_string()),
            expression_attribute_names: given.expression_attribute_names.as_ref().map(|names| {
                let owned =
                    |(alias, name): &(Text<'_>, Text<'_>)| (alias.to_string(), name.to_string());
                names.0.iter().map(owned).collect()
            }),
            consistent_read: given.consistent_read,
        };
        let projection = projection(
            given.projection_expression.as_deref(),
            given.expression_attribute_names,
        )?;
        let table = shared.table(&name)?;
        let layout = table.layout();
        let keys = given.keys.unwrap_or_default();
        let mut targets = Vec::with_capacity(keys.len());
        for key in &keys {
            layout.schema.key.check_key(key)?;
            targets.push(Target::new(&table, &layout, key));
        }
        refuse_duplicates(&targets)?;
        parts.push(Part {
            name,
            keys,
            targets,
            projection,
            again,
        });
    }
    Ok(parts)
}
