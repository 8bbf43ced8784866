//! `BatchWriteItem`.

use serde::{Deserialize, Serialize};

use super::parameters::{check_name, detail, option, required};
use crate::capacity::{Consumed, Report};
use crate::error::{ApiError, Result};
use crate::json::{Pairs, Text};
use crate::request::read;
use crate::shared::Shared;
use crate::storage::item_key;
use crate::table::{Decision, Section, Target};
use crate::value::Item;

/// The maximum number of writes in a request, and of bytes in their items (AWS limits).
const MAX_WRITES: usize = 25;
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchWrite<'a> {
    #[serde(borrow)]
    request_items: Option<Pairs<Text<'a>, Vec<WriteRequest>>>,
    return_consumed_capacity: Option<Text<'a>>,
    return_item_collection_metrics: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WriteRequest {
    put_request: Option<PutRequest>,
    delete_request: Option<DeleteRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRequest {
    item: Option<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteRequest {
    key: Option<Item>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    /// Always empty: nothing is throttled here.
    unprocessed_items: Nothing,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Vec<Report>>,
}

/// An empty object.
#[derive(Serialize)]
struct Nothing {}

pub(super) fn batch_write(shared: &Shared, body: &[u8]) -> Result<Answer> {
    let request: BatchWrite<'_> = read(body)?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    option(
        request.return_item_collection_metrics.as_ref(),
        "returnItemCollectionMetrics",
        &["SIZE", "NONE"],
    )?;
    let tables = required(request.request_items, "requestItems")?.0;
    check_counts(&tables)?;
    let mut writes = Vec::new();
    let mut names = Vec::new();
    let mut bytes = 0;
    for (name, requests) in tables {
        let table = shared.table(&name)?;
        let layout = table.layout();
        for request in requests {
            let (key, decision) = match (request.put_request, request.delete_request) {
                (Some(put), None) => {
                    let item = required(put.item, "requestItems.member.putRequest.item")?;
                    layout.check_item(&item)?;
                    bytes += item.size();
                    (item_key(&layout.schema.key, &item), Decision::Put(item))
                }
                (None, Some(delete)) => {
                    let key = required(delete.key, "requestItems.member.deleteRequest.key")?;
                    layout.schema.key.check_key(&key)?;
                    (item_key(&layout.schema.key, &key), Decision::Delete)
                }
                // AWS sends this message for no action too.
                _ => {
                    return Err(ApiError::validation(
                        "Supplied AttributeValue has more than one datatypes set, must contain \
                         exactly one of the supported datatypes",
                    ));
                }
            };
            let target = Target {
                table: table.clone(),
                key,
            };
            writes.push((target, decision, names.len(), layout.clone()));
        }
        names.push(name);
    }
    if bytes > MAX_BYTES {
        return Err(ApiError::validation(
            "Item collection too large: aggregate size of items in BatchWriteItem exceeds 16MB \
             limit",
        ));
    }
    let targets: Vec<Target> = writes.iter().map(|(target, ..)| target.clone()).collect();
    refuse_duplicates(&targets)?;
    let mut consumed = vec![Consumed::default(); names.len()];
    let mut section = Section::enter(&shared.store, &shared.locks, &targets)?;
    for (number, (_, decision, table, layout)) in writes.into_iter().enumerate() {
        if let Decision::Put(item) = &decision {
            section.check_again(number, &layout, item)?;
        }
        let before = section.read(number)?;
        let written = section.write(number, before, decision);
        consumed[table].add(&written.consumed);
    }
    section.commit()?;
    let reports = names.iter().zip(&consumed);
    Ok(Answer {
        unprocessed_items: Nothing {},
        consumed_capacity: reports
            .map(|(name, sum)| sum.report(name, detail))
            .collect(),
    })
}

fn check_counts(tables: &[(Text<'_>, Vec<WriteRequest>)]) -> Result<()> {
    const RULE: &str = "failed to satisfy constraint: Map value must satisfy constraint: \
                        [Member must have length less than or equal to 25, \
                        Member must have length greater than or equal to 1]";
    if tables.is_empty() {
        return Err(ApiError::constraint(
            "Value '{}' at 'requestItems' failed to satisfy constraint: \
             Member must have length greater than or equal to 1",
        ));
    }
    let mut count = 0;
    for (name, requests) in tables {
        check_name(name, "requestItems")?;
        if requests.is_empty() || requests.len() > MAX_WRITES {
            return Err(ApiError::constraint(format_args!(
                "Value '{{{}=[{} requests]}}' at 'requestItems' {RULE}",
                &**name,
                requests.len()
            )));
        }
        count += requests.len();
    }
    if count > MAX_WRITES {
        return Err(ApiError::validation(
            "Too many items requested for the BatchWriteItem call",
        ));
    }
    Ok(())
}

/// Returns an error if a request contains one item twice.
pub(super) fn refuse_duplicates(targets: &[Target]) -> Result<()> {
    if has_duplicates(targets) {
        return Err(ApiError::validation(
            "Provided list of item keys contains duplicates",
        ));
    }
    Ok(())
}

/// Returns whether one item occurs twice.
pub(super) fn has_duplicates(targets: &[Target]) -> bool {
    let mut keys: Vec<(usize, &[u8])> = targets
        .iter()
        .map(|target| (std::sync::Arc::as_ptr(&target.table) as usize, &*target.key))
        .collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
