//! Reads values and items from the protocol's JSON, without an intermediate tree.
//!
//! A value that DynamoDB rejects ends the reading with an error that [`crate::json`] turns into a
//! `ValidationException`.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{Item, Number, Value};
use crate::json::{Text, refuse, refuse_type};

const EMPTY: &str =
    "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
const AMBIGUOUS: &str = "Supplied AttributeValue has more than one datatypes set, \
                         must contain exactly one of the supported datatypes";
const INVALID: &str = "One or more parameter values were invalid:";

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Attributes;
        impl<'de> Visitor<'de> for Attributes {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of attributes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                // Most items have about as many attributes as this.
                let mut attributes = Vec::with_capacity(12);
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if name.is_empty() {
                        return Err(refuse("Empty attribute name"));
                    }
                    attributes.push((name, value));
                }
                Ok(Item::from_unsorted(attributes))
            }
        }
        deserializer.deserialize_map(Attributes)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOf)
    }
}

struct OneOf;

impl<'de> Visitor<'de> for OneOf {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Err(refuse(EMPTY))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found = None;
        while let Some(Text(kind)) = map.next_key()? {
            if found.is_some() {
                map.next_value::<IgnoredAny>()?;
                return Err(refuse(AMBIGUOUS));
            }
            found = read(&kind, &mut map)?;
        }
        found.ok_or_else(|| refuse(EMPTY))
    }
}

/// Reads the value after a type's name; `None` if the name is not a type.
fn read<'de, A: MapAccess<'de>>(kind: &str, map: &mut A) -> Result<Option<Value>, A::Error> {
    Ok(Some(match kind {
        "S" => match map.next_value()? {
            Some(text) => Value::S(text),
            // Treated as if the type were absent.
            None => return Ok(None),
        },
        "N" => Value::N(number(&map.next_value::<Text<'_>>()?.0)?),
        "B" => Value::B(binary(&map.next_value::<Text<'_>>()?.0)?),
        "BOOL" => Value::Bool(map.next_value()?),
        "NULL" => {
            if !map.next_value::<bool>()? {
                return Err(refuse(&format!(
                    "{INVALID} Null attribute value types must have the value of true"
                )));
            }
            Value::Null
        }
        "L" => Value::L(map.next_value()?),
        "M" => Value::M(map.next_value()?),
        "SS" => {
            let mut texts: Vec<String> = map.next_value()?;
            if texts.is_empty() {
                return Err(refuse(&format!(
                    "{INVALID} An string set  may not be empty"
                )));
            }
            let listed = format!("[{}]", texts.join(", "));
            sort_set(&mut texts, || format!("{listed} contains duplicates."))?;
            Value::Ss(texts)
        }
        "NS" => {
            let texts: Vec<Cow<'_, str>> = map
                .next_value::<Vec<Text<'_>>>()?
                .into_iter()
                .map(|text| text.0)
                .collect();
            if texts.is_empty() {
                return Err(refuse(&format!(
                    "{INVALID} An number set  may not be empty"
                )));
            }
            let numbers = texts.iter().map(|text| number(text));
            let mut numbers: Vec<Number> = numbers.collect::<Result<_, _>>()?;
            let before = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            if numbers.len() < before {
                return Err(refuse(&format!(
                    "{INVALID} Input collection contains duplicates."
                )));
            }
            Value::Ns(numbers)
        }
        "BS" => {
            let texts: Vec<Text<'_>> = map.next_value()?;
            if texts.is_empty() {
                return Err(refuse(&format!(
                    "{INVALID} Binary sets should not be empty"
                )));
            }
            let all = texts.iter().map(|text| binary(&text.0));
            let mut all: Vec<Vec<u8>> = all.collect::<Result<_, _>>()?;
            let listed: Vec<&str> = texts.iter().map(|text| &*text.0).collect();
            let listed = format!("[{}]", listed.join(", "));
            sort_set(&mut all, || {
                format!("{listed}of type BS contains duplicates.")
            })?;
            Value::Bs(all)
        }
        _ => {
            map.next_value::<IgnoredAny>()?;
            return Ok(None);
        }
    }))
}

fn sort_set<T: Ord, E: Error>(
    members: &mut Vec<T>,
    duplicates: impl Fn() -> String,
) -> Result<(), E> {
    let before = members.len();
    members.sort_unstable();
    members.dedup();
    if members.len() < before {
        return Err(refuse(&format!(
            "{INVALID} Input collection {}",
            duplicates()
        )));
    }
    Ok(())
}

fn number<E: Error>(text: &str) -> Result<Number, E> {
    text.parse()
        .map_err(|error: super::NumberError| refuse(&error.to_string()))
}

fn binary<E: Error>(text: &str) -> Result<Vec<u8>, E> {
    STANDARD
        .decode(text)
        .map_err(|_| refuse_type("Base64 encoded value is invalid"))
}
