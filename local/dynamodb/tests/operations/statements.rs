use serde_json::{Value, json};

use super::{Bench, key};

fn statement(text: &str, parameters: &Value) -> Value {
    if parameters.as_array().is_none_or(Vec::is_empty) {
        return json!({"Statement": text});
    }
    json!({"Statement": text, "Parameters": parameters})
}

#[test]
fn statements_insert_update_select_and_delete_an_item() {
    let bench = Bench::new();
    let run = |text: &str, parameters: Value| {
        bench.done("ExecuteStatement", statement(text, &parameters))["Items"].clone()
    };
    run(
        r#"INSERT INTO "things" VALUE {'p': ?, 's': 's', 'n': 1, 'tags': <<'a'>>, 'list': [true, null]}"#,
        json!([{"S": "p"}]),
    );
    let all = run(
        r#"SELECT * FROM "things" WHERE p = 'p' AND s = ?"#,
        json!([{"S": "s"}]),
    );
    assert_eq!(
        all[0]["list"],
        json!({"L": [{"BOOL": true}, {"NULL": true}]})
    );
    let returned = run(
        r"UPDATE things SET n = n + 1 SET tags = set_add(tags, <<'b'>>) REMOVE list
          WHERE p = 'p' AND s = 's' AND n = 1 RETURNING MODIFIED NEW *",
        json!([]),
    );
    assert_eq!(
        returned,
        json!([{"n": {"N": "2"}, "tags": {"SS": ["a", "b"]}}])
    );
    let some = run("SELECT n FROM things WHERE s = 's' AND p = 'p'", json!([]));
    assert_eq!(some, json!([{"n": {"N": "2"}}]));
    let old = run(
        "DELETE FROM things WHERE p = 'p' AND s = 's' RETURNING ALL OLD *",
        json!([]),
    );
    assert_eq!(old[0]["n"], json!({"N": "2"}));
    assert_eq!(bench.get("p", "s"), Value::Null);
}

#[test]
fn each_statement_of_a_batch_has_its_own_outcome() {
    let bench = Bench::new();
    bench.put(super::item("p", "1", &json!({"n": {"N": "1"}})));
    let insert = "INSERT INTO things VALUE {'p': ?, 's': ?}";
    let update = "UPDATE things SET n = ? WHERE p = ? AND s = ? AND n = ?";
    let mut failing = statement(
        update,
        &json!([{"N": "3"}, {"S": "p"}, {"S": "2"}, {"N": "1"}]),
    );
    failing["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
    let answer = bench.done(
        "BatchExecuteStatement",
        json!({
            "Statements": [
                statement(insert, &json!([{"S": "p"}, {"S": "1"}])),
                statement(insert, &json!([{"S": "p"}, {"S": "3"}])),
                failing,
                statement("UPDATE nothing SET n = 1 WHERE p = 'p'", &json!([])),
                statement("SELECT", &json!([])),
            ],
            "ReturnConsumedCapacity": "TOTAL",
        }),
    );
    let codes: Vec<&Value> = answer["Responses"]
        .as_array()
        .expect("responses")
        .iter()
        .map(|response| &response["Error"]["Code"])
        .collect();
    let wanted = json!([
        "DuplicateItem",
        null,
        "ConditionalCheckFailed",
        "ResourceNotFound",
        "ValidationError"
    ]);
    assert_eq!(json!(codes), wanted);
    // The two that failed have cost as much as the one that did not.
    assert_eq!(answer["ConsumedCapacity"][0]["CapacityUnits"], 3.0);
    assert_eq!(bench.get("p", "3"), key("p", "3"));
}

#[test]
fn statements_not_on_one_item_are_refused() {
    let bench = Bench::new();
    for text in [
        "SELECT * FROM things",
        "SELECT * FROM things WHERE p = 'p'",
        "SELECT * FROM things WHERE p = 'p' AND s = 's' OR p = 'q'",
        "UPDATE things SET n = 1 WHERE p = 'p'",
        "UPDATE things SET s = 'x' WHERE p = 'p' AND s = 's'",
        "DELETE FROM things WHERE p = 'p' AND s > 's'",
        r#"SELECT * FROM "things"."by-kind" WHERE kind = 'k'"#,
        "INSERT INTO things VALUE {'p': ?, 's': ?}",
    ] {
        let (kind, message) = bench.refused("ExecuteStatement", statement(text, &json!([])));
        assert_eq!(kind, "ValidationException", "{text}: {message}");
    }
}
