use serde_json::{Value, json};

use super::{Bench, VALIDATION, item, key};

fn puts(count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| json!({"PutRequest": {"Item": item("p", &number.to_string(), &json!({}))}}))
        .collect()
}

#[test]
fn batches_write_and_read_several_items() {
    let bench = Bench::new();
    let mut requests = puts(24);
    requests.push(json!({"DeleteRequest": {"Key": key("p", "none")}}));
    let write = json!({"RequestItems": {"things": requests}, "ReturnConsumedCapacity": "TOTAL"});
    let answer = bench.done("BatchWriteItem", write);
    assert_eq!(answer["UnprocessedItems"], json!({}));
    assert_eq!(answer["ConsumedCapacity"][0]["CapacityUnits"], 25.0);
    let keys: Vec<Value> = (20..30)
        .map(|number| key("p", &number.to_string()))
        .collect();
    let get = json!({
        "RequestItems": {"things": {"Keys": keys, "ConsistentRead": true, "ProjectionExpression": "s"}},
        "ReturnConsumedCapacity": "TOTAL",
    });
    let answer = bench.done("BatchGetItem", get);
    assert_eq!(
        answer["Responses"]["things"].as_array().map(Vec::len),
        Some(4)
    );
    assert_eq!(answer["ConsumedCapacity"][0]["CapacityUnits"], 10.0);
}

#[test]
fn batches_have_limits() {
    let bench = Bench::new();
    let write = |requests: Vec<Value>| {
        bench.refused(
            "BatchWriteItem",
            json!({"RequestItems": {"things": requests}}),
        )
    };
    assert_eq!(write(puts(26)).0, VALIDATION);
    let mut twice = puts(2);
    twice.push(twice[0].clone());
    assert_eq!(
        write(twice).1,
        "Provided list of item keys contains duplicates"
    );
    let keys: Vec<Value> = (0..101)
        .map(|number| key("p", &number.to_string()))
        .collect();
    let get = json!({"RequestItems": {"things": {"Keys": keys}}});
    assert_eq!(bench.refused("BatchGetItem", get).0, VALIDATION);
    let get = json!({"RequestItems": {"things": {"Keys": [key("p", "1"), key("p", "1")]}}});
    let (_, message) = bench.refused("BatchGetItem", get);
    assert_eq!(message, "Provided list of item keys contains duplicates");
    let get = json!({"RequestItems": {"nothing": {"Keys": [key("p", "1")]}}});
    assert_eq!(
        bench.refused("BatchGetItem", get).0,
        "ResourceNotFoundException"
    );
}

#[test]
fn an_answer_holds_sixteen_megabytes() {
    let bench = Bench::new();
    let content = "x".repeat(390_000);
    for number in 0..50 {
        bench.put(item(
            "p",
            &number.to_string(),
            &json!({"content": {"S": content}}),
        ));
    }
    let keys: Vec<Value> = (0..50)
        .map(|number| key("p", &number.to_string()))
        .collect();
    let answer = bench.done(
        "BatchGetItem",
        json!({"RequestItems": {"things": {"Keys": keys}}}),
    );
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let (found, left) = (
        count(&answer["Responses"]["things"]),
        count(&answer["UnprocessedKeys"]["things"]["Keys"]),
    );
    assert_eq!(found + left, 50);
    assert!(found == 43, "{found}");
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let bench = Bench::new();
    bench.put(item("p", "1", &json!({"n": {"N": "1"}})));
    let action = |expected: &str| {
        json!({"TransactItems": [
            {"Put": {"TableName": "things", "Item": item("p", "2", &json!({}))}},
            {"Update": {
                "TableName": "things",
                "Key": key("p", "1"),
                "UpdateExpression": "SET n = n + :one",
                "ConditionExpression": "n = :n",
                "ExpressionAttributeValues": {":one": {"N": "1"}, ":n": {"N": expected}},
            }},
        ], "ClientRequestToken": expected})
    };
    let (status, answer) = bench.call("TransactWriteItems", &action("7"));
    assert_eq!(status, 400);
    assert_eq!(
        answer["CancellationReasons"][1]["Code"],
        "ConditionalCheckFailed"
    );
    assert_eq!(bench.get("p", "2"), Value::Null);
    bench.done("TransactWriteItems", action("1"));
    // The same request again changes nothing.
    bench.done("TransactWriteItems", action("1"));
    assert_eq!(bench.get("p", "1")["n"], json!({"N": "2"}));
    let get = |s: &str| json!({"Get": {"TableName": "things", "Key": key("p", s)}});
    let answer = bench.done(
        "TransactGetItems",
        json!({"TransactItems": [get("2"), get("3")]}),
    );
    assert_eq!(answer["Responses"], json!([{"Item": key("p", "2")}, {}]));
}
