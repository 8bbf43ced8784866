//! The contract as a tree: fields by name, references resolved, values as JSON.

use std::error::Error;
use std::fmt::Write;

use saphyr::{LoadableYamlNode, Scalar, Yaml};

/// The prefix of a reference into the contract.
const COMPONENTS: &str = "#/components/";

/// Reads the contract and passes it to `work`.
pub fn read<T>(
    text: &str,
    work: impl FnOnce(Contract<'_>) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let documents = Yaml::load_from_str(text)?;
    let root = documents.first().ok_or("the contract is empty")?;
    work(Contract { root })
}

/// The whole contract.
#[derive(Clone, Copy)]
pub struct Contract<'a> {
    /// The root node.
    pub root: &'a Yaml<'a>,
}

impl<'a> Contract<'a> {
    /// Returns the node itself, or the one that it refers to.
    pub fn resolve(self, node: &'a Yaml<'a>) -> Result<&'a Yaml<'a>, Box<dyn Error>> {
        let Some(reference) = text(node, "$ref") else {
            return Ok(node);
        };
        let path = reference
            .strip_prefix("#/")
            .ok_or("a reference elsewhere")?;
        let target = path.split('/').try_fold(self.root, get);
        Ok(target.ok_or_else(|| format!("{reference} refers to nothing"))?)
    }
}

/// Returns the name of the schema that a node refers to.
pub fn schema_name<'a>(node: &'a Yaml<'a>) -> Option<&'a str> {
    text(node, "$ref")?
        .strip_prefix(COMPONENTS)?
        .strip_prefix("schemas/")
}

/// Returns a field of a mapping.
pub fn get<'a>(node: &'a Yaml<'a>, name: &str) -> Option<&'a Yaml<'a>> {
    entries(node)
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Returns a text field.
pub fn text<'a>(node: &'a Yaml<'a>, name: &str) -> Option<&'a str> {
    get(node, name)?.as_str()
}

/// Returns whether a field is `true`.
pub fn is_true(node: &Yaml<'_>, name: &str) -> bool {
    get(node, name).and_then(Yaml::as_bool) == Some(true)
}

/// Returns the fields of a mapping, in order; none if it is not a mapping.
pub fn entries<'a>(node: &'a Yaml<'a>) -> impl Iterator<Item = (&'a str, &'a Yaml<'a>)> {
    let mapping = match node {
        Yaml::Mapping(mapping) => Some(mapping),
        _ => None,
    };
    mapping
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str()?, value)))
}

/// Returns the items of a sequence; none if the field is not a sequence.
pub fn items<'a>(node: &'a Yaml<'a>, name: &str) -> &'a [Yaml<'a>] {
    match get(node, name) {
        Some(Yaml::Sequence(items)) => items,
        _ => &[],
    }
}

/// Formats a value as indented JSON.
pub fn json(value: &Yaml<'_>) -> String {
    let mut out = String::new();
    write_json(value, 0, &mut out);
    out
}

fn write_json(value: &Yaml<'_>, depth: usize, out: &mut String) {
    match value {
        Yaml::Mapping(mapping) if !mapping.is_empty() => {
            let fields = entries(value).map(|(name, value)| (Some(name), value));
            write_all(fields, ('{', '}'), depth, out);
        }
        Yaml::Mapping(_) => out.push_str("{}"),
        Yaml::Sequence(items) if !items.is_empty() => {
            write_all(
                items.iter().map(|item| (None, item)),
                ('[', ']'),
                depth,
                out,
            );
        }
        Yaml::Sequence(_) => out.push_str("[]"),
        Yaml::Value(Scalar::String(text)) => write_text(text, out),
        other => out.push_str(&plain(other)),
    }
}

fn write_all<'a>(
    values: impl Iterator<Item = (Option<&'a str>, &'a Yaml<'a>)>,
    (open, close): (char, char),
    depth: usize,
    out: &mut String,
) {
    let indent = |depth: usize| "  ".repeat(depth);
    out.push(open);
    for (at, (name, value)) in values.enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&indent(depth + 1));
        if let Some(name) = name {
            write_text(name, out);
            out.push_str(": ");
        }
        write_json(value, depth + 1, out);
    }
    out.push('\n');
    out.push_str(&indent(depth));
    out.push(close);
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Formats a scalar.
pub fn plain(value: &Yaml<'_>) -> String {
    match value {
        Yaml::Value(Scalar::String(text)) => text.to_string(),
        Yaml::Value(Scalar::Integer(n)) => n.to_string(),
        Yaml::Value(Scalar::FloatingPoint(n)) => n.to_string(),
        Yaml::Value(Scalar::Boolean(b)) => b.to_string(),
        _ => "null".to_owned(),
    }
}
