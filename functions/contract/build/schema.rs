//! Describes schemas in text and tables.

use std::error::Error;
use std::fmt::Write;

use saphyr::{Scalar, Yaml};

use crate::html::{code, escape, example, markdown, table};
use crate::tree::{Contract, entries, get, is_true, items, json, plain, schema_name, text};

/// Describes the type of a value and its rules. A reference to an object's schema becomes a link;
/// the rules of a reference to a plain value are listed as well.
pub fn rules(contract: Contract<'_>, schema: &Yaml<'_>) -> Result<String, Box<dyn Error>> {
    if let Some(name) = schema_name(schema) {
        let link = format!("<a href=\"#schema-{name}\">{name}</a>");
        let target = contract.resolve(schema)?;
        if is_object(target) {
            return Ok(link);
        }
        // If the text describes the rule, the pattern is left out.
        let has_words = text(target, "description").is_some();
        return Ok(format!(
            "{link}: {}",
            rules_in_place(contract, target, has_words)?
        ));
    }
    rules_in_place(contract, schema, false)
}

/// Describes a schema that is not a reference.
fn rules_in_place(
    contract: Contract<'_>,
    schema: &Yaml<'_>,
    without_pattern: bool,
) -> Result<String, Box<dyn Error>> {
    let alternatives = items(schema, "anyOf");
    if !alternatives.is_empty() {
        let rules_text: Result<Vec<_>, _> =
            alternatives.iter().map(|s| rules(contract, s)).collect();
        return Ok(rules_text?.join("<br>or "));
    }
    let mut rules_text = Vec::new();
    match get(schema, "type") {
        Some(Yaml::Sequence(kinds)) => {
            let kinds: Vec<String> = kinds.iter().map(plain).collect();
            rules_text.push(kinds.join(" or "));
        }
        Some(kind) => rules_text.push(plain(kind)),
        None if is_true(schema, "readOnly") => {}
        None => rules_text.push("anything".to_owned()),
    }
    if let Some(element) = get(schema, "items") {
        rules_text.push(format!("each {}", rules(contract, element)?));
    }
    if let Some(value) = get(schema, "const") {
        rules_text.push(format!("always {}", code(&plain(value))));
    }
    let values: Vec<String> = items(schema, "enum")
        .iter()
        .map(|v| code(&plain(v)))
        .collect();
    if !values.is_empty() {
        rules_text.push(format!("one of {}", values.join(", ")));
    }
    let is_wide = get(schema, "maximum").is_some_and(is_rounded);
    for (name, words) in [
        ("format", "format"),
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "at least this many characters:"),
        ("maxLength", "at most this many characters:"),
        ("minItems", "at least this many items:"),
        ("maxItems", "at most this many items:"),
        ("pattern", "pattern"),
        ("default", "unless said"),
    ] {
        // Bounds of 64 bits and more are read as rounded numbers; the description contains them.
        let is_told_apart = is_wide && ["minimum", "maximum"].contains(&name);
        let value = get(schema, name).filter(|_| !is_told_apart);
        let value = value.filter(|_| name != "pattern" || !without_pattern);
        if let Some(value) = value {
            rules_text.push(format!("{words} {}", code(&plain(value))));
        }
    }
    if is_true(schema, "uniqueItems") {
        rules_text.push("unique items".to_owned());
    }
    if is_true(schema, "readOnly") {
        rules_text.push("read only".to_owned());
    }
    Ok(rules_text.join(", "))
}

fn is_rounded(value: &Yaml<'_>) -> bool {
    matches!(value, Yaml::Value(Scalar::FloatingPoint(_)))
}

/// Returns whether a schema describes objects with named fields.
fn is_object(schema: &Yaml<'_>) -> bool {
    get(schema, "properties").is_some() || get(schema, "allOf").is_some()
}

/// Describes a schema in full: its fields, or its rules if it has none.
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
                let rules_text = rules(contract, others)?;
                writeln!(out, "<p>Other fields: {rules_text}.</p>")?;
            }
            Some(_) => out.push_str("<p>No other fields.</p>\n"),
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

/// Adds a row for each field; those of base schemas come first.
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
        // A field that a base schema has too is narrowed here.
        rows.retain(|row| !row[0].starts_with(&code(name)));
        rows.push(vec![
            shown,
            rules(contract, field)?,
            meaning(contract, field)?,
        ]);
    }
    Ok(())
}

/// Returns the description of a field or parameter, with that of the plain values that it may have.
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

/// Marks a required field or parameter.
pub fn mark(is_required: bool) -> &'static str {
    if is_required {
        " <span class=\"required\">required</span>"
    } else {
        ""
    }
}
