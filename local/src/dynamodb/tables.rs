//! Creates the template's tables: missing tables, new indexes and new times to live are created;
//! any other difference is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement,
    KeyType, ProjectionType, ScalarAttributeType, TableDescription, TableStatus,
    TimeToLiveSpecification,
};
use tokio::time::sleep;

use super::DynamoDbError;
use crate::template::{Index, Key, Projection, Table};

/// How often the state of a table is polled.
const POLL: Duration = Duration::from_millis(20);

/// Creates the template's tables, and returns when they are active.
pub(super) async fn ensure(client: &Client, tables: &[Table]) -> Result<(), DynamoDbError> {
    for table in tables {
        match describe(client, table).await? {
            None => create(client, table).await?,
            Some(existing) => {
                compare(table, &existing)?;
                for index in missing_indexes(table, &existing) {
                    tracing::info!(table = table.name, index = index.name, "adding an index");
                    add_index(client, table, index).await?;
                    active(client, table).await?;
                }
            }
        }
        active(client, table).await?;
        ensure_ttl(client, table).await?;
    }
    Ok(())
}

async fn describe(
    client: &Client,
    table: &Table,
) -> Result<Option<TableDescription>, DynamoDbError> {
    let request = client.describe_table().table_name(&table.name);
    match request.send().await {
        Ok(answer) => Ok(answer.table),
        Err(SdkError::ServiceError(error)) if error.err().is_resource_not_found_exception() => {
            Ok(None)
        }
        Err(error) => Err(refused(table, error)),
    }
}

async fn create(client: &Client, table: &Table) -> Result<(), DynamoDbError> {
    let invalid = |e| refused(table, e);
    let mut request = client
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema(&table.key).map_err(invalid)?));
    for definition in definitions(table).map_err(invalid)? {
        request = request.attribute_definitions(definition);
    }
    for index in &table.indexes {
        let index = GlobalSecondaryIndex::builder()
            .index_name(&index.name)
            .set_key_schema(Some(key_schema(&index.key).map_err(invalid)?))
            .projection(projection(&index.projection))
            .build()
            .map_err(invalid)?;
        request = request.global_secondary_indexes(index);
    }
    request.send().await.map_err(|e| refused(table, e))?;
    tracing::info!(table = table.name, "created");
    Ok(())
}

async fn add_index(client: &Client, table: &Table, index: &Index) -> Result<(), DynamoDbError> {
    let invalid = |e| refused(table, e);
    let action = CreateGlobalSecondaryIndexAction::builder()
        .index_name(&index.name)
        .set_key_schema(Some(key_schema(&index.key).map_err(invalid)?))
        .projection(projection(&index.projection))
        .build()
        .map_err(invalid)?;
    let mut request = client
        .update_table()
        .table_name(&table.name)
        .global_secondary_index_updates(
            GlobalSecondaryIndexUpdate::builder().create(action).build(),
        );
    for definition in definitions(table).map_err(invalid)? {
        let name = definition.attribute_name();
        let in_key = [Some(&table.key.hash), table.key.range.as_ref()];
        let in_index = [Some(&index.key.hash), index.key.range.as_ref()];
        if in_key
            .into_iter()
            .chain(in_index)
            .flatten()
            .any(|one| one == name)
        {
            request = request.attribute_definitions(definition);
        }
    }
    request.send().await.map_err(|e| refused(table, e))?;
    Ok(())
}

/// Waits until the table and its indexes are active.
async fn active(client: &Client, table: &Table) -> Result<(), DynamoDbError> {
    loop {
        let existing = describe(client, table).await?;
        let ready = existing.is_some_and(|existing| {
            existing.table_status() == Some(&TableStatus::Active)
                && existing
                    .global_secondary_indexes()
                    .iter()
                    .all(|index| index.index_status() == Some(&IndexStatus::Active))
        });
        if ready {
            return Ok(());
        }
        sleep(POLL).await;
    }
}

async fn ensure_ttl(client: &Client, table: &Table) -> Result<(), DynamoDbError> {
    let request = client.describe_time_to_live().table_name(&table.name);
    let answer = request.send().await.map_err(|e| refused(table, e))?;
    let existing = answer.time_to_live_description;
    let existing = existing.and_then(|ttl| ttl.attribute_name);
    match (&table.ttl_attribute, existing) {
        (None, None) => Ok(()),
        (Some(wanted), Some(existing)) if *wanted == existing => Ok(()),
        (Some(wanted), None) => {
            let specification = TimeToLiveSpecification::builder()
                .attribute_name(wanted)
                .enabled(true)
                .build()
                .map_err(|e| refused(table, e))?;
            let request = client
                .update_time_to_live()
                .table_name(&table.name)
                .time_to_live_specification(specification);
            request.send().await.map_err(|e| refused(table, e))?;
            Ok(())
        }
        (wanted, existing) => Err(different(
            table,
            format!(
                "its time to live is in {}, the template's is in {}",
                existing.as_deref().unwrap_or("no attribute"),
                wanted.as_deref().unwrap_or("no attribute"),
            ),
        )),
    }
}

/// Checks what cannot be changed in an existing table.
fn compare(table: &Table, existing: &TableDescription) -> Result<(), DynamoDbError> {
    if key(existing.key_schema()) != Some(table.key.clone()) {
        return Err(different(table, "it has another key".into()));
    }
    let types: BTreeMap<&str, &str> = existing
        .attribute_definitions()
        .iter()
        .map(|one| (one.attribute_name(), one.attribute_type().as_str()))
        .collect();
    for (name, kind) in &table.attributes {
        if types
            .get(name.as_str())
            .is_some_and(|existing| existing != kind)
        {
            return Err(different(table, format!("{name} is not of type {kind}")));
        }
    }
    for index in existing.global_secondary_indexes() {
        let name = index.index_name().unwrap_or_default();
        let wanted = table.indexes.iter().find(|wanted| wanted.name == name);
        let Some(wanted) = wanted else {
            return Err(different(
                table,
                format!("it has an index {name} that the template has not"),
            ));
        };
        if key(index.key_schema()) != Some(wanted.key.clone()) {
            return Err(different(
                table,
                format!("its index {name} has another key"),
            ));
        }
        if projected(index) != Some(wanted.projection.clone()) {
            return Err(different(
                table,
                format!("its index {name} has another projection"),
            ));
        }
    }
    Ok(())
}

fn missing_indexes<'a>(table: &'a Table, existing: &TableDescription) -> Vec<&'a Index> {
    let names: Vec<&str> = existing
        .global_secondary_indexes()
        .iter()
        .filter_map(GlobalSecondaryIndexDescription::index_name)
        .collect();
    let missing = |index: &&Index| !names.contains(&index.name.as_str());
    table.indexes.iter().filter(missing).collect()
}

fn key(schema: &[KeySchemaElement]) -> Option<Key> {
    let of_type = |kind: &KeyType| {
        let element = schema.iter().find(|element| element.key_type() == kind);
        element.map(|element| element.attribute_name().to_owned())
    };
    Some(Key {
        hash: of_type(&KeyType::Hash)?,
        range: of_type(&KeyType::Range),
    })
}

fn projected(index: &GlobalSecondaryIndexDescription) -> Option<Projection> {
    let projection = index.projection()?;
    match projection.projection_type()? {
        ProjectionType::All => Some(Projection::All),
        ProjectionType::KeysOnly => Some(Projection::KeysOnly),
        ProjectionType::Include => {
            let mut attributes = projection.non_key_attributes().to_vec();
            attributes.sort();
            Some(Projection::Include(attributes))
        }
        _ => None,
    }
}

type Invalid = aws_sdk_dynamodb::error::BuildError;

fn definitions(table: &Table) -> Result<Vec<AttributeDefinition>, Invalid> {
    table
        .attributes
        .iter()
        .map(|(name, kind)| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::from(kind.as_str()))
                .build()
        })
        .collect()
}

fn key_schema(key: &Key) -> Result<Vec<KeySchemaElement>, Invalid> {
    let element = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
    };
    let hash = element(&key.hash, KeyType::Hash);
    let range = key.range.as_ref().map(|name| element(name, KeyType::Range));
    std::iter::once(hash).chain(range).collect()
}

fn projection(projection: &Projection) -> aws_sdk_dynamodb::types::Projection {
    let builder = aws_sdk_dynamodb::types::Projection::builder();
    match projection {
        Projection::All => builder.projection_type(ProjectionType::All),
        Projection::KeysOnly => builder.projection_type(ProjectionType::KeysOnly),
        Projection::Include(attributes) => builder
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(attributes.clone())),
    }
    .build()
}

fn refused(table: &Table, error: impl std::error::Error) -> DynamoDbError {
    DynamoDbError::Refused {
        table: table.name.clone(),
        reason: DisplayErrorContext(error).to_string(),
    }
}

fn different(table: &Table, difference: String) -> DynamoDbError {
    DynamoDbError::Different {
        table: table.name.clone(),
        difference,
    }
}
