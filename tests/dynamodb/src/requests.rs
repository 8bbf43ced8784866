//! Requests: an operation and its body.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::expressions::{self, Expression};
use crate::values;

/// The table of most requests.
pub const TABLE: &str = "Compared";

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The operation's name.
    pub operation: &'static str,
    /// The JSON body.
    pub body: Value,
}

/// The request that creates the table: two string keys, and three indexes with different keys and projections.
#[must_use]
pub fn create_table() -> Request {
    let index = |name: &str, hash: &str, range: Option<&str>, projection: Value| {
        let mut schema = vec![json!({"AttributeName": hash, "KeyType": "HASH"})];
        schema.extend(range.map(|range| json!({"AttributeName": range, "KeyType": "RANGE"})));
        json!({"IndexName": name, "KeySchema": schema, "Projection": projection})
    };
    Request {
        operation: "CreateTable",
        body: json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"},
                {"AttributeName": "g", "AttributeType": "S"}, {"AttributeName": "h", "AttributeType": "S"},
                {"AttributeName": "n", "AttributeType": "N"}
            ],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "GlobalSecondaryIndexes": [
                index("by-g", "g", None, json!({"ProjectionType": "ALL"})),
                index("by-h-n", "h", Some("n"), json!({"ProjectionType": "KEYS_ONLY"})),
                index("by-g-sk", "g", Some("sk"), json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a", "b"]}))
            ]
        }),
    }
}

type Body = Map<String, Value>;

/// Fields that most operations have, by chance.
fn common(operation: &'static str) -> impl Strategy<Value = Body> {
    let capacity = prop::option::weighted(
        0.5,
        prop::sample::select(vec!["INDEXES", "TOTAL", "NONE", "total"]),
    );
    let table = prop_oneof![60 => Just(TABLE), 1 => Just("Missing"), 1 => Just("x")];
    (table, capacity).prop_map(move |(table, capacity)| {
        let mut body = Body::new();
        if operation != "BatchGetItem" && operation != "BatchWriteItem" {
            body.insert("TableName".into(), table.into());
        }
        if let Some(capacity) = capacity {
            // An invalid value comes rarely: one word in four of half the requests would be too often.
            body.insert(
                "ReturnConsumedCapacity".into(),
                capacity.to_uppercase().into(),
            );
        }
        body
    })
}

fn write_options() -> impl Strategy<Value = Body> {
    let values = prop::option::weighted(
        0.5,
        prop::sample::select(vec![
            "NONE",
            "ALL_OLD",
            "ALL_NEW",
            "UPDATED_OLD",
            "UPDATED_NEW",
        ]),
    );
    let on_failure = prop::option::weighted(0.3, prop::sample::select(vec!["ALL_OLD", "NONE"]));
    (values, on_failure).prop_map(|(values, on_failure)| {
        let mut body = Body::new();
        if let Some(values) = values {
            body.insert("ReturnValues".into(), values.into());
        }
        if let Some(on_failure) = on_failure {
            body.insert(
                "ReturnValuesOnConditionCheckFailure".into(),
                on_failure.into(),
            );
        }
        body
    })
}

fn merge(
    operation: &'static str,
    parts: Vec<Body>,
    expressions: &[Expression],
    stray: u8,
) -> Request {
    let mut body: Body = parts.into_iter().flatten().collect();
    expressions::attach(&mut body, expressions, stray);
    Request {
        operation,
        body: Value::Object(body),
    }
}

fn object(value: Value) -> Body {
    match value {
        Value::Object(body) => body,
        _ => Body::new(),
    }
}

fn put() -> impl Strategy<Value = Request> {
    let condition = prop::option::weighted(0.4, expressions::condition());
    (
        common("PutItem"),
        write_options(),
        values::item(),
        condition,
        0u8..60,
    )
        .prop_map(|(common, options, item, condition, stray)| {
            let mut own = object(json!({"Item": item}));
            own.extend(
                condition
                    .as_ref()
                    .map(|one| ("ConditionExpression".to_owned(), one.text.clone().into())),
            );
            merge(
                "PutItem",
                vec![common, options, own],
                &Vec::from_iter(condition),
                stray,
            )
        })
}

fn delete() -> impl Strategy<Value = Request> {
    let condition = prop::option::weighted(0.4, expressions::condition());
    (
        common("DeleteItem"),
        write_options(),
        values::key(),
        condition,
        0u8..60,
    )
        .prop_map(|(common, options, key, condition, stray)| {
            let mut own = object(json!({"Key": key}));
            own.extend(
                condition
                    .as_ref()
                    .map(|one| ("ConditionExpression".to_owned(), one.text.clone().into())),
            );
            merge(
                "DeleteItem",
                vec![common, options, own],
                &Vec::from_iter(condition),
                stray,
            )
        })
}

fn update() -> impl Strategy<Value = Request> {
    let condition = prop::option::weighted(0.3, expressions::condition());
    let update = prop::option::weighted(0.97, expressions::update());
    (
        common("UpdateItem"),
        write_options(),
        values::key(),
        update,
        condition,
        0u8..60,
    )
        .prop_map(|(common, options, key, update, condition, stray)| {
            let mut own = object(json!({"Key": key}));
            own.extend(
                update
                    .as_ref()
                    .map(|one| ("UpdateExpression".to_owned(), one.text.clone().into())),
            );
            own.extend(
                condition
                    .as_ref()
                    .map(|one| ("ConditionExpression".to_owned(), one.text.clone().into())),
            );
            let all: Vec<Expression> = update.into_iter().chain(condition).collect();
            merge("UpdateItem", vec![common, options, own], &all, stray)
        })
}

fn get() -> impl Strategy<Value = Request> {
    let projection = prop::option::weighted(0.4, expressions::projection());
    let consistent = prop::option::of(any::<bool>());
    (
        common("GetItem"),
        values::key(),
        projection,
        consistent,
        0u8..60,
    )
        .prop_map(|(common, key, projection, consistent, stray)| {
            let mut own = object(json!({"Key": key}));
            own.extend(projection.map(|text| ("ProjectionExpression".to_owned(), text.into())));
            own.extend(consistent.map(|yes| ("ConsistentRead".to_owned(), yes.into())));
            merge("GetItem", vec![common, own], &[], stray)
        })
}

/// Options of Query and Scan.
fn read_options() -> impl Strategy<Value = (Body, Vec<Expression>)> {
    let filter = prop::option::weighted(0.4, expressions::condition());
    let projection = prop::option::weighted(0.3, expressions::projection());
    let select = prop::option::weighted(
        0.2,
        prop::sample::select(vec![
            "COUNT",
            "ALL_ATTRIBUTES",
            "ALL_PROJECTED_ATTRIBUTES",
            "SPECIFIC_ATTRIBUTES",
        ]),
    );
    let consistent = prop::option::weighted(0.3, any::<bool>());
    (filter, projection, select, consistent).prop_map(|(filter, projection, select, consistent)| {
        let mut body = Body::new();
        body.extend(
            filter
                .as_ref()
                .map(|one| ("FilterExpression".to_owned(), one.text.clone().into())),
        );
        body.extend(projection.map(|text| ("ProjectionExpression".to_owned(), text.into())));
        body.extend(select.map(|select| ("Select".to_owned(), select.into())));
        body.extend(consistent.map(|yes| ("ConsistentRead".to_owned(), yes.into())));
        (body, Vec::from_iter(filter))
    })
}

fn query() -> impl Strategy<Value = Request> {
    let index = prop::sample::select(vec![
        (None, "pk", Some("sk")),
        (Some("by-g"), "g", None),
        (Some("by-h-n"), "h", Some("n")),
        (Some("by-g-sk"), "g", Some("sk")),
    ]);
    index.prop_flat_map(|(index, hash, range)| {
        let condition = expressions::key_condition(hash, range);
        let limit = prop::option::weighted(0.4, 0u32..4);
        let forward = prop::option::of(any::<bool>());
        (
            common("Query"),
            read_options(),
            condition,
            limit,
            forward,
            0u8..60,
        )
            .prop_map(
                move |(common, (options, mut all), condition, limit, forward, stray)| {
                    let mut own = object(json!({"KeyConditionExpression": condition.text}));
                    own.extend(index.map(|index| ("IndexName".to_owned(), index.into())));
                    own.extend(limit.map(|limit| ("Limit".to_owned(), limit.into())));
                    own.extend(forward.map(|yes| ("ScanIndexForward".to_owned(), yes.into())));
                    all.push(condition);
                    merge("Query", vec![common, options, own], &all, stray)
                },
            )
    })
}

/// Scans have no limit: the order of partitions is an engine's own.
fn scan() -> impl Strategy<Value = Request> {
    let index = prop::option::weighted(
        0.5,
        prop::sample::select(vec!["by-g", "by-h-n", "by-g-sk", "missing"]),
    );
    (common("Scan"), read_options(), index, 0u8..60).prop_map(
        |(common, (options, all), index, stray)| {
            let own: Body = index
                .into_iter()
                .map(|index| ("IndexName".to_owned(), index.into()))
                .collect();
            merge("Scan", vec![common, options, own], &all, stray)
        },
    )
}

fn batch_write() -> impl Strategy<Value = Request> {
    let one = prop_oneof![
        3 => values::item().prop_map(|item| json!({"PutRequest": {"Item": item}})),
        1 => values::key().prop_map(|key| json!({"DeleteRequest": {"Key": key}})),
    ];
    let count = prop_oneof![20 => 1usize..5, 1 => 26usize..27, 1 => 0usize..1];
    (common("BatchWriteItem"), count).prop_flat_map(move |(common, count)| {
        prop::collection::vec(one.clone(), count).prop_map(move |requests| {
            let own = object(json!({"RequestItems": {TABLE: requests}}));
            merge("BatchWriteItem", vec![common.clone(), own], &[], 99)
        })
    })
}

fn batch_get() -> impl Strategy<Value = Request> {
    let keys = prop::collection::vec(values::key(), 0..5);
    let projection =
        prop::option::weighted(0.3, prop::sample::select(vec!["pk, a", "a, b, g", "sk"]));
    (common("BatchGetItem"), keys, projection, any::<bool>()).prop_map(
        |(common, keys, projection, consistent)| {
            let mut table = object(json!({"Keys": keys, "ConsistentRead": consistent}));
            table.extend(projection.map(|text| ("ProjectionExpression".to_owned(), text.into())));
            let own = object(json!({"RequestItems": {TABLE: table}}));
            merge("BatchGetItem", vec![common, own], &[], 99)
        },
    )
}

/// A statement on one item, in the forms that the members table is written with, and variations.
fn statement() -> impl Strategy<Value = (String, Vec<Value>)> {
    let name = || prop::sample::select(vec!["a", "b", "g", "n"]);
    let insert = (values::partition(), values::sort(), name(), values::value()).prop_map(
        |(pk, sk, name, value)| {
            (
                format!("INSERT INTO \"{TABLE}\" VALUE {{'pk': ?, 'sk': ?, '{name}': ?}}"),
                vec![pk, sk, value],
            )
        },
    );
    let update = (
        values::partition(),
        values::sort(),
        name(),
        values::value(),
        name(),
        values::value(),
    )
        .prop_map(|(pk, sk, name, value, other, existing)| {
            let text = format!(
                "UPDATE \"{TABLE}\" SET {name} = ? WHERE pk = ? AND sk = ? AND {other} = ?"
            );
            (text, vec![value, pk, sk, existing])
        });
    let plain = (values::partition(), values::sort(), name(), values::value()).prop_map(
        |(pk, sk, name, value)| {
            (
                format!("UPDATE \"{TABLE}\" SET \"{name}\" = ? WHERE \"pk\" = ? AND \"sk\" = ?"),
                vec![value, pk, sk],
            )
        },
    );
    let delete = (values::partition(), values::sort()).prop_map(|(pk, sk)| {
        (
            format!("DELETE FROM \"{TABLE}\" WHERE pk = ? AND sk = ?"),
            vec![pk, sk],
        )
    });
    let select = (values::partition(), values::sort()).prop_map(|(pk, sk)| {
        (
            format!("SELECT * FROM \"{TABLE}\" WHERE pk = ? AND sk = ?"),
            vec![pk, sk],
        )
    });
    prop_oneof![3 => insert, 2 => update, 2 => plain, 1 => delete, 1 => select]
}

fn execute() -> impl Strategy<Value = Request> {
    statement().prop_map(|(text, parameters)| Request {
        operation: "ExecuteStatement",
        body: json!({"Statement": text, "Parameters": parameters}),
    })
}

fn batch_execute() -> impl Strategy<Value = Request> {
    (
        common("BatchExecuteStatement"),
        prop::collection::vec(statement(), 1..4),
    )
        .prop_map(|(mut common, statements)| {
            common.remove("TableName");
            let statements: Vec<Value> = statements
                .into_iter()
                .map(|(text, parameters)| json!({"Statement": text, "Parameters": parameters}))
                .collect();
            common.insert("Statements".into(), statements.into());
            Request {
                operation: "BatchExecuteStatement",
                body: Value::Object(common),
            }
        })
}

/// Any request.
pub fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        8 => put(),
        6 => update(),
        3 => delete(),
        4 => get(),
        5 => query(),
        2 => scan(),
        2 => batch_write(),
        2 => batch_get(),
        2 => execute(),
        2 => batch_execute(),
    ]
}
