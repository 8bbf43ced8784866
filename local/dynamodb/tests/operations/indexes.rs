use serde_json::{Value, json};

use super::{Bench, index, item, sorts};

fn query(name: &str, condition: &str, values: &Value) -> Value {
    json!({
        "TableName": "things",
        "IndexName": name,
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": values,
        "ReturnConsumedCapacity": "INDEXES",
    })
}

#[test]
fn an_index_follows_its_items() {
    let bench = Bench::new();
    let by_kind = |kind: &str| {
        let answer = bench.done(
            "Query",
            query("by-kind", "kind = :k", &json!({":k": {"S": kind}})),
        );
        sorts(&answer)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let put = |s: &str, kind: &str, rank: &str| {
        bench.put(item(
            "p",
            s,
            &json!({"kind": {"S": kind}, "score": {"N": rank}}),
        ));
    };
    put("1", "a", "10");
    put("2", "a", "-3");
    put("3", "b", "1");
    bench.put(item("p", "4", &json!({"kind": {"S": "a"}})));
    assert_eq!(by_kind("a"), ["2", "1"]);
    put("1", "b", "0.5");
    assert_eq!(by_kind("a"), ["2"]);
    assert_eq!(by_kind("b"), ["1", "3"]);
    bench.put(item("p", "3", &json!({})));
    assert_eq!(by_kind("b"), ["1"]);
}

#[test]
fn projections_hold_what_they_say() {
    let bench = Bench::new();
    let rest =
        json!({"kind": {"S": "a"}, "score": {"N": "1"}, "note": {"S": "n"}, "x": {"S": "y"}});
    bench.put(item("p", "1", &rest));
    let by_rank = bench.done(
        "Query",
        query("by-score", "score = :r", &json!({":r": {"N": "1"}})),
    );
    let keys = item("p", "1", &json!({"score": {"N": "1"}}));
    assert_eq!(by_rank["Items"], json!([keys]));
    let by_note = bench.done(
        "Query",
        query("by-note", "kind = :k", &json!({":k": {"S": "a"}})),
    );
    let noted = item("p", "1", &json!({"kind": {"S": "a"}, "note": {"S": "n"}}));
    assert_eq!(by_note["Items"], json!([noted]));
    let capacity = &by_note["ConsumedCapacity"];
    assert_eq!(capacity["Table"]["CapacityUnits"], 0.0);
    assert_eq!(
        capacity["GlobalSecondaryIndexes"]["by-note"]["CapacityUnits"],
        0.5
    );
}

#[test]
fn an_index_costs_what_changes_in_it() {
    let bench = Bench::new();
    let put = |rest: &Value| {
        let put = json!({
            "TableName": "things",
            "Item": item("p", "1", rest),
            "ReturnConsumedCapacity": "INDEXES",
        });
        let capacity = bench.done("PutItem", put)["ConsumedCapacity"].clone();
        let units = |name: &str| {
            capacity["GlobalSecondaryIndexes"][name]["CapacityUnits"]
                .as_f64()
                .unwrap_or(0.0)
        };
        let table = capacity["Table"]["CapacityUnits"].as_f64().expect("units");
        [table, units("by-kind"), units("by-score"), units("by-note")]
            .map(|units| units.to_string())
    };
    let long = "x".repeat(2000);
    let first = json!({"kind": {"S": "a"}, "score": {"N": "1"}, "x": {"S": long}});
    assert_eq!(put(&first), ["2", "2", "1", "1"]);
    assert_eq!(put(&first), ["2", "0", "0", "0"]);
    let other = json!({"kind": {"S": "a"}, "score": {"N": "1"}, "x": {"S": "short"}});
    assert_eq!(put(&other), ["2", "2", "0", "0"]);
    let moved = json!({"kind": {"S": "a"}, "score": {"N": "2"}, "x": {"S": "short"}});
    assert_eq!(put(&moved), ["1", "2", "2", "0"]);
    assert_eq!(put(&json!({})), ["1", "1", "1", "1"]);
}

#[test]
fn a_new_index_is_filled_with_what_exists() {
    let bench = Bench::new();
    for number in 0..500 {
        let rest = json!({"colour": {"S": if number % 5 == 0 { "red" } else { "blue" }}});
        bench.put(item("p", &format!("{number:03}"), &rest));
    }
    bench.done(
        "UpdateTable",
        json!({
            "TableName": "things",
            "AttributeDefinitions": [{"AttributeName": "colour", "AttributeType": "S"}],
            "GlobalSecondaryIndexUpdates": [
                {"Create": index("by-colour", "colour", None, &json!({"ProjectionType": "ALL"}))},
            ],
        }),
    );
    let red = query("by-colour", "colour = :c", &json!({":c": {"S": "red"}}));
    assert_eq!(bench.done("Query", red.clone())["Count"], 100);
    bench.done(
        "UpdateTable",
        json!({
            "TableName": "things",
            "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-colour"}}],
        }),
    );
    let (_, message) = bench.refused("Query", red);
    assert_eq!(
        message,
        "The table does not have the specified index: by-colour"
    );
}
