use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{Bench, item, key};

const THREADS: usize = 4;
const ROUNDS: usize = 200;

#[test]
fn concurrent_updates_of_an_item_all_count() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let bench = &bench;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    bench.done(
                        "UpdateItem",
                        json!({
                            "TableName": "things",
                            "Key": key("p", "s"),
                            "UpdateExpression": "ADD n :one SET kind = :kind, score = :score",
                            "ExpressionAttributeValues": {
                                ":one": {"N": "1"},
                                ":kind": {"S": format!("kind {}", round % 3)},
                                ":score": {"N": thread.to_string()},
                            },
                        }),
                    );
                }
            });
        }
    });
    let item = bench.get("p", "s");
    assert_eq!(item["n"], json!({"N": (THREADS * ROUNDS).to_string()}));
    for index in ["by-kind", "by-score", "by-note"] {
        let scan = json!({"TableName": "things", "IndexName": index});
        assert_eq!(bench.done("Scan", scan)["Count"], 1, "{index}");
    }
}

#[test]
fn of_concurrent_writes_on_one_condition_one_succeeds() {
    let bench = Bench::new();
    let succeeded = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    let put = json!({
                        "TableName": "things",
                        "Item": item("p", &round.to_string(), &json!({"kind": {"S": "k"}, "score": {"N": "1"}})),
                        "ConditionExpression": "attribute_not_exists(p)",
                    });
                    if bench.call("PutItem", &put).0 == 200 {
                        succeeded.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(succeeded.into_inner(), ROUNDS);
}

#[test]
fn writes_while_an_index_is_filled_are_in_it() {
    let bench = Bench::new();
    for number in 0..1000 {
        bench.put(item(
            "p",
            &format!("{number:04}"),
            &json!({"colour": {"S": "old"}}),
        ));
    }
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in (0..1000).rev() {
                bench.put(item(
                    "p",
                    &format!("{number:04}"),
                    &json!({"colour": {"S": "new"}}),
                ));
            }
        });
        bench.done(
            "UpdateTable",
            json!({
                "TableName": "things",
                "AttributeDefinitions": [{"AttributeName": "colour", "AttributeType": "S"}],
                "GlobalSecondaryIndexUpdates": [{"Create": super::index(
                    "by-colour", "colour", None, &json!({"ProjectionType": "ALL"}),
                )}],
            }),
        );
        writer.join().expect("it writes");
    });
    let count = |colour: &str| -> Value {
        bench.done(
            "Query",
            json!({
                "TableName": "things",
                "IndexName": "by-colour",
                "KeyConditionExpression": "colour = :c",
                "ExpressionAttributeValues": {":c": {"S": colour}},
                "Select": "COUNT",
            }),
        )["Count"]
            .clone()
    };
    assert_eq!((count("old"), count("new")), (json!(0), json!(1000)));
}
