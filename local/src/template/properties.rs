//! The properties of a resource as typed values: ignored properties are removed, the rest is
//! resolved, and a property that the type does not have is an error that names it.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::intrinsics::Resolver;
use super::model::TemplateError;

/// Attributes of every resource that have no effect in the local stack.
const PLAIN_ATTRIBUTES: [&str; 6] = [
    "Type",
    "Properties",
    "Metadata",
    "DependsOn",
    "DeletionPolicy",
    "UpdateReplacePolicy",
];

/// Returns the resources of one type, by logical id.
pub(super) fn of_type<'a>(
    tree: &'a Value,
    kind: &'a str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    tree["Resources"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(move |(_, resource)| resource["Type"].as_str() == Some(kind))
}

/// Returns the properties of `resource` as a `T`, without the `ignored` ones.
pub(super) fn read<T: DeserializeOwned>(
    resolver: &Resolver,
    id: &str,
    resource: &Value,
    ignored: &[&str],
) -> Result<T, TemplateError> {
    let attributes = resource.as_object().into_iter().flatten();
    for (name, _) in attributes {
        if !PLAIN_ATTRIBUTES.contains(&name.as_str()) {
            return Err(TemplateError::unsupported(
                format!("{id}.{name}"),
                "the local stack does not support it",
            ));
        }
    }
    read_value(resolver, id, &resource["Properties"], ignored)
}

/// Like [`properties`], for any mapping.
pub(super) fn read_value<T: DeserializeOwned>(
    resolver: &Resolver,
    place: &str,
    value: &Value,
    ignored: &[&str],
) -> Result<T, TemplateError> {
    let mut kept = Map::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        if !ignored.contains(&name.as_str()) {
            kept.insert(
                name.clone(),
                resolver.resolve(&format!("{place}.{name}"), value)?,
            );
        }
    }
    serde_json::from_value(Value::Object(kept)).map_err(|e| {
        TemplateError::unsupported(place, format!("{e}: the local stack does not support this"))
    })
}

/// A number or a flag, which CloudFormation accepts as a string too.
pub(super) fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    Option::<String>::deserialize(deserializer)?
        .map(|value| value.parse().map_err(D::Error::custom))
        .transpose()
}
