//! `DescribeTable`, `DeleteTable` and `ListTables`.

use std::ops::Bound;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::description::{Described, TableDescription};
use super::parameters::table_name;
use crate::error::{ApiError, Kind, Result};
use crate::json::Text;
use crate::request::read;
use crate::shared::Shared;

/// The maximum number of names on a page of `ListTables` (an AWS limit).
const MAX_NAMES: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Name<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TableAnswer {
    table: TableDescription,
}

fn not_found(name: &str) -> ApiError {
    ApiError::new(
        Kind::ResourceNotFound,
        format!("Requested resource not found: Table: {name} not found"),
    )
}

pub(super) fn describe_table(shared: &Shared, body: &[u8]) -> Result<TableAnswer> {
    let request: Name<'_> = read(body)?;
    let name = table_name(request.table_name.as_ref())?;
    let table = shared.table(name).map_err(|_| not_found(name))?;
    let layout = table.layout();
    let count = layout.items.approximate_len() as u64;
    Ok(TableAnswer {
        table: TableDescription::new(&layout.schema, "ACTIVE", count),
    })
}

pub(super) fn delete_table(shared: &Shared, body: &[u8]) -> Result<Described> {
    let request: Name<'_> = read(body)?;
    let name = table_name(request.table_name.as_ref())?;
    let _alone = shared
        .catalogue
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let table = shared.table(name).map_err(|_| not_found(name))?;
    let mut layout = (*table.layout()).clone();
    if layout.schema.deletion_protection {
        return Err(ApiError::validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable \
             deletion protection first.",
        ));
    }
    let description = Described::new(&layout.schema, "DELETING", 0);
    shared
        .tables
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(name);
    layout.is_deleted = true;
    table.replace(layout.clone());
    let mut batch = shared.store.batch();
    batch.remove(shared.store.catalogue(), name.as_bytes());
    batch.commit()?;
    // A crash before this line leaves unused keyspaces, which the next start removes.
    for entries in layout.entries.into_values() {
        shared.store.delete(entries)?;
    }
    shared.store.delete(layout.items)?;
    Ok(description)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List<'a> {
    #[serde(borrow)]
    exclusive_start_table_name: Option<Text<'a>>,
    limit: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Names {
    table_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_evaluated_table_name: Option<String>,
}

pub(super) fn list_tables(shared: &Shared, body: &[u8]) -> Result<Names> {
    let request: List<'_> = read(body)?;
    let limit = match request.limit {
        None => MAX_NAMES,
        Some(limit @ 1..=100) => usize::try_from(limit).unwrap_or(MAX_NAMES),
        Some(limit) => {
            let rule = if limit < 1 {
                "greater than or equal to 1"
            } else {
                "less than or equal to 100"
            };
            return Err(ApiError::constraint(format_args!(
                "Value '{limit}' at 'limit' failed to satisfy constraint: \
                 Member must have value {rule}"
            )));
        }
    };
    let start = match request.exclusive_start_table_name {
        Some(start) => Bound::Excluded(start.to_string()),
        None => Bound::Unbounded,
    };
    let tables = shared.tables.read().unwrap_or_else(PoisonError::into_inner);
    let mut names = tables
        .range((start, Bound::Unbounded))
        .map(|(name, _)| name.clone());
    let table_names: Vec<String> = names.by_ref().take(limit).collect();
    let has_more = names.next().is_some();
    Ok(Names {
        last_evaluated_table_name: table_names.last().filter(|_| has_more).cloned(),
        table_names,
    })
}
