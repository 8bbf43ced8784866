//! `TableDescription`, as responses contain it.

use serde::Serialize;

use crate::schema::{Billing, Index, IndexProjection, KeySchema, Schema};

/// Account and region in ARNs. The engine does not read them.
const ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TableDescription {
    table_name: String,
    table_status: &'static str,
    table_id: String,
    table_arn: String,
    creation_date_time: u64,
    attribute_definitions: Vec<AttributeDefinition>,
    key_schema: Vec<KeyElement>,
    provisioned_throughput: Throughput,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_mode_summary: Option<BillingModeSummary>,
    table_size_bytes: u64,
    item_count: u64,
    deletion_protection_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    global_secondary_indexes: Option<Vec<IndexDescription>>,
}

#[derive(Serialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
struct AttributeDefinition {
    attribute_name: String,
    attribute_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyElement {
    attribute_name: String,
    key_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Throughput {
    read_capacity_units: u64,
    write_capacity_units: u64,
    number_of_decreases_today: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BillingModeSummary {
    billing_mode: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IndexDescription {
    index_name: String,
    index_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backfilling: Option<bool>,
    index_arn: String,
    key_schema: Vec<KeyElement>,
    projection: Projection,
    provisioned_throughput: Throughput,
    index_size_bytes: u64,
    item_count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Projection {
    projection_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    non_key_attributes: Option<Vec<String>>,
}

fn elements(key: &KeySchema) -> Vec<KeyElement> {
    key.attributes()
        .zip(["HASH", "RANGE"])
        .map(|(attribute, key_type)| KeyElement {
            attribute_name: attribute.name.clone(),
            key_type,
        })
        .collect()
}

fn throughput(billing: Billing) -> Throughput {
    let (read_capacity_units, write_capacity_units) = match billing {
        Billing::PayPerRequest => (0, 0),
        Billing::Provisioned { read, write } => (read, write),
    };
    Throughput {
        read_capacity_units,
        write_capacity_units,
        number_of_decreases_today: 0,
    }
}

fn index(
    schema: &Schema,
    index: &Index,
    count: u64,
    status: Option<&'static str>,
) -> IndexDescription {
    let built = if index.is_active {
        "ACTIVE"
    } else {
        "CREATING"
    };
    let (projection_type, non_key_attributes) = match &index.projection {
        IndexProjection::All => ("ALL", None),
        IndexProjection::KeysOnly => ("KEYS_ONLY", None),
        IndexProjection::Include(names) => ("INCLUDE", Some(names.clone())),
    };
    IndexDescription {
        index_name: index.name.clone(),
        index_status: status.unwrap_or(built),
        backfilling: (!index.is_active).then_some(true),
        index_arn: format!("{ARN}/{}/index/{}", schema.name, index.name),
        key_schema: elements(&index.key),
        projection: Projection {
            projection_type,
            non_key_attributes,
        },
        provisioned_throughput: throughput(schema.billing),
        index_size_bytes: 0,
        item_count: count,
    }
}

impl TableDescription {
    /// `status` is that of the table, and of an index that has no status of its own.
    pub(super) fn new(schema: &Schema, status: &'static str, item_count: u64) -> Self {
        let mut attribute_definitions: Vec<AttributeDefinition> = Vec::new();
        let indexes = &schema.indexes;
        for key in std::iter::once(&schema.key).chain(indexes.iter().map(|index| &index.key)) {
            for attribute in key.attributes() {
                let definition = AttributeDefinition {
                    attribute_name: attribute.name.clone(),
                    attribute_type: attribute.kind.name(),
                };
                if !attribute_definitions.contains(&definition) {
                    attribute_definitions.push(definition);
                }
            }
        }
        let index_status = Some(status).filter(|status| *status == "CREATING");
        Self {
            table_name: schema.name.clone(),
            table_status: status,
            table_id: schema.table_id.clone(),
            table_arn: format!("{ARN}/{}", schema.name),
            creation_date_time: schema.created_at,
            attribute_definitions,
            key_schema: elements(&schema.key),
            provisioned_throughput: throughput(schema.billing),
            billing_mode_summary: (schema.billing == Billing::PayPerRequest).then_some(
                BillingModeSummary {
                    billing_mode: "PAY_PER_REQUEST",
                },
            ),
            table_size_bytes: 0,
            item_count,
            deletion_protection_enabled: schema.deletion_protection,
            global_secondary_indexes: (!indexes.is_empty()).then(|| {
                indexes
                    .iter()
                    .map(|one| index(schema, one, item_count, index_status))
                    .collect()
            }),
        }
    }
}

/// A response with a description.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    table_description: TableDescription,
}

impl Described {
    pub(super) fn new(schema: &Schema, status: &'static str, item_count: u64) -> Self {
        Self {
            table_description: TableDescription::new(schema, status, item_count),
        }
    }
}
