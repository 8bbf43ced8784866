use serde_json::{Value, json};

use super::{Bench, VALIDATION, item, key, sorts};

fn all_pages(bench: &Bench, operation: &str, mut body: Value) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let answer = bench.done(operation, body.clone());
        found.extend(sorts(&answer).into_iter().map(str::to_owned));
        if answer["LastEvaluatedKey"].is_null() {
            return found;
        }
        body["ExclusiveStartKey"] = answer["LastEvaluatedKey"].clone();
    }
}

#[test]
fn pages_end_at_the_limit_and_go_on_from_there() {
    let bench = Bench::new();
    let names: Vec<String> = (0..25).map(|number| format!("{number:02}")).collect();
    for (rank, s) in names.iter().enumerate() {
        let rest = json!({"kind": {"S": "k"}, "score": {"N": (rank / 10).to_string()}});
        bench.put(item("p", s, &rest));
    }
    bench.put(item("q", "other", &json!({})));
    let mut query = json!({
        "TableName": "things",
        "KeyConditionExpression": "p = :p",
        "ExpressionAttributeValues": {":p": {"S": "p"}},
        "Limit": 7,
    });
    assert_eq!(all_pages(&bench, "Query", query.clone()), names);
    query["ScanIndexForward"] = json!(false);
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    assert_eq!(all_pages(&bench, "Query", query.clone()), reversed);
    query["ScanIndexForward"] = json!(true);
    query["IndexName"] = json!("by-kind");
    query["KeyConditionExpression"] = json!("kind = :k");
    query["ExpressionAttributeValues"] = json!({":k": {"S": "k"}});
    let mut by_kind = all_pages(&bench, "Query", query);
    by_kind.sort();
    assert_eq!(by_kind, names);
    // The limit is reached with the last item: there is a key, and nothing behind it.
    let exact = json!({
        "TableName": "things",
        "KeyConditionExpression": "p = :p",
        "ExpressionAttributeValues": {":p": {"S": "p"}},
        "Limit": 25,
    });
    assert_eq!(
        bench.done("Query", exact)["LastEvaluatedKey"],
        key("p", "24")
    );
}

#[test]
fn a_page_holds_a_megabyte() {
    let bench = Bench::new();
    let content = "x".repeat(300_000);
    for number in 0..5 {
        bench.put(item(
            "p",
            &number.to_string(),
            &json!({"content": {"S": content}}),
        ));
    }
    let scan = json!({"TableName": "things", "Select": "COUNT", "ReturnConsumedCapacity": "TOTAL"});
    let answer = bench.done("Scan", scan.clone());
    assert_eq!(answer["Count"], 3);
    assert_eq!(answer["ConsumedCapacity"]["CapacityUnits"], 110.0);
    assert_eq!(answer["LastEvaluatedKey"], key("p", "2"));
    assert_eq!(answer["Items"], Value::Null);
    assert_eq!(
        all_pages(&bench, "Scan", json!({"TableName": "things"})).len(),
        5
    );
}

#[test]
fn conditions_on_the_sort_key_are_ranges() {
    let bench = Bench::new();
    for s in ["a", "ab", "abc", "b", "ba", "c"] {
        bench.put(item("p", s, &json!({})));
    }
    let cases: [(&str, &str, &[&str]); 7] = [
        ("s = :v", "ab", &["ab"]),
        ("s < :v", "b", &["a", "ab", "abc"]),
        ("s <= :v", "b", &["a", "ab", "abc", "b"]),
        ("s > :v", "ab", &["abc", "b", "ba", "c"]),
        ("s >= :v", "ba", &["ba", "c"]),
        ("begins_with(s, :v)", "ab", &["ab", "abc"]),
        ("s BETWEEN :v AND :v", "abc", &["abc"]),
    ];
    for (condition, value, wanted) in cases {
        let answer = bench.done(
            "Query",
            json!({
                "TableName": "things",
                "KeyConditionExpression": format!("p = :p AND {condition}"),
                "ExpressionAttributeValues": {":p": {"S": "p"}, ":v": {"S": value}},
            }),
        );
        assert_eq!(sorts(&answer), wanted, "{condition} {value}");
    }
}

#[test]
fn segments_of_a_scan_share_the_table() {
    let bench = Bench::new();
    for number in 0..60 {
        bench.put(item(&number.to_string(), "s", &json!({})));
    }
    let mut found = 0;
    for segment in 0..4 {
        let scan = json!({"TableName": "things", "Segment": segment, "TotalSegments": 4});
        let count = bench.done("Scan", scan)["Count"].as_u64().expect("a count");
        assert!(count < 60);
        found += count;
    }
    assert_eq!(found, 60);
}

#[test]
fn key_conditions_that_cannot_be_are_refused() {
    let bench = Bench::new();
    let cases = [
        ("s = :a", "Query condition missed key schema element: p"),
        ("p > :a", "Query key condition not supported"),
        (
            "p = :a AND x = :a",
            "Query condition missed key schema element: s",
        ),
        (
            "p = :a OR s = :a",
            "Invalid KeyConditionExpression: Invalid operator used in KeyConditionExpression: OR",
        ),
    ];
    for (condition, message) in cases {
        let found = bench.refused(
            "Query",
            json!({
                "TableName": "things",
                "KeyConditionExpression": condition,
                "ExpressionAttributeValues": {":a": {"S": "a"}},
            }),
        );
        assert_eq!(
            found,
            (VALIDATION.to_owned(), message.to_owned()),
            "{condition}"
        );
    }
}
