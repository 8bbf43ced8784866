//! JSON whose objects have each name once. `serde_json` would keep the last of several values silently, and what other
//! programs keep differs (RFC 8259, section 4).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::fields::unique;
use crate::problem::Problem;

/// Reads an object. It may begin with a UTF-8 mark.
///
/// # Errors
/// Returns 400 if the text is not an object, or if an object in it has a name twice.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, Problem> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let read: Top = serde_json::from_slice(text)
        .map_err(|error| Problem::malformed_body(format!("The body is not JSON: {error}.")))?;
    let Top::Object(pairs) = read else {
        return Err(Problem::malformed_body("The body must be a JSON object."));
    };
    Ok(unique(pairs)?.into_iter().collect())
}

/// Reads a value; `None` if the text is not JSON, or if an object in it has a name twice.
#[must_use]
pub fn value(text: &str) -> Option<Value> {
    let Unique(value) = serde_json::from_str(text).ok()?;
    Some(value)
}

/// A whole text: the pairs of an object, or something else.
enum Top {
    Object(Vec<(String, Value)>),
    Other,
}

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(AnyValue)? {
            Read::Pairs(pairs) => Ok(Self::Object(pairs)),
            Read::Value(_) => Ok(Self::Other),
        }
    }
}

/// A value in which each object has each name once.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = match deserializer.deserialize_any(AnyValue)? {
            Read::Pairs(pairs) => pairs,
            Read::Value(value) => return Ok(Self(value)),
        };
        let mut object = Map::new();
        for (name, value) in pairs {
            if object.contains_key(&name) {
                let fault = format_args!("the name {name:?} is given more than once");
                return Err(D::Error::custom(fault));
            }
            object.insert(name, value);
        }
        Ok(Self(object.into()))
    }
}

/// What was read: the pairs of an object, which may have a name twice, or any other value.
enum Read {
    Pairs(Vec<(String, Value)>),
    Value(Value),
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::Value(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Read, E> {
        Ok(Read::Value(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Read, E> {
        Ok(Read::Value(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Read, E> {
        Ok(Read::Value(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Read, E> {
        Ok(Read::Value(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Read, E> {
        Ok(Read::Value(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Read, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Read::Value(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Read, A::Error> {
        let mut pairs = Vec::new();
        while let Some((name, Unique(value))) = object.next_entry()? {
            pairs.push((name, value));
        }
        Ok(Read::Pairs(pairs))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_they_are() {
        let text = r#"{"a": [1, -2, 1.5, "x", true, null, {"b": {}}], "c": 18446744073709551616}"#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), plain);
        assert_eq!(value(text), Some(plain));
        assert_eq!(value("[]"), Some(json!([])));
    }

    #[test]
    fn a_mark_is_skipped() {
        let with_mark = [b"\xEF\xBB\xBF".as_slice(), br#"{"a": 1}"#].concat();
        assert_eq!(object(&with_mark).unwrap()["a"], 1);
        let two = [b"\xEF\xBB\xBF".as_slice(), &with_mark].concat();
        assert!(object(&two).is_err());
    }

    #[test]
    fn a_repeated_name_is_in_the_problem() {
        let problem = |text: &str| {
            let problem = object(text.as_bytes()).unwrap_err();
            serde_json::to_value(problem).unwrap()
        };
        let top = problem(r#"{"a": 1, "b": 2, "a": null}"#);
        assert_eq!(top["type"], "/problems/invalid-fields");
        assert_eq!(top["errors"][0]["field"], "a");
        let inner = problem(r#"{"a": [{"b": 1, "b": 1}]}"#);
        assert_eq!(inner["type"], "/problems/malformed-body");
        let detail = inner["detail"].as_str().unwrap();
        assert!(detail.contains("\"b\" is given more than once"), "{detail}");
        assert_eq!(value(r#"{"a": 1, "a": 1}"#), None);
    }

    #[test]
    fn other_texts_are_not_objects() {
        for text in ["", "{", "[1]", "1", "{} {}", "\"x\""] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
    }
}
