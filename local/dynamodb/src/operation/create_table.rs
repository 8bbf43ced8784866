//! `CreateTable`, and the definitions of keys and indexes that `UpdateTable` shares.

use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::description::Described;
use super::parameters::{check_name, option, required, table_name};
use crate::error::{ApiError, Kind, Result};
use crate::json::Text;
use crate::request::read;
use crate::schema::{Billing, Index, IndexProjection, KeyAttribute, KeySchema, KeyType, Schema};
use crate::shared::Shared;
use crate::table::{Layout, Table};

/// The maximum number of global secondary indexes of a table (an AWS limit).
pub(super) const MAX_INDEXES: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    attribute_definitions: Option<Vec<AttributeDefinition<'a>>>,
    key_schema: Option<Vec<KeyElement<'a>>>,
    global_secondary_indexes: Option<Vec<IndexDefinition<'a>>>,
    local_secondary_indexes: Option<Vec<IgnoredAny>>,
    billing_mode: Option<Text<'a>>,
    provisioned_throughput: Option<Throughput>,
    deletion_protection_enabled: Option<bool>,
    stream_specification: Option<StreamSpecification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamSpecification {
    stream_enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttributeDefinition<'a> {
    #[serde(borrow)]
    attribute_name: Option<Text<'a>>,
    attribute_type: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeyElement<'a> {
    #[serde(borrow)]
    attribute_name: Option<Text<'a>>,
    key_type: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IndexDefinition<'a> {
    #[serde(borrow)]
    index_name: Option<Text<'a>>,
    key_schema: Option<Vec<KeyElement<'a>>>,
    projection: Option<ProjectionDefinition<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProjectionDefinition<'a> {
    #[serde(borrow)]
    projection_type: Option<Text<'a>>,
    non_key_attributes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Throughput {
    read_capacity_units: Option<u64>,
    write_capacity_units: Option<u64>,
}

pub(super) fn create_table(shared: &Shared, body: &[u8]) -> Result<Described> {
    let request: Request<'_> = read(body)?;
    let name = table_name(request.table_name.as_ref())?;
    let definitions = definitions(request.attribute_definitions)?;
    let elements = required(request.key_schema, "keySchema")?;
    let billing = billing(
        request.billing_mode.as_ref(),
        request.provisioned_throughput.as_ref(),
    )?;
    if request
        .local_secondary_indexes
        .is_some_and(|indexes| !indexes.is_empty())
    {
        return Err(ApiError::validation(
            "Local secondary indexes are not supported by this engine",
        ));
    }
    if request
        .stream_specification
        .is_some_and(|stream| stream.stream_enabled == Some(true))
    {
        return Err(ApiError::validation(
            "Streams are not supported by this engine",
        ));
    }
    let key = key_schema(&elements, &definitions)?;
    let mut indexes = Vec::new();
    let given = request.global_secondary_indexes;
    if given.as_ref().is_some_and(Vec::is_empty) {
        return Err(ApiError::invalid_parameter(
            "List of GlobalSecondaryIndexes is empty",
        ));
    }
    for definition in given.unwrap_or_default() {
        let index = index(definition, &definitions, shared.new_id())?;
        if indexes.iter().any(|one: &Index| one.name == index.name) {
            return Err(ApiError::invalid_parameter(format_args!(
                "Duplicate index name: {}",
                index.name
            )));
        }
        indexes.push(Index {
            is_active: true,
            ..index
        });
    }
    if indexes.len() > MAX_INDEXES {
        return Err(ApiError::invalid_parameter(
            "GlobalSecondaryIndex count exceeds the per-table limit of 20",
        ));
    }
    check_all_used(&definitions, &key, &indexes)?;
    let schema = Schema {
        name: name.to_owned(),
        id: shared.new_id(),
        table_id: ulid::Ulid::generate().to_string().to_lowercase(),
        created_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        key,
        indexes,
        ttl_attribute: None,
        billing,
        deletion_protection: request.deletion_protection_enabled == Some(true),
    };
    let description = Described::new(&schema, "CREATING", 0);
    let _alone = shared
        .catalogue
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if shared.table(name).is_ok() {
        return Err(ApiError::new(
            Kind::ResourceInUse,
            format!("Table already exists: {name}"),
        ));
    }
    // The keyspaces are created first, so that a table in the catalogue has all of them.
    let layout = Layout::open(&shared.store, schema.clone())?;
    shared.save(&schema)?;
    let mut tables = shared
        .tables
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    tables.insert(schema.name, Arc::new(Table::new(layout)));
    Ok(description)
}

/// The billing mode of a table.
pub(super) fn billing(mode: Option<&Text<'_>>, throughput: Option<&Throughput>) -> Result<Billing> {
    let mode = option(mode, "billingMode", &["PROVISIONED", "PAY_PER_REQUEST"])?;
    let units =
        throughput.and_then(|units| units.read_capacity_units.zip(units.write_capacity_units));
    match (mode, units) {
        (Some("PAY_PER_REQUEST"), None) => Ok(Billing::PayPerRequest),
        (Some("PAY_PER_REQUEST"), Some(_)) => Err(ApiError::invalid_parameter(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is \
             PAY_PER_REQUEST",
        )),
        (_, Some((read, write))) => Ok(Billing::Provisioned { read, write }),
        (_, None) => Err(ApiError::invalid_parameter(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is \
             PROVISIONED",
        )),
    }
}

/// Key attributes with their types.
pub(super) fn definitions(
    given: Option<Vec<AttributeDefinition<'_>>>,
) -> Result<Vec<KeyAttribute>> {
    let mut definitions: Vec<KeyAttribute> = Vec::new();
    for definition in required(given, "attributeDefinitions")? {
        let name = required(
            definition.attribute_name,
            "attributeDefinitions.member.attributeName",
        )?;
        let kind = option(
            definition.attribute_type.as_ref(),
            "attributeDefinitions.1.member.attributeType",
            &["B", "N", "S"],
        )?;
        let kind = match required(kind, "attributeDefinitions.member.attributeType")? {
            "B" => KeyType::B,
            "N" => KeyType::N,
            _ => KeyType::S,
        };
        if definitions.iter().any(|one| one.name == *name.0) {
            return Err(ApiError::invalid_parameter(
                "Cannot have two attributes with the same name",
            ));
        }
        definitions.push(KeyAttribute {
            name: name.to_string(),
            kind,
        });
    }
    Ok(definitions)
}

fn key_schema(elements: &[KeyElement<'_>], definitions: &[KeyAttribute]) -> Result<KeySchema> {
    if elements.is_empty() || elements.len() > 2 {
        let rule = if elements.is_empty() {
            "greater than or equal to 1"
        } else {
            "less than or equal to 2"
        };
        return Err(ApiError::constraint(format_args!(
            "Value at 'keySchema' failed to satisfy constraint: Member must have length {rule}"
        )));
    }
    let mut attributes = Vec::new();
    for (element, wanted) in elements.iter().zip(["HASH", "RANGE"]) {
        let kind = option(
            element.key_type.as_ref(),
            "keySchema.1.member.keyType",
            &["HASH", "RANGE"],
        )?;
        if kind != Some(wanted) {
            return Err(ApiError::validation(if wanted == "HASH" {
                "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"
            } else {
                "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"
            }));
        }
        let name = required(
            element.attribute_name.as_ref(),
            "keySchema.member.attributeName",
        )?;
        let definition = definitions.iter().find(|one| *one.name == **name);
        attributes.push(definition.cloned().ok_or_else(|| {
            let keys: Vec<&str> = elements
                .iter()
                .filter_map(|element| element.attribute_name.as_deref())
                .collect();
            let defined: Vec<&str> = definitions.iter().map(|one| one.name.as_str()).collect();
            ApiError::invalid_parameter(format_args!(
                "Some index key attributes are not defined in AttributeDefinitions. \
                 Keys: [{}], AttributeDefinitions: [{}]",
                keys.join(", "),
                defined.join(", ")
            ))
        })?);
    }
    let range = attributes.get(1).cloned();
    let hash = attributes.swap_remove(0);
    if range.as_ref().is_some_and(|range| range.name == hash.name) {
        return Err(ApiError::validation(
            "Both the Hash Key and the Range Key element in the KeySchema have the same name",
        ));
    }
    Ok(KeySchema { hash, range })
}

/// An index that is not active yet.
pub(super) fn index(
    definition: IndexDefinition<'_>,
    definitions: &[KeyAttribute],
    id: u64,
) -> Result<Index> {
    let name = required(
        definition.index_name,
        "globalSecondaryIndexes.member.indexName",
    )?;
    check_name(&name, "globalSecondaryIndexes.1.member.indexName")?;
    let elements = required(
        definition.key_schema,
        "globalSecondaryIndexes.member.keySchema",
    )?;
    let projection = required(
        definition.projection,
        "globalSecondaryIndexes.member.projection",
    )?;
    let kind = option(
        projection.projection_type.as_ref(),
        "globalSecondaryIndexes.1.member.projection.projectionType",
        &["ALL", "INCLUDE", "KEYS_ONLY"],
    )?;
    let names = projection.non_key_attributes;
    let projection = match (kind, names) {
        (Some("ALL"), None) => IndexProjection::All,
        (Some("KEYS_ONLY"), None) => IndexProjection::KeysOnly,
        (Some("INCLUDE"), Some(names)) if !names.is_empty() => IndexProjection::Include(names),
        (Some("INCLUDE"), _) => {
            return Err(ApiError::invalid_parameter(
                "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
            ));
        }
        (Some(kind), _) => {
            return Err(ApiError::invalid_parameter(format_args!(
                "ProjectionType is {kind}, but NonKeyAttributes is specified"
            )));
        }
        (None, _) => {
            return Err(ApiError::invalid_parameter("Unknown ProjectionType: null"));
        }
    };
    Ok(Index {
        name: name.to_string(),
        id,
        key: key_schema(&elements, definitions)?,
        projection,
        is_active: false,
    })
}

/// Returns an error if an attribute is defined that no key uses.
fn check_all_used(definitions: &[KeyAttribute], key: &KeySchema, indexes: &[Index]) -> Result<()> {
    let is_used =
        |name: &str| key.contains(name) || indexes.iter().any(|index| index.key.contains(name));
    if definitions.iter().all(|one| is_used(&one.name)) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(
        "Number of attributes in KeySchema does not exactly match number of attributes defined in \
         AttributeDefinitions",
    ))
}
