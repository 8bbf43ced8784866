//! Reads the YAML document as a tree in which `!Ref` and its like have their long form, and
//! resolves the intrinsic functions.
//!
//! They are resolved on demand: a policy may refer to anything. Scalars are strings, as in
//! CloudFormation. Physical names are computed first, from parameters alone, so that references
//! cannot form a circle.

use std::collections::{BTreeMap, HashMap};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

use super::model::{ACCOUNT_ID, PARTITION, REGION, Stack, TemplateError};
use super::names::{self, Names, STACK_NAME};

/// Reads a template as a tree.
pub(super) fn tree(text: &str) -> Result<Value, TemplateError> {
    let documents = Yaml::load_from_str(text).map_err(|e| TemplateError::Yaml(e.to_string()))?;
    match documents.as_slice() {
        [document] => plain(document),
        _ => Err(TemplateError::Yaml("it must contain one document".into())),
    }
}

fn plain(yaml: &Yaml) -> Result<Value, TemplateError> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(b)) => Value::String(b.to_string()),
        Yaml::Value(Scalar::Integer(n)) => Value::String(n.to_string()),
        Yaml::Value(Scalar::FloatingPoint(n)) => Value::String(n.to_string()),
        Yaml::Value(Scalar::String(s)) => Value::String(s.to_string()),
        Yaml::Representation(text, ..) => Value::String(text.to_string()),
        Yaml::Sequence(items) => Value::Array(items.iter().map(plain).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let Value::String(key) = plain(key)? else {
                    return Err(TemplateError::Yaml("a key that is not a string".into()));
                };
                map.insert(key, plain(value)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tag, inner) => {
            let name = match tag.suffix.as_str() {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            Value::Object(Map::from_iter([(name, plain(inner)?)]))
        }
        Yaml::Alias(_) | Yaml::BadValue => {
            return Err(TemplateError::Yaml("an alias or an invalid value".into()));
        }
    })
}

/// Resolves references.
pub(super) struct Resolver {
    parameters: BTreeMap<String, String>,
    /// The conditions, as they are written.
    conditions: Map<String, Value>,
    resources: BTreeMap<String, Names>,
}

impl Resolver {
    pub(super) fn new(
        tree: &Value,
        overrides: &HashMap<String, String>,
        stack: &Stack,
    ) -> Result<Self, TemplateError> {
        let mut resolver = Self {
            parameters: parameters(tree, overrides, stack)?,
            conditions: tree["Conditions"].as_object().cloned().unwrap_or_default(),
            resources: BTreeMap::new(),
        };
        resolver.resources = Names::of_all(tree, &|place, value| resolver.resolve(place, value))?;
        Ok(resolver)
    }

    /// Returns the name of a resource in its service: its own, or one made from the stack's.
    pub(super) fn physical_name(
        &self,
        id: &str,
        resource: &Value,
        property: &str,
    ) -> Result<String, TemplateError> {
        names::physical_name(
            &|place, value| self.resolve(place, value),
            id,
            resource,
            property,
        )
    }

    /// Returns the value with every intrinsic function replaced by its result.
    pub(super) fn resolve(&self, place: &str, value: &Value) -> Result<Value, TemplateError> {
        match value {
            Value::Object(map) => {
                if let Some((name, argument)) = intrinsic(map) {
                    return self.call(place, name, argument);
                }
                let mut resolved = Map::new();
                for (key, value) in map {
                    resolved.insert(key.clone(), self.resolve(place, value)?);
                }
                Ok(Value::Object(resolved))
            }
            Value::Array(items) => items.iter().map(|item| self.resolve(place, item)).collect(),
            plain => Ok(plain.clone()),
        }
    }

    fn call(&self, place: &str, name: &str, argument: &Value) -> Result<Value, TemplateError> {
        let arguments = argument.as_array().map_or(&[][..], Vec::as_slice);
        match (name, argument, arguments) {
            ("Ref", Value::String(target), _) => self.reference(place, target),
            ("Fn::GetAtt", Value::String(target), _) => match target.split_once('.') {
                Some((resource, attribute)) => self.attribute(place, resource, attribute),
                None => Err(malformed(place, name)),
            },
            ("Fn::GetAtt", _, [Value::String(resource), Value::String(attribute)]) => {
                self.attribute(place, resource, attribute)
            }
            ("Fn::Sub", Value::String(text), _) => self.substitute(place, text, &Map::new()),
            ("Fn::Sub", _, [Value::String(text), Value::Object(own)]) => {
                self.substitute(place, text, own)
            }
            ("Fn::Join", _, [Value::String(separator), texts]) => {
                Ok(self.texts(place, name, texts)?.join(separator))
            }
            ("Fn::Select", _, [Value::String(index), texts]) => {
                let mut texts = self.texts(place, name, texts)?;
                let index = index.parse().ok().filter(|index| *index < texts.len());
                let index = index.ok_or_else(|| malformed(place, name))?;
                Ok(texts.swap_remove(index))
            }
            // These two may result in something else than a text.
            ("Fn::Split", _, [Value::String(separator), text]) if !separator.is_empty() => {
                let text = self.text(place, name, text)?;
                return Ok(text.split(separator.as_str()).collect());
            }
            ("Fn::If", _, [Value::String(condition), then, otherwise]) => {
                let holds = self.holds(place, condition)?;
                return self.resolve(place, if holds { then } else { otherwise });
            }
            (
                "Ref" | "Fn::GetAtt" | "Fn::Sub" | "Fn::Join" | "Fn::Select" | "Fn::Split"
                | "Fn::If",
                ..,
            ) => Err(malformed(place, name)),
            _ => Err(unsupported(place, name)),
        }
        .map(Value::String)
    }

    /// Returns an argument that must be a text.
    fn text(&self, place: &str, name: &str, value: &Value) -> Result<String, TemplateError> {
        match self.resolve(place, value)? {
            Value::String(text) => Ok(text),
            _ => Err(malformed(place, name)),
        }
    }

    /// Returns an argument that must be a list of texts.
    fn texts(&self, place: &str, name: &str, value: &Value) -> Result<Vec<String>, TemplateError> {
        match self.resolve(place, value)? {
            Value::Array(items) => items
                .iter()
                .map(|item| self.text(place, name, item))
                .collect(),
            _ => Err(malformed(place, name)),
        }
    }

    /// Returns whether a condition of the template is true. Conditions depend on parameters alone.
    fn holds(&self, place: &str, condition: &str) -> Result<bool, TemplateError> {
        let declared = self.conditions.get(condition);
        let declared = declared.ok_or_else(|| TemplateError::Reference {
            place: place.to_owned(),
            reference: condition.to_owned(),
        })?;
        self.is_true(&format!("Conditions.{condition}"), declared)
    }

    fn is_true(&self, place: &str, value: &Value) -> Result<bool, TemplateError> {
        let call = value.as_object().and_then(intrinsic);
        let (name, argument) = call.ok_or_else(|| malformed(place, "a condition"))?;
        match (name, argument.as_array().map_or(&[][..], Vec::as_slice)) {
            ("Fn::Not", [value]) => Ok(!self.is_true(place, value)?),
            ("Fn::Equals", [left, right]) => {
                Ok(self.text(place, name, left)? == self.text(place, name, right)?)
            }
            ("Fn::Not" | "Fn::Equals", _) => Err(malformed(place, name)),
            _ => Err(unsupported(place, name)),
        }
    }

    fn reference(&self, place: &str, target: &str) -> Result<String, TemplateError> {
        let unknown = || TemplateError::Reference {
            place: place.to_owned(),
            reference: target.to_owned(),
        };
        if let Some(value) = self.parameters.get(target) {
            return Ok(value.clone());
        }
        self.resources
            .get(target)
            .and_then(|names| names.reference.clone())
            .ok_or_else(unknown)
    }

    fn attribute(
        &self,
        place: &str,
        resource: &str,
        attribute: &str,
    ) -> Result<String, TemplateError> {
        self.resources
            .get(resource)
            .and_then(|names| names.attributes.get(attribute).cloned())
            .ok_or_else(|| TemplateError::Reference {
                place: place.to_owned(),
                reference: format!("{resource}.{attribute}"),
            })
    }

    /// `${Name}`, `${Resource.Attribute}` and `${!Literal}`.
    fn substitute(
        &self,
        place: &str,
        text: &str,
        own: &Map<String, Value>,
    ) -> Result<String, TemplateError> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, remainder)) = after.split_once('}') else {
                return Err(malformed(place, "Fn::Sub"));
            };
            result.push_str(before);
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str("${");
                result.push_str(literal);
                result.push('}');
            } else if let Some(value) = own.get(name) {
                result.push_str(&self.text(place, "Fn::Sub", value)?);
            } else if let Some((resource, attribute)) = name.split_once('.') {
                result.push_str(&self.attribute(place, resource, attribute)?);
            } else {
                result.push_str(&self.reference(place, name)?);
            }
            rest = remainder;
        }
        result.push_str(rest);
        Ok(result)
    }
}

fn malformed(place: &str, name: &str) -> TemplateError {
    TemplateError::unsupported(place, format!("{name} is not written as in CloudFormation"))
}

fn unsupported(place: &str, name: &str) -> TemplateError {
    TemplateError::unsupported(place, format!("{name} is not supported by the local stack"))
}

/// Returns the intrinsic function of a mapping in long form.
fn intrinsic(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = map.iter();
    let (name, argument) = entries.next()?;
    let is_call = name == "Ref" || name == "Condition" || name.starts_with("Fn::");
    (is_call && entries.next().is_none()).then_some((name.as_str(), argument))
}

fn parameters(
    tree: &Value,
    overrides: &HashMap<String, String>,
    stack: &Stack,
) -> Result<BTreeMap<String, String>, TemplateError> {
    let mut values = BTreeMap::from(
        [
            ("AWS::AccountId", ACCOUNT_ID),
            ("AWS::Partition", PARTITION),
            ("AWS::Region", REGION),
            ("AWS::StackId", &stack.arn()),
            (STACK_NAME, &stack.name),
            ("AWS::URLSuffix", "amazonaws.com"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let none = Map::new();
    let declared = tree["Parameters"].as_object().unwrap_or(&none);
    for name in overrides.keys() {
        if !declared.contains_key(name) {
            return Err(parameter(name, "the template has no such parameter"));
        }
    }
    for (name, declaration) in declared {
        let default = declaration["Default"].as_str();
        let Some(value) = overrides.get(name).map(String::as_str).or(default) else {
            return Err(parameter(name, "it has no default and no value was given"));
        };
        if let Some(allowed) = declaration["AllowedValues"].as_array()
            && !allowed.iter().any(|one| one.as_str() == Some(value))
        {
            return Err(parameter(name, "its value is not one of the allowed ones"));
        }
        values.insert(name.clone(), value.to_owned());
    }
    Ok(values)
}

fn parameter(name: &str, reason: &str) -> TemplateError {
    TemplateError::Parameter {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}
