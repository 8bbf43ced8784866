use serde_json::{Value, json};

use super::{Bench, VALIDATION, item, key};

fn sample() -> Value {
    item(
        "p",
        "s",
        &json!({
            "n": {"N": "5"},
            "t": {"S": "hello"},
            "b": {"B": "AAEC"},
            "yes": {"BOOL": true},
            "none": {"NULL": true},
            "tags": {"SS": ["b", "a"]},
            "parts": {"L": [{"N": "1"}, {"S": "x"}, {"M": {"deep": {"L": [{"S": "y"}]}}}]},
            "tree": {"M": {"a": {"M": {"b": {"N": "7"}}}}},
        }),
    )
}

#[test]
fn conditions_hold_or_not() {
    let bench = Bench::new();
    bench.put(sample());
    let values = json!({
        ":five": {"N": "5.0"}, ":six": {"N": "6"}, ":hello": {"S": "hello"}, ":he": {"S": "he"},
        ":a": {"S": "a"}, ":x": {"S": "x"}, ":y": {"S": "y"}, ":type": {"S": "SS"}, ":two": {"N": "2"},
        ":tags": {"SS": ["a", "b"]}, ":bytes": {"B": "AAEC"}, ":byte": {"B": "AQ=="},
    });
    let cases = [
        ("n = :five", true),
        ("n <> :five", false),
        ("n < :six AND n >= :five", true),
        ("n = :hello", false),
        ("t < :six", false),
        ("absent = :five", false),
        ("absent <> :five", true),
        ("NOT absent = :five", true),
        ("n BETWEEN :two AND :six", true),
        ("t IN (:x, :hello)", true),
        ("attribute_exists(tree.a.b)", true),
        ("attribute_not_exists(tree.a.c)", true),
        ("attribute_type(tags, :type)", true),
        ("begins_with(t, :he)", true),
        ("contains(t, :he)", true),
        ("contains(tags, :a)", true),
        ("contains(parts, :x)", true),
        ("contains(b, :byte)", true),
        ("size(tags) = :two", true),
        ("size(t) = :five", true),
        ("size(n) = :five", false),
        ("tags = :tags", true),
        ("b = :bytes", true),
        ("parts[2].deep[0] = :y", true),
        ("parts[9] = :y", false),
        ("t = :x OR t = :y OR t = :hello", true),
        ("t = :hello AND (t = :x OR n = :five)", true),
        ("NOT (t = :x) AND NOT t = :y", true),
        (":five = n", true),
    ];
    for (condition, holds) in cases {
        // Only what is used may be given.
        let mut used = json!({});
        for (name, value) in values.as_object().expect("values") {
            if condition
                .split(|c: char| !c.is_alphanumeric() && c != ':')
                .any(|word| word == name)
            {
                used[name] = value.clone();
            }
        }
        let mut scan = json!({"TableName": "things", "FilterExpression": condition});
        if !used.as_object().expect("values").is_empty() {
            scan["ExpressionAttributeValues"] = used;
        }
        let answer = bench.done("Scan", scan);
        assert_eq!(answer["Count"] == 1, holds, "{condition}");
        assert_eq!(answer["ScannedCount"], 1, "{condition}");
    }
}

#[test]
fn faulty_expressions_are_refused_with_what_is_wrong() {
    let bench = Bench::new();
    let cases = [
        (
            "",
            "Invalid FilterExpression: The expression can not be empty;",
        ),
        (
            "a = ",
            "Invalid FilterExpression: Syntax error; token: \"<EOF>\", near: \"=\"",
        ),
        (
            "a == :v",
            "Invalid FilterExpression: Syntax error; token: \"=\", near: \"== :v\"",
        ),
        (
            "a & :v",
            "Invalid FilterExpression: Syntax error; token: \"&\", near: \"a & :v\"",
        ),
        (
            "((a = :v))",
            "Invalid FilterExpression: The expression has redundant parentheses;",
        ),
        (
            "status = :v",
            "Invalid FilterExpression: Attribute name is a reserved keyword; reserved keyword: status",
        ),
        (
            "#a = :v",
            "Invalid FilterExpression: An expression attribute name used in the document path is not \
             defined; attribute name: #a",
        ),
        (
            "a = :w",
            "Invalid FilterExpression: An expression attribute value used in expression is not \
             defined; attribute value: :w",
        ),
        (
            "nope(a)",
            "Invalid FilterExpression: Invalid function name; function: nope",
        ),
        (
            "begins_with(a, :v)",
            "Invalid FilterExpression: Incorrect operand type for operator or function; operator or \
             function: begins_with, operand type: N",
        ),
        (
            "attribute_exists(a, b)",
            "Invalid FilterExpression: Incorrect number of operands for operator or function; \
             operator or function: attribute_exists, number of operands: 2",
        ),
        (
            "attribute_exists(a)",
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}",
        ),
    ];
    for (expression, message) in cases {
        let (kind, found) = bench.refused(
            "Scan",
            json!({
                "TableName": "things",
                "FilterExpression": expression,
                "ExpressionAttributeValues": {":v": {"N": "1"}},
            }),
        );
        assert_eq!(
            (kind.as_str(), found.as_str()),
            (VALIDATION, message),
            "{expression}"
        );
    }
    let deep = format!("{}a = :v{}", "NOT (".repeat(200), ")".repeat(200));
    let scan = json!({
        "TableName": "things",
        "FilterExpression": deep,
        "ExpressionAttributeValues": {":v": {"N": "1"}},
    });
    assert_eq!(bench.refused("Scan", scan).0, VALIDATION);
}

fn update(expression: &str, values: &Value) -> Value {
    let mut update = json!({
        "TableName": "things",
        "Key": key("p", "s"),
        "UpdateExpression": expression,
        "ReturnValues": "ALL_NEW",
    });
    if !values.is_null() {
        update["ExpressionAttributeValues"] = values.clone();
    }
    update
}

#[test]
fn updates_change_what_they_name() {
    let bench = Bench::new();
    let cases = [
        (
            "SET n = n + :v",
            json!({":v": {"N": "0.5"}}),
            "n",
            json!({"N": "5.5"}),
        ),
        (
            "SET n = :v - n",
            json!({":v": {"N": "0"}}),
            "n",
            json!({"N": "-5"}),
        ),
        (
            "SET m = if_not_exists(m, :v) + :v",
            json!({":v": {"N": "1"}}),
            "m",
            json!({"N": "2"}),
        ),
        (
            "SET parts = list_append(:v, parts) REMOVE tree",
            json!({":v": {"L": [{"N": "0"}]}}),
            "tree",
            Value::Null,
        ),
        (
            "SET tree.a.c = :v",
            json!({":v": {"S": "z"}}),
            "tree",
            json!({"M": {"a": {"M": {"b": {"N": "7"}, "c": {"S": "z"}}}}}),
        ),
        (
            "SET parts[7] = :v",
            json!({":v": {"N": "9"}}),
            "parts",
            json!({"L": [{"N": "1"}, {"S": "x"}, {"M": {"deep": {"L": [{"S": "y"}]}}}, {"N": "9"}]}),
        ),
        (
            "REMOVE parts[0], parts[2]",
            Value::Null,
            "parts",
            json!({"L": [{"S": "x"}]}),
        ),
        (
            "ADD n :v",
            json!({":v": {"N": "-5"}}),
            "n",
            json!({"N": "0"}),
        ),
        (
            "ADD tags :v",
            json!({":v": {"SS": ["c", "a"]}}),
            "tags",
            json!({"SS": ["a", "b", "c"]}),
        ),
        (
            "DELETE tags :v",
            json!({":v": {"SS": ["a"]}}),
            "tags",
            json!({"SS": ["b"]}),
        ),
        (
            "DELETE tags :v",
            json!({":v": {"SS": ["a", "b"]}}),
            "tags",
            Value::Null,
        ),
        ("SET t = n, n = t", Value::Null, "t", json!({"N": "5"})),
    ];
    for (expression, values, attribute, wanted) in cases {
        bench.put(sample());
        let answer = bench.done("UpdateItem", update(expression, &values));
        assert_eq!(answer["Attributes"][attribute], wanted, "{expression}");
        assert_eq!(bench.get("p", "s"), answer["Attributes"], "{expression}");
    }
}

#[test]
fn faulty_updates_change_nothing() {
    let bench = Bench::new();
    bench.put(sample());
    let before = bench.get("p", "s");
    let number = json!({":v": {"N": "1"}});
    let cases = [
        (
            "SET s = :v",
            &number,
            "One or more parameter values were invalid: Cannot update attribute s. \
            This attribute is part of the key",
        ),
        (
            "SET n = absent + :v",
            &number,
            "The provided expression refers to an attribute that does not exist in the item",
        ),
        (
            "SET n = t + :v",
            &number,
            "An operand in the update expression has an incorrect data type",
        ),
        (
            "SET tree.x.y = :v",
            &number,
            "The document path provided in the update expression is invalid for update",
        ),
        (
            "SET n = :v SET t = :v",
            &number,
            "Invalid UpdateExpression: The \"SET\" section can only be used once in an update \
             expression;",
        ),
        (
            "SET tree = :v, tree.a = :v",
            &number,
            "Invalid UpdateExpression: Two document paths overlap with each other; must remove or \
             rewrite one of these paths; path one: [tree], path two: [tree, a]",
        ),
        (
            "DELETE tags :v",
            &number,
            "Invalid UpdateExpression: Incorrect operand type for operator or function; operator: \
             DELETE, operand type: NUMBER, typeSet: ALLOWED_FOR_DELETE_OPERAND",
        ),
    ];
    for (expression, values, message) in cases {
        let found = bench.refused("UpdateItem", update(expression, values));
        assert_eq!(
            found,
            (VALIDATION.to_owned(), message.to_owned()),
            "{expression}"
        );
    }
    assert_eq!(bench.get("p", "s"), before);
}

#[test]
fn projections_return_the_paths_they_name() {
    let bench = Bench::new();
    bench.put(sample());
    let answer = bench.done(
        "GetItem",
        json!({
            "TableName": "things",
            "Key": key("p", "s"),
            "ProjectionExpression": "parts[2].deep, parts[0], #m.a, absent.x",
            "ExpressionAttributeNames": {"#m": "tree"},
        }),
    );
    let wanted = json!({
        "parts": {"L": [{"N": "1"}, {"M": {"deep": {"L": [{"S": "y"}]}}}]},
        "tree": {"M": {"a": {"M": {"b": {"N": "7"}}}}},
    });
    assert_eq!(answer["Item"], wanted);
}

#[test]
fn return_values_are_what_was_asked_for() {
    let bench = Bench::new();
    bench.put(sample());
    let returned = |values: &str| {
        let mut body = update("SET n = n + :v REMOVE t", &json!({":v": {"N": "1"}}));
        body["ReturnValues"] = json!(values);
        bench.done("UpdateItem", body)["Attributes"].clone()
    };
    assert_eq!(
        returned("UPDATED_OLD"),
        json!({"n": {"N": "5"}, "t": {"S": "hello"}})
    );
    assert_eq!(returned("UPDATED_NEW"), json!({"n": {"N": "7"}}));
    assert_eq!(returned("ALL_OLD")["n"], json!({"N": "7"}));
    assert_eq!(returned("NONE"), Value::Null);
    let delete = json!({
        "TableName": "things",
        "Key": key("p", "s"),
        "ConditionExpression": "n = :v",
        "ExpressionAttributeValues": {":v": {"N": "1"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    let (status, answer) = bench.call("DeleteItem", &delete);
    assert_eq!(status, 400);
    assert_eq!(answer["Item"]["n"], json!({"N": "9"}));
}
