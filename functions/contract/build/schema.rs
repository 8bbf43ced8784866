//! What a schema asks of a value, in words and tables.

use std::error::Error;
use std::fmt::Write;

use saphyr::{Scalar, Yaml};

use crate::html::{code, escape, example, markdown, table};
use crate::tree::{Contract, entries, get, is_true, items, json, plain, schema_name, text};

/// The kind of value and its rules. References to schemas of objects become links; those to
/// plain values are told in place as well.
pub fn rules(contract: Contract<'_>, schema: &Yaml<'_>) -> Result<String, Box<dyn Error>> {
    if let Some(name) = schema_name(schema) {
        let link = format!("<a href=\"#schema-{name}\">{name}</a>");
        let target = contract.resolve(schema)?;
        if is_object(target) {
            return Ok(link);
        }
        // Where words tell the rule, a pattern would only be in the way here.
        let has_words = text(target, "description").is_some();
        return Ok(format!("{link}: {}", told(contract, target, has_words)?));
    }
    told(contract, schema, false)
}

/// The same of a schema that is no reference.
fn told(
    contract: Contract<'_>,
    schema: &Yaml<'_>,
    without_pattern: bool,
) -> Result<String, Box<dyn Error>> {
    let alternatives = items(schema, "anyOf");
    if !alternatives.is_empty() {
        let told: Result<Vec<_>, _> = alternatives.iter().map(|s| rules(contract, s)).collect();
        return Ok(told?.join("<br>or "));
    }
    let mut told = Vec::new();
    match get(schema, "type") {
        Some(Yaml::Sequence(kinds)) => {
            let kinds: Vec<String> = kinds.iter().map(plain).collect();
            told.push(kinds.join(" or "));
        }
        Some(kind) => told.push(plain(kind)),
        None if is_true(schema, "readOnly") => {}
        None => told.push("anything".to_owned()),
    }
    if let Some(element) = get(schema, "items") {
        told.push(format!("each {}", rules(contract, element)?));
    }
    if let Some(value) = get(schema, "const") {
        told.push(format!("always {}", code(&plain(value))));
    }
    let values: Vec<String> = items(schema, "enum")
        .iter()
        .map(|v| code(&plain(v)))
        .collect();
    if !values.is_empty() {
        told.push(format!("one of {}", values.join(", ")));
    }
    let is_wide = get(schema, "maximum").is_some_and(is_rounded);
    for (name, words) in [
        ("format", "format"),
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("minItems", "items at least"),
        ("maxItems", "items at most"),
        ("pattern", "pattern"),
        ("default", "unless said"),
    ] {
        // Bounds of 64 bits and more are read as rounded numbers; the description tells them.
        let is_told_apart = is_wide && ["minimum", "maximum"].contains(&name);
        let value = get(schema, name).filter(|_| !is_told_apart);
        let value = value.filter(|_| name != "pattern" || !without_pattern);
        if let Some(value) = value {
            told.push(format!("{words} {}", code(&plain(value))));
        }
    }
    if is_true(schema, "uniqueItems") {
        told.push("no two the same".to_owned());
    }
    if is_true(schema, "readOnly") {
        told.push("as it is stored".to_owned());
    }
    Ok(told.join(", "))
}

fn is_rounded(value: &Yaml<'_>) -> bool {
    matches!(value, Yaml::Value(Scalar::FloatingPoint(_)))
}

/// Whether a schema is of objects with named fields.
fn is_object(schema: &Yaml<'_>) -> bool {
    get(schema, "properties").is_some() || get(schema, "allOf").is_some()
}

/// A schema in full: its fields, or its rules where it has none.
pub fn body(
    contract: Contract<'_>,
    label: &str,
    schema: &Yaml<'_>,
) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let schema = contract.resolve(schema)?;
    if let Some(description) = text(schema, "description") {
        out.push_str(&markdown(description));
    }
    if is_object(schema) {
        let mut rows = Vec::new();
        fields(contract, schema, &mut rows)?;
        let label = format!("Fields of {label}");
        out.push_str(&table(&label, &["Field", "Value", "Meaning"], &rows));
        match get(schema, "additionalProperties") {
            Some(others) if text(others, "description").is_some() => {
                out.push_str(&markdown(text(others, "description").unwrap_or_default()));
            }
            Some(others @ Yaml::Mapping(_)) => {
                let told = rules(contract, others)?;
                writeln!(out, "<p>Other fields: {told}.</p>")?;
            }
            Some(_) => out.push_str("<p>There are no other fields.</p>\n"),
            None => {}
        }
    } else {
        writeln!(out, "<p>{}</p>", rules(contract, schema)?)?;
    }
    for value in items(schema, "examples") {
        out.push_str(&example(&json(value)));
    }
    Ok(out)
}

/// A row for each field, those of the schemas that this one builds on first.
fn fields<'a>(
    contract: Contract<'a>,
    schema: &'a Yaml<'a>,
    rows: &mut Vec<Vec<String>>,
) -> Result<(), Box<dyn Error>> {
    for part in items(schema, "allOf") {
        fields(contract, contract.resolve(part)?, rows)?;
    }
    let required: Vec<&str> = items(schema, "required")
        .iter()
        .filter_map(Yaml::as_str)
        .collect();
    for (name, field) in get(schema, "properties").into_iter().flat_map(entries) {
        let shown = format!(
            "<code>{}</code>{}",
            escape(name),
            mark(required.contains(&name))
        );
        // A field that an earlier schema has too is narrowed here.
        rows.retain(|row| !row[0].starts_with(&code(name)));
        rows.push(vec![
            shown,
            rules(contract, field)?,
            meaning(contract, field)?,
        ]);
    }
    Ok(())
}

/// What a field or parameter means: its own words, and those of the plain values that it may be.
pub fn meaning<'a>(contract: Contract<'a>, field: &'a Yaml<'a>) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    out.extend(text(field, "description").map(markdown));
    for schema in std::iter::once(field).chain(items(field, "anyOf")) {
        if get(schema, "$ref").is_none() {
            continue;
        }
        let target = contract.resolve(schema)?;
        if out.is_empty() || !is_object(target) {
            out.extend(text(target, "description").map(markdown));
        }
    }
    Ok(out)
}

/// What tells a required field or parameter from the others.
pub fn mark(is_required: bool) -> &'static str {
    if is_required {
        " <span class=\"required\">required</span>"
    } else {
        ""
    }
}
