use serde_json::{Value, json};

use super::{Bench, VALIDATION, item, key};

#[test]
fn items_that_no_table_holds_are_refused() {
    let bench = Bench::new();
    let nested = (0..33).fold(json!({"S": "x"}), |inner, _| json!({"L": [inner]}));
    let invalid = "One or more parameter values were invalid: ";
    let cases = [
        (json!({"p": {"S": "p"}}), format!("{invalid}Missing the key s in the item")),
        (
            json!({"p": {"S": "p"}, "s": {"N": "1"}}),
            format!("{invalid}Type mismatch for key s expected: S actual: N"),
        ),
        (
            key("p", ""),
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: s".to_owned(),
        ),
        (
            key("p", &"s".repeat(1025)),
            format!("{invalid}Aggregated size of all range keys has exceeded the size limit of 1024 bytes"),
        ),
        (
            key(&"p".repeat(2049), "s"),
            format!("{invalid}Size of hashkey has exceeded the maximum size limit of2048 bytes"),
        ),
        (
            item("p", "s", &json!({"x": {"S": "x".repeat(400 * 1024)}})),
            "Item size has exceeded the maximum allowed size".to_owned(),
        ),
        (
            item("p", "s", &json!({"x": nested})),
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels \
             beyond supported limit"
                .to_owned(),
        ),
        (
            item("p", "s", &json!({"score": {"S": "1"}})),
            format!("{invalid}Type mismatch for Index Key score Expected: N Actual: S IndexName: by-kind"),
        ),
        (
            item("p", "s", &json!({"x": {"SS": []}})),
            format!("{invalid}An string set  may not be empty"),
        ),
        (
            item("p", "s", &json!({"x": {"SS": ["a", "a"]}})),
            format!("{invalid}Input collection [a, a] contains duplicates."),
        ),
        (
            item("p", "s", &json!({"x": {"N": "1", "S": "1"}})),
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the \
             supported datatypes"
                .to_owned(),
        ),
        (
            item("p", "s", &json!({"x": {}})),
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
                .to_owned(),
        ),
        (
            item("p", "s", &json!({"x": {"N": "one"}})),
            "The parameter cannot be converted to a numeric value: one".to_owned(),
        ),
    ];
    for (item, message) in cases {
        let found = bench.refused("PutItem", json!({"TableName": "things", "Item": item}));
        assert_eq!(found, (VALIDATION.to_owned(), message));
    }
    assert_eq!(
        bench.done("Scan", json!({"TableName": "things"}))["Count"],
        0
    );
}

#[test]
fn what_is_not_implemented_is_refused() {
    let bench = Bench::new();
    assert_eq!(
        bench.refused("CreateBackup", json!({})).0,
        "UnknownOperationException"
    );
    let legacy = [
        ("PutItem", json!({"Item": key("p", "s"), "Expected": {}})),
        (
            "UpdateItem",
            json!({"Key": key("p", "s"), "AttributeUpdates": {}}),
        ),
        (
            "GetItem",
            json!({"Key": key("p", "s"), "AttributesToGet": ["p"]}),
        ),
        ("Query", json!({"KeyConditions": {}})),
        ("Scan", json!({"ScanFilter": {}})),
    ];
    for (operation, mut body) in legacy {
        body["TableName"] = json!("things");
        let (kind, message) = bench.refused(operation, body);
        assert_eq!(kind, VALIDATION);
        assert!(message.contains("legacy parameter"), "{message}");
    }
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let bench = Bench::new();
    for key in [
        json!({"p": {"S": "p"}}),
        json!({"p": {"S": "p"}, "s": {"N": "1"}}),
        json!({}),
    ] {
        let get = json!({"TableName": "things", "Key": key});
        let (_, message) = bench.refused("GetItem", get);
        assert_eq!(
            message,
            "The provided key element does not match the schema"
        );
    }
    let get = json!({"TableName": "nothing", "Key": key("p", "s")});
    assert_eq!(bench.refused("GetItem", get).0, "ResourceNotFoundException");
    let get = json!({"TableName": 3, "Key": key("p", "s")});
    assert_eq!(bench.refused("GetItem", get).0, "SerializationException");
    let (kind, message) = bench.refused("GetItem", json!({"Key": key("p", "s")}));
    assert_eq!(kind, VALIDATION);
    assert!(message.contains("Value null at 'tableName'"), "{message}");
}

#[test]
fn expired_items_are_swept() {
    use std::time::{Duration, UNIX_EPOCH};
    let bench = Bench::new();
    bench.done(
        "UpdateTimeToLive",
        json!({
            "TableName": "things",
            "TimeToLiveSpecification": {"AttributeName": "until", "Enabled": true},
        }),
    );
    bench.put(item(
        "p",
        "old",
        &json!({"until": {"N": "999"}, "kind": {"S": "k"}, "score": {"N": "1"}}),
    ));
    bench.put(item("p", "young", &json!({"until": {"N": "1001"}})));
    bench.put(item("p", "eternal", &json!({"until": {"S": "999"}})));
    let now = UNIX_EPOCH + Duration::from_secs(1000);
    assert_eq!(bench.engine.sweep_expired(now).expect("it sweeps"), 1);
    assert_eq!(bench.get("p", "old"), Value::Null);
    let scan = json!({"TableName": "things", "IndexName": "by-kind"});
    assert_eq!(bench.done("Scan", scan)["Count"], 0);
    assert_eq!(bench.engine.sweep_expired(now).expect("it sweeps"), 0);
}

#[test]
fn tables_come_and_go() {
    let bench = Bench::new();
    let table = |name: &str| {
        json!({
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        })
    };
    bench.done("CreateTable", table("more"));
    assert_eq!(
        bench.refused("CreateTable", table("more")).0,
        "ResourceInUseException"
    );
    bench.done(
        "PutItem",
        json!({"TableName": "more", "Item": {"id": {"S": "1"}}}),
    );
    let names = bench.done("ListTables", json!({"Limit": 1}));
    assert_eq!(
        names,
        json!({"TableNames": ["more"], "LastEvaluatedTableName": "more"})
    );
    bench.done("DeleteTable", json!({"TableName": "more"}));
    assert_eq!(
        bench
            .refused("DescribeTable", json!({"TableName": "more"}))
            .0,
        "ResourceNotFoundException"
    );
    bench.done("CreateTable", table("more"));
    assert_eq!(bench.done("Scan", json!({"TableName": "more"}))["Count"], 0);
}
