//! `UpdateTable`: adding and deleting a global secondary index, billing and protection.
//!
//! Every write updates a new index from the start. Meanwhile it is filled with
//! entries of the existing items, and it can be read when that is finished.

use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use serde::Deserialize;

use super::create_table::{
    AttributeDefinition, IndexDefinition, MAX_INDEXES, Throughput, billing, definitions, index,
};
use super::description::Described;
use super::parameters::{required, table_name};
use crate::error::{ApiError, Kind, Result};
use crate::json::Text;
use crate::request::read;
use crate::schema::Schema;
use crate::shared::Shared;
use crate::storage::entry_key;
use crate::table::{Layout, Section, Table, Target};

/// The number of items that are indexed in one step.
const FILL_STEP: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    attribute_definitions: Option<Vec<AttributeDefinition<'a>>>,
    global_secondary_index_updates: Option<Vec<IndexUpdate<'a>>>,
    billing_mode: Option<Text<'a>>,
    provisioned_throughput: Option<Throughput>,
    deletion_protection_enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexUpdate<'a> {
    #[serde(borrow)]
    create: Option<IndexDefinition<'a>>,
    delete: Option<IndexName<'a>>,
    update: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexName<'a> {
    #[serde(borrow)]
    index_name: Option<Text<'a>>,
}

pub(super) fn update_table(shared: &Shared, body: &[u8]) -> Result<Described> {
    let request: Request<'_> = read(body)?;
    let name = table_name(request.table_name.as_ref())?;
    let mut updates = request.global_secondary_index_updates.unwrap_or_default();
    let changes_billing =
        request.billing_mode.is_some() || request.provisioned_throughput.is_some();
    if updates.is_empty() && !changes_billing && request.deletion_protection_enabled.is_none() {
        return Err(ApiError::validation(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, \
             GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required",
        ));
    }
    if updates.len() > 1 {
        return Err(ApiError::new(
            Kind::LimitExceeded,
            "Subscriber limit exceeded: Only 1 online index can be created or deleted \
             simultaneously per table",
        ));
    }
    let _alone = shared
        .catalogue
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let table = shared.table(name).map_err(|_| {
        ApiError::new(
            Kind::ResourceNotFound,
            format!("Requested resource not found: Table: {name} not found"),
        )
    })?;
    let mut schema = table.layout().schema.clone();
    if changes_billing {
        schema.billing = billing(
            request.billing_mode.as_ref(),
            request.provisioned_throughput.as_ref(),
        )?;
    }
    if let Some(protection) = request.deletion_protection_enabled {
        schema.deletion_protection = protection;
    }
    let update = updates.pop();
    match update {
        None => {
            change(shared, &table, schema.clone())?;
        }
        Some(IndexUpdate {
            create: Some(definition),
            ..
        }) => {
            let mut definitions = definitions(request.attribute_definitions)?;
            for attribute in schema.key.attributes() {
                if !definitions.contains(attribute) {
                    definitions.push(attribute.clone());
                }
            }
            let index = index(definition, &definitions, shared.new_id())?;
            if schema.index(&index.name).is_some() {
                return Err(ApiError::validation(
                    "Attempting to create an index which already exists",
                ));
            }
            if schema.indexes.len() >= MAX_INDEXES {
                return Err(ApiError::new(
                    Kind::LimitExceeded,
                    "Subscriber limit exceeded: GlobalSecondaryIndex count exceeds the per-table \
                     limit of 20",
                ));
            }
            schema.indexes.push(index);
            change(shared, &table, schema.clone())?;
            fill(shared, &table)?;
        }
        Some(IndexUpdate {
            delete: Some(deleted),
            ..
        }) => {
            let name = required(
                deleted.index_name,
                "globalSecondaryIndexUpdates.delete.indexName",
            )?;
            delete_index(shared, &table, &mut schema, &name)?;
        }
        Some(IndexUpdate {
            update: Some(_), ..
        }) => {
            // The throughput of an index: nothing is throttled, so nothing changes.
        }
        Some(_) => {
            return Err(ApiError::invalid_parameter(
                "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, \
                 GlobalSecondaryIndexUpdate.Delete must not be null",
            ));
        }
    }
    let count = table.layout().items.approximate_len() as u64;
    Ok(Described::new(&schema, "UPDATING", count))
}

fn change(shared: &Shared, table: &Table, schema: Schema) -> Result<()> {
    let layout = Layout::open(&shared.store, schema)?;
    shared.save(&layout.schema)?;
    table.replace(layout);
    Ok(())
}

fn delete_index(shared: &Shared, table: &Table, schema: &mut Schema, name: &str) -> Result<()> {
    let Some(at) = schema.indexes.iter().position(|index| index.name == name) else {
        return Err(ApiError::new(
            Kind::ResourceNotFound,
            "Requested resource not found",
        ));
    };
    let index = schema.indexes.remove(at);
    let before = table.layout();
    change(shared, table, schema.clone())?;
    if let Some(entries) = before.entries.get(&index.id) {
        shared.store.delete(entries.clone())?;
    }
    Ok(())
}

/// Fills indexes whose filling was interrupted.
pub(crate) fn fill_unfinished_indexes(shared: &Shared) -> Result<()> {
    let tables = shared.tables.read().unwrap_or_else(PoisonError::into_inner);
    for table in tables.values() {
        if table
            .layout()
            .schema
            .indexes
            .iter()
            .any(|index| !index.is_active)
        {
            fill(shared, table)?;
        }
    }
    Ok(())
}

/// Adds every item to the indexes that are not active, and activates them.
fn fill(shared: &Shared, table: &Arc<Table>) -> Result<()> {
    let layout = table.layout();
    let mut from = Bound::Unbounded;
    loop {
        let mut targets = Vec::with_capacity(FILL_STEP);
        for entry in layout
            .items
            .range::<Vec<u8>, _>((from.clone(), Bound::Unbounded))
            .take(FILL_STEP)
        {
            targets.push(Target {
                table: Arc::clone(table),
                key: entry.key()?.to_vec(),
            });
        }
        let Some(last) = targets.last() else {
            break;
        };
        from = Bound::Excluded(last.key.clone());
        let section = Section::enter(&shared.store, &shared.locks, &targets)?;
        let mut batch = shared.store.batch();
        for (number, target) in targets.iter().enumerate() {
            // Read again under the lock, because it may have changed.
            let Some(item) = section.read(number)? else {
                continue;
            };
            for index in layout
                .schema
                .indexes
                .iter()
                .filter(|index| !index.is_active)
            {
                if index.key.is_held_by(&item)
                    && let Some(entries) = layout.entries.get(&index.id)
                {
                    batch.insert(entries, entry_key(&index.key, &item, &target.key), &[][..]);
                }
            }
        }
        batch.commit()?;
    }
    let mut schema = layout.schema.clone();
    for index in &mut schema.indexes {
        index.is_active = true;
    }
    change(shared, table, schema)
}
