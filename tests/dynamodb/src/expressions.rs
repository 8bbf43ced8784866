//! Condition, filter, projection and update expressions, with the names and values that they refer to.

use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::values;

/// An expression under construction: its text, and the values it refers to.
#[derive(Debug, Clone)]
pub struct Expression {
    /// The text.
    pub text: String,
    /// Its values by placeholder.
    pub values: Vec<(String, Value)>,
}

/// A path in an item, mostly one that occurs.
pub fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        20 => prop::sample::select(vec!["a", "b", "g", "h", "n", "l", "m", "pk", "sk", "#n", "#m", "missing"]),
        1 => prop::sample::select(vec!["name", "size", "#undefined", "1a"]),
    ];
    (
        name,
        prop::sample::select(vec![
            "", "", "", "", "", ".x", "[0]", "[1]", ".x.y", "[0].x", ".#n",
        ]),
    )
        .prop_map(|(name, rest)| format!("{name}{rest}"))
}

/// A path to change: mostly a whole attribute that is not a key, so that most changes succeed.
fn target() -> impl Strategy<Value = String> {
    let attribute = prop::sample::select(values::ATTRIBUTES.to_vec()).prop_map(str::to_owned);
    prop_oneof![3 => attribute, 1 => path()]
}

/// A placeholder with its value.
fn placeholder() -> impl Strategy<Value = Expression> {
    (0..40u32, values::value()).prop_map(|(n, value)| Expression {
        text: format!(":v{n}"),
        values: vec![(format!(":v{n}"), value)],
    })
}

fn plain(text: String) -> Expression {
    Expression {
        text,
        values: Vec::new(),
    }
}

fn operand() -> impl Strategy<Value = Expression> {
    prop_oneof![
        4 => path().prop_map(plain),
        6 => placeholder(),
        1 => path().prop_map(|path| plain(format!("size({path})"))),
    ]
}

fn join(parts: &[Expression], text: String) -> Expression {
    Expression {
        text,
        values: parts.iter().flat_map(|part| part.values.clone()).collect(),
    }
}

/// A condition or filter.
pub fn condition() -> impl Strategy<Value = Expression> {
    let comparison = (
        operand(),
        prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]),
        operand(),
    )
        .prop_map(|(a, op, b)| {
            join(
                &[a.clone(), b.clone()],
                format!("{} {op} {}", a.text, b.text),
            )
        });
    let between = (operand(), operand(), operand()).prop_map(|(a, b, c)| {
        join(
            &[a.clone(), b.clone(), c.clone()],
            format!("{} BETWEEN {} AND {}", a.text, b.text, c.text),
        )
    });
    let within = (operand(), prop::collection::vec(operand(), 1..4)).prop_map(|(a, list)| {
        let texts: Vec<&str> = list.iter().map(|one| one.text.as_str()).collect();
        let text = format!("{} IN ({})", a.text, texts.join(", "));
        let mut all = vec![a];
        all.extend(list);
        join(&all, text)
    });
    let exists = (
        prop::sample::select(vec!["attribute_exists", "attribute_not_exists"]),
        path(),
    )
        .prop_map(|(function, path)| plain(format!("{function}({path})")));
    let two = (
        prop::sample::select(vec!["begins_with", "contains"]),
        path(),
        operand(),
    )
        .prop_map(|(function, path, b)| {
            join(
                std::slice::from_ref(&b),
                format!("{function}({path}, {})", b.text),
            )
        });
    let kind = (
        path(),
        prop::sample::select(vec![
            "S", "N", "B", "SS", "NS", "BOOL", "NULL", "L", "M", "XX",
        ]),
    )
        .prop_map(|(path, kind)| Expression {
            text: format!("attribute_type({path}, :t{kind})"),
            values: vec![(format!(":t{kind}"), serde_json::json!({"S": kind}))],
        });
    let leaf =
        prop_oneof![6 => comparison, 2 => between, 2 => within, 6 => exists, 2 => two, 1 => kind];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(vec!["AND", "OR", "and"]),
                inner.clone()
            )
                .prop_map(|(a, op, b)| {
                    join(
                        &[a.clone(), b.clone()],
                        format!("{} {op} {}", a.text, b.text),
                    )
                }),
            inner
                .clone()
                .prop_map(|a| join(std::slice::from_ref(&a), format!("NOT {}", a.text))),
            inner.prop_map(|a| join(std::slice::from_ref(&a), format!("({})", a.text))),
        ]
    })
}

/// A key condition of the table or of an index with these keys.
pub fn key_condition(hash: &'static str, range: Option<&'static str>) -> BoxedStrategy<Expression> {
    let hash_value = match hash {
        "pk" => values::partition().boxed(),
        _ => prop::sample::select(vec!["g1", "g2"])
            .prop_map(|s| serde_json::json!({"S": s}))
            .boxed(),
    };
    let equals = hash_value.prop_map(move |value| Expression {
        text: format!("{hash} = :hash"),
        values: vec![(":hash".to_owned(), value)],
    });
    let Some(range) = range else {
        return equals.boxed();
    };
    let bound = move || match range {
        "n" => values::number()
            .prop_map(|n| serde_json::json!({"N": n}))
            .boxed(),
        _ => values::sort().boxed(),
    };
    let on_range = prop_oneof![
        (
            prop::sample::select(vec!["=", "<", "<=", ">", ">=", "<>"]),
            bound()
        )
            .prop_map(move |(op, value)| Expression {
                text: format!("{range} {op} :range"),
                values: vec![(":range".to_owned(), value)],
            }),
        (bound(), bound()).prop_map(move |(low, high)| Expression {
            text: format!("{range} BETWEEN :low AND :high"),
            values: vec![(":low".to_owned(), low), (":high".to_owned(), high)],
        }),
        bound().prop_map(move |value| Expression {
            text: format!("begins_with({range}, :range)"),
            values: vec![(":range".to_owned(), value)],
        }),
    ];
    prop_oneof![
        2 => equals.clone(),
        3 => (equals, on_range).prop_map(|(a, b)| join(&[a.clone(), b.clone()], format!("{} AND {}", a.text, b.text))),
    ]
    .boxed()
}

/// A projection.
pub fn projection() -> impl Strategy<Value = String> {
    prop::collection::vec(path(), 1..4).prop_map(|paths| paths.join(", "))
}

/// An update expression.
pub fn update() -> impl Strategy<Value = Expression> {
    let value = prop_oneof![
        6 => operand(),
        2 => (path(), prop::sample::select(vec!["+", "-"]), operand())
            .prop_map(|(a, op, b)| join(std::slice::from_ref(&b), format!("{a} {op} {}", b.text))),
        2 => (path(), operand()).prop_map(|(a, b)| join(std::slice::from_ref(&b), format!("if_not_exists({a}, {})", b.text))),
        1 => (path(), operand()).prop_map(|(a, b)| join(std::slice::from_ref(&b), format!("list_append({a}, {})", b.text))),
    ];
    let sets = prop::collection::vec((target(), value), 1..3)
        .prop_map(|all| {
            let texts: Vec<String> = all
                .iter()
                .map(|(path, value)| format!("{path} = {}", value.text))
                .collect();
            let values: Vec<Expression> = all.into_iter().map(|(_, value)| value).collect();
            join(&values, format!("SET {}", texts.join(", ")))
        })
        .boxed();
    let removes = prop::collection::vec(target(), 1..3)
        .prop_map(|paths| plain(format!("REMOVE {}", paths.join(", "))))
        .boxed();
    let changes = (
        prop::sample::select(vec!["ADD", "DELETE"]),
        target(),
        placeholder(),
    )
        .prop_map(|(word, path, value)| {
            join(
                std::slice::from_ref(&value),
                format!("{word} {path} {}", value.text),
            )
        })
        .boxed();
    prop_oneof![
        6 => sets.clone(),
        3 => removes.clone(),
        3 => changes.clone(),
        2 => (sets, removes).prop_map(|(a, b)| join(&[a.clone(), b.clone()], format!("{} {}", a.text, b.text))),
        1 => (changes.clone(), changes).prop_map(|(a, b)| join(&[a.clone(), b.clone()], format!("{} {}", a.text, b.text))),
    ]
}

/// Adds the names and values that the texts of a request refer to; rarely one too many or one too few.
pub fn attach(request: &mut Map<String, Value>, expressions: &[Expression], stray: u8) {
    let texts: Vec<String> = [
        "ConditionExpression",
        "FilterExpression",
        "KeyConditionExpression",
        "UpdateExpression",
        "ProjectionExpression",
    ]
    .iter()
    .filter_map(|field| request.get(*field)?.as_str().map(str::to_owned))
    .collect();
    let mut names = Map::new();
    for (name, attribute) in [("#n", "n"), ("#m", "m")] {
        if texts.iter().any(|text| text.contains(name)) {
            names.insert(name.to_owned(), attribute.into());
        }
    }
    let mut values: Map<String, Value> = expressions
        .iter()
        .flat_map(|one| one.values.clone())
        .collect();
    match stray {
        0 => drop(names.insert("#unused".to_owned(), "unused".into())),
        1 => drop(values.insert(":unused".to_owned(), serde_json::json!({"S": "x"}))),
        2 => drop(values.pop_first_value()),
        _ => {}
    }
    if !names.is_empty() {
        request.insert("ExpressionAttributeNames".to_owned(), names.into());
    }
    if !values.is_empty() {
        request.insert("ExpressionAttributeValues".to_owned(), values.into());
    }
}

/// Removes the first value of a map.
trait PopFirst {
    fn pop_first_value(&mut self) -> Option<Value>;
}

impl PopFirst for Map<String, Value> {
    fn pop_first_value(&mut self) -> Option<Value> {
        let first = self.keys().next()?.clone();
        self.remove(&first)
    }
}
