//! The tables, buckets and queues of the template, and the targets of references to any
//! resource.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::intrinsics::Resolver;
use super::model::{
    Bucket, CorsRule, Index, Key, LifecycleRule, Notification, Projection, Queue, Redrive, Table,
    TemplateError,
};
use super::names::{BUCKET, QUEUE, TABLE, arn};
use super::properties::{of_type, read, text};

/// Ignored: settings of cost, safety and capacity, which clients cannot see.
const TABLE_IGNORED: [&str; 8] = [
    "BillingMode",
    "ProvisionedThroughput",
    "OnDemandThroughput",
    "WarmThroughput",
    "PointInTimeRecoverySpecification",
    "SSESpecification",
    "DeletionProtectionEnabled",
    "Tags",
];

/// Ignored: encryption and public access.
const BUCKET_IGNORED: [&str; 5] = [
    "BucketName",
    "PublicAccessBlockConfiguration",
    "BucketEncryption",
    "OwnershipControls",
    "Tags",
];

const QUEUE_IGNORED: [&str; 7] = [
    "QueueName",
    "SqsManagedSseEnabled",
    "KmsMasterKeyId",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "MaximumMessageSize",
    "Tags",
];

/// The default visibility timeout in seconds (SQS).
const DEFAULT_VISIBILITY_SECONDS: u64 = 30;

/// The default retention in seconds (SQS).
const DEFAULT_RETENTION_SECONDS: u64 = 345_600;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TableProperties {
    #[serde(rename = "TableName")]
    _name: Option<String>,
    attribute_definitions: Vec<AttributeDefinition>,
    key_schema: Vec<KeyElement>,
    #[serde(default)]
    global_secondary_indexes: Vec<IndexProperties>,
    time_to_live_specification: Option<TimeToLive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AttributeDefinition {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KeyElement {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct IndexProperties {
    index_name: String,
    key_schema: Vec<KeyElement>,
    projection: ProjectionProperties,
    #[serde(rename = "WarmThroughput")]
    _warm_throughput: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ProjectionProperties {
    projection_type: String,
    #[serde(default)]
    non_key_attributes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TimeToLive {
    attribute_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    enabled: Option<bool>,
}

pub(super) fn tables(tree: &Value, resolver: &Resolver) -> Result<Vec<Table>, TemplateError> {
    of_type(tree, TABLE)
        .map(|(id, resource)| {
            let properties: TableProperties = read(resolver, id, resource, &TABLE_IGNORED)?;
            let mut indexes = properties
                .global_secondary_indexes
                .into_iter()
                .map(|index| read_index(id, index))
                .collect::<Result<Vec<_>, _>>()?;
            indexes.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(Table {
                logical_id: id.clone(),
                name: resolver.physical_name(id, resource, "TableName")?,
                attributes: properties
                    .attribute_definitions
                    .into_iter()
                    .map(|one| (one.attribute_name, one.attribute_type))
                    .collect(),
                key: key(id, properties.key_schema)?,
                indexes,
                ttl_attribute: properties
                    .time_to_live_specification
                    .filter(|ttl| ttl.enabled == Some(true))
                    .and_then(|ttl| ttl.attribute_name),
            })
        })
        .collect()
}

fn read_index(id: &str, index: IndexProperties) -> Result<Index, TemplateError> {
    let place = format!("{id}.{}", index.index_name);
    let projection = match index.projection.projection_type.as_str() {
        "ALL" => Projection::All,
        "KEYS_ONLY" => Projection::KeysOnly,
        "INCLUDE" => {
            let mut attributes = index.projection.non_key_attributes;
            attributes.sort();
            Projection::Include(attributes)
        }
        other => {
            return Err(TemplateError::unsupported(
                place,
                format!("the projection {other} does not exist"),
            ));
        }
    };
    Ok(Index {
        key: key(&place, index.key_schema)?,
        name: index.index_name,
        projection,
    })
}

fn key(place: &str, schema: Vec<KeyElement>) -> Result<Key, TemplateError> {
    let (mut hash, mut range) = (None, None);
    for element in schema {
        let slot = match element.key_type.as_str() {
            "HASH" => &mut hash,
            "RANGE" => &mut range,
            _ => return Err(TemplateError::unsupported(place, "a key is HASH or RANGE")),
        };
        if slot.replace(element.attribute_name).is_some() {
            return Err(TemplateError::unsupported(
                place,
                "the local stack does not support a key of more than one HASH or RANGE",
            ));
        }
    }
    let hash = hash.ok_or_else(|| TemplateError::unsupported(place, "a key needs a HASH"))?;
    Ok(Key { hash, range })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct BucketProperties {
    #[serde(rename = "CorsConfiguration")]
    cors: Option<CorsConfiguration>,
    #[serde(rename = "NotificationConfiguration")]
    notifications: Option<NotificationConfiguration>,
    #[serde(rename = "LifecycleConfiguration")]
    lifecycle: Option<LifecycleConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct LifecycleConfiguration {
    rules: Vec<LifecycleRuleProperties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct LifecycleRuleProperties {
    #[serde(rename = "Id")]
    _id: Option<String>,
    status: String,
    #[serde(default)]
    prefix: String,
    #[serde(default, deserialize_with = "text")]
    expiration_in_days: Option<i64>,
    abort_incomplete_multipart_upload: Option<AbortIncompleteMultipartUpload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AbortIncompleteMultipartUpload {
    #[serde(deserialize_with = "text")]
    days_after_initiation: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CorsConfiguration {
    cors_rules: Vec<CorsRuleProperties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CorsRuleProperties {
    #[serde(rename = "Id")]
    _id: Option<String>,
    allowed_methods: Vec<String>,
    allowed_origins: Vec<String>,
    #[serde(default)]
    allowed_headers: Vec<String>,
    #[serde(default, alias = "ExposeHeaders")]
    exposed_headers: Vec<String>,
    #[serde(default, deserialize_with = "text")]
    max_age: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NotificationConfiguration {
    #[serde(default)]
    queue_configurations: Vec<QueueConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct QueueConfiguration {
    event: String,
    queue: String,
    filter: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Filter {
    s3_key: FilterKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct FilterKey {
    rules: Vec<FilterRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct FilterRule {
    name: String,
    value: String,
}

pub(super) fn buckets(tree: &Value, resolver: &Resolver) -> Result<Vec<Bucket>, TemplateError> {
    of_type(tree, BUCKET)
        .map(|(id, resource)| {
            let properties: BucketProperties = read(resolver, id, resource, &BUCKET_IGNORED)?;
            let rules = properties.cors.map(|cors| cors.cors_rules);
            let lifecycle = properties.lifecycle.map(|one| one.rules);
            let queues = properties
                .notifications
                .map(|configuration| configuration.queue_configurations);
            Ok(Bucket {
                logical_id: id.clone(),
                name: resolver
                    .physical_name(id, resource, "BucketName")?
                    .to_ascii_lowercase(),
                cors: rules.into_iter().flatten().map(cors_rule).collect(),
                lifecycle: lifecycle
                    .into_iter()
                    .flatten()
                    .flat_map(lifecycle_rules)
                    .collect(),
                notifications: queues
                    .into_iter()
                    .flatten()
                    .map(|configuration| notification(id, configuration))
                    .collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

fn cors_rule(rule: CorsRuleProperties) -> CorsRule {
    CorsRule {
        methods: rule.allowed_methods,
        origins: rule.allowed_origins,
        headers: rule.allowed_headers,
        exposed: rule.exposed_headers,
        max_age: rule.max_age,
    }
}

fn lifecycle_rules(rule: LifecycleRuleProperties) -> impl Iterator<Item = LifecycleRule> {
    let is_enabled = rule.status == "Enabled";
    let prefix = rule.prefix;
    let expire = rule
        .expiration_in_days
        .map(|days| LifecycleRule::Expire { prefix, days });
    let abort = rule
        .abort_incomplete_multipart_upload
        .and_then(|abort| abort.days_after_initiation)
        .map(|days| LifecycleRule::AbortUploads { days });
    expire.into_iter().chain(abort).filter(move |_| is_enabled)
}

fn notification(
    id: &str,
    configuration: QueueConfiguration,
) -> Result<Notification, TemplateError> {
    let place = format!("{id}.NotificationConfiguration");
    let event = match configuration.event.strip_prefix("s3:") {
        Some(event) if event.starts_with("ObjectCreated:") => event.to_owned(),
        _ => {
            return Err(TemplateError::unsupported(
                place,
                format!("the local stack does not announce {}", configuration.event),
            ));
        }
    };
    let (mut prefix, mut suffix) = (String::new(), String::new());
    for rule in configuration
        .filter
        .into_iter()
        .flat_map(|f| f.s3_key.rules)
    {
        match rule.name.to_ascii_lowercase().as_str() {
            "prefix" => prefix = rule.value,
            "suffix" => suffix = rule.value,
            other => {
                return Err(TemplateError::unsupported(
                    place,
                    format!("the filter {other} does not exist"),
                ));
            }
        }
    }
    Ok(Notification {
        event,
        prefix,
        suffix,
        queue_arn: configuration.queue,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct QueueProperties {
    #[serde(default, deserialize_with = "text")]
    visibility_timeout: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    message_retention_period: Option<u64>,
    redrive_policy: Option<RedrivePolicy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedrivePolicy {
    #[serde(rename = "deadLetterTargetArn")]
    target_arn: String,
    #[serde(rename = "maxReceiveCount", deserialize_with = "text")]
    max_receive_count: Option<u32>,
}

pub(super) fn queues(tree: &Value, resolver: &Resolver) -> Result<Vec<Queue>, TemplateError> {
    of_type(tree, QUEUE)
        .map(|(id, resource)| {
            let properties: QueueProperties = read(resolver, id, resource, &QUEUE_IGNORED)?;
            let name = resolver.physical_name(id, resource, "QueueName")?;
            let redrive = properties.redrive_policy.map(|policy| {
                let max_receive_count = policy.max_receive_count.filter(|count| *count > 0);
                let max_receive_count = max_receive_count.ok_or_else(|| {
                    TemplateError::unsupported(
                        format!("{id}.RedrivePolicy"),
                        "maxReceiveCount is at least 1",
                    )
                })?;
                Ok(Redrive {
                    target_arn: policy.target_arn,
                    max_receive_count,
                })
            });
            Ok(Queue {
                logical_id: id.clone(),
                arn: arn("sqs", &name),
                name,
                visibility_timeout: Duration::from_secs(
                    properties
                        .visibility_timeout
                        .unwrap_or(DEFAULT_VISIBILITY_SECONDS),
                ),
                retention: Duration::from_secs(
                    properties
                        .message_retention_period
                        .unwrap_or(DEFAULT_RETENTION_SECONDS),
                ),
                redrive: redrive.transpose()?,
            })
        })
        .collect()
}
