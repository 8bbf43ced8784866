//! Attribute values, keys and items. The sets of names and values are small, so that requests meet each other's items.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Attributes that are not keys of the table.
pub const ATTRIBUTES: [&str; 7] = ["g", "h", "n", "a", "b", "m", "l"];

/// The table's partition keys, rarely an invalid one.
pub fn partition() -> impl Strategy<Value = Value> {
    prop_oneof![
        40 => prop::sample::select(vec!["p1", "p2", "p3"]).prop_map(|s| json!({"S": s})),
        1 => Just(json!({"S": ""})),
        1 => Just(json!({"N": "1"})),
    ]
}

/// The table's sort keys, rarely an invalid one.
pub fn sort() -> impl Strategy<Value = Value> {
    prop_oneof![
        40 => prop::sample::select(vec!["a", "b", "c", "d", "ab", "é"]).prop_map(|s| json!({"S": s})),
        1 => Just(json!({"B": "AQ=="})),
        1 => Just(json!({"S": ""})),
    ]
}

/// A key of the table; rarely one that does not fit it.
pub fn key() -> impl Strategy<Value = Value> {
    prop_oneof![
        60 => (partition(), sort()).prop_map(|(pk, sk)| json!({"pk": pk, "sk": sk})),
        1 => partition().prop_map(|pk| json!({"pk": pk})),
        1 => (partition(), sort()).prop_map(|(pk, sk)| json!({"pk": pk, "sk": sk, "x": {"S": "y"}})),
        1 => Just(json!({})),
    ]
}

/// A number in one of the notations that DynamoDB accepts, rarely in one that it does not.
pub fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => (-20i64..20).prop_map(|n| n.to_string()),
        4 => (-2000i64..2000).prop_map(|n| format!("{}.{:02}", n / 100, (n % 100).abs())),
        4 => prop::sample::select(vec![
            "1e3", "1E-5", "-0", "0.0", "007", "+5", "1.50", "12345678901234567890123456789012345678",
            "0.00000000000000000000000000000000000001", "9.99e125", "-1e-130", "100", "1.0e2", ".5", "5.",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["abc", "", "1e126", "1e-131", "123456789012345678901234567890123456789", "1 2", "0x1"])
            .prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        10 => prop::sample::select(vec!["a", "b", "ab", "abc", "x y", "é", "日本", "z"]).prop_map(|s| json!({"S": s})),
        1 => Just(json!({"S": ""})),
        1 => (1000usize..3000).prop_map(|n| json!({"S": "x".repeat(n)})),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => text(),
        6 => number().prop_map(|n| json!({"N": n})),
        2 => prop::sample::select(vec!["AQ==", "AQI=", "/w==", ""]).prop_map(|b| json!({"B": b})),
        1 => any::<bool>().prop_map(|b| json!({"BOOL": b})),
        1 => Just(json!({"NULL": true})),
    ]
}

fn set() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 1..4)
            .prop_map(|mut set| { set.sort_unstable(); set.dedup(); json!({"SS": set}) }),
        4 => prop::collection::vec(0..6i32, 1..4)
            .prop_map(|mut set| { set.sort_unstable(); set.dedup();
                json!({"NS": set.iter().map(ToString::to_string).collect::<Vec<_>>()}) }),
        1 => Just(json!({"BS": ["AQ==", "AQI="]})),
        1 => prop::sample::select(vec![
            json!({"SS": []}), json!({"SS": ["a", "a"]}), json!({"NS": ["1", "1.0"]}), json!({"NULL": false}), json!({"X": "1"}),
            json!({}), json!({"S": "a", "N": "1"}), json!({"S": 5}), json!({"N": 5}), json!({"B": "no base64"}),
        ]),
    ]
}

/// Any attribute value.
pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![12 => scalar(), 3 => set()];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..3).prop_map(|list| json!({"L": list})),
            2 => prop::collection::vec((prop::sample::select(vec!["x", "y", "z"]), inner), 0..3).prop_map(|pairs| {
                let map: Map<String, Value> = pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                json!({"M": map})
            }),
        ]
    })
}

/// A value of the type that an index expects of the attribute, mostly.
fn attribute(name: &'static str) -> BoxedStrategy<Value> {
    let fitting = match name {
        "g" | "h" => prop::sample::select(vec!["g1", "g2"])
            .prop_map(|s| json!({"S": s}))
            .boxed(),
        "n" => number().prop_map(|n| json!({"N": n})).boxed(),
        _ => value().boxed(),
    };
    prop_oneof![30 => fitting, 1 => value()].boxed()
}

/// An item of the table.
pub fn item() -> impl Strategy<Value = Value> {
    let some = prop::sample::subsequence(ATTRIBUTES.to_vec(), 0..5);
    (key(), some).prop_flat_map(|(key, names)| {
        let values: Vec<BoxedStrategy<Value>> = names.iter().map(|&name| attribute(name)).collect();
        (Just(key), Just(names), values).prop_map(|(key, names, values)| {
            let mut item = key.as_object().cloned().unwrap_or_default();
            item.extend(names.iter().map(|name| (*name).to_owned()).zip(values));
            Value::Object(item)
        })
    })
}
