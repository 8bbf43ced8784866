//! The page: navigation, every operation, every schema.

use std::error::Error;
use std::fmt::Write;

use saphyr::Yaml;

use crate::html::{code, escape, example, markdown, table};
use crate::schema::{body, mark, meaning, rules};
use crate::tree::{Contract, entries, get, is_true, items, json, plain, schema_name, text};

/// The page's style sheet: light and dark, narrow and wide.
const STYLE: &str = include_str!("page.css");

/// The methods of operations, as the contract names them.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// One operation and its path.
#[derive(Clone, Copy)]
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    /// The path's node, which may have parameters for all its operations.
    shared: &'a Yaml<'a>,
    node: &'a Yaml<'a>,
}

impl<'a> Operation<'a> {
    fn id(self) -> &'a str {
        text(self.node, "operationId").unwrap_or_default()
    }

    fn has_tag(self, tag: &str) -> bool {
        items(self.node, "tags")
            .iter()
            .any(|t| t.as_str() == Some(tag))
    }
}

/// Returns the whole page.
pub fn render(contract: Contract<'_>) -> Result<String, Box<dyn Error>> {
    let info = get(contract.root, "info").ok_or("no info")?;
    let title = escape(text(info, "title").unwrap_or_default());
    let summary = escape(text(info, "summary").unwrap_or_default());
    let version = get(info, "version").map(plain).unwrap_or_default();
    let about = markdown(text(info, "description").unwrap_or_default());
    let operations = operations(contract);
    let components = get(contract.root, "components").ok_or("no components")?;
    let schemas = get(components, "schemas").ok_or("no schemas")?;

    let mut navigation = String::from("<li><a href=\"#about\">About</a></li>\n");
    let mut main = String::new();
    for tag in items(contract.root, "tags") {
        let name = text(tag, "name").unwrap_or_default();
        let own: Vec<_> = operations.iter().filter(|o| o.has_tag(name)).collect();
        let links: String = own.iter().map(|operation| link(**operation)).collect();
        let heading = capitalised(name);
        write!(
            navigation,
            "<li><a href=\"#tag-{name}\">{heading}</a><ul>\n{links}</ul></li>\n"
        )?;
        write!(
            main,
            "<section id=\"tag-{name}\" aria-labelledby=\"heading-{name}\">\n\
             <h2 id=\"heading-{name}\">{heading}</h2>\n{}",
            markdown(text(tag, "description").unwrap_or_default())
        )?;
        for operation in own {
            main.push_str(&article(contract, *operation)?);
        }
        main.push_str("</section>\n");
    }
    navigation.push_str("<li><a href=\"#schemas\">Schemas</a><ul>\n");
    main.push_str("<section id=\"schemas\" aria-labelledby=\"heading-schemas\">\n");
    main.push_str("<h2 id=\"heading-schemas\">Schemas</h2>\n");
    for (name, schema) in entries(schemas) {
        writeln!(navigation, "<li><a href=\"#schema-{name}\">{name}</a></li>")?;
        write!(
            main,
            "<article id=\"schema-{name}\" aria-labelledby=\"name-{name}\">\n\
             <h3 id=\"name-{name}\">{name}</h3>\n{}</article>\n",
            body(contract, name, schema)?
        )?;
    }
    navigation.push_str("</ul></li>\n");
    main.push_str("</section>\n");

    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}: the API</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">To the content</a>\n\
         <header><h1>{title} <small>{version}</small></h1><p>{summary}</p>\n\
         <p>The same for programs: <a href=\"/api/openapi.yaml\">openapi.yaml</a></p></header>\n\
         <div class=\"columns\">\n\
         <nav aria-label=\"Contents\"><details open><summary>Contents</summary><ul>\n{navigation}\
         </ul></details></nav>\n\
         <main id=\"main\">\n<section id=\"about\" aria-label=\"About\">\n{about}</section>\n{main}\
         </main>\n</div>\n</body>\n</html>\n"
    ))
}

fn operations(contract: Contract<'_>) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    let paths = get(contract.root, "paths");
    for (path, shared) in paths.into_iter().flat_map(entries) {
        for (method, node) in entries(shared).filter(|(name, _)| METHODS.contains(name)) {
            operations.push(Operation {
                path,
                method,
                shared,
                node,
            });
        }
    }
    operations
}

fn link(operation: Operation<'_>) -> String {
    let (id, method) = (operation.id(), operation.method.to_uppercase());
    let summary = escape(text(operation.node, "summary").unwrap_or_default());
    let path = escape(operation.path);
    format!("<li><a href=\"#{id}\" title=\"{method} {path}\">{summary}</a></li>\n")
}

fn article(contract: Contract<'_>, operation: Operation<'_>) -> Result<String, Box<dyn Error>> {
    let id = operation.id();
    let mut out = format!(
        "<article id=\"{id}\" aria-labelledby=\"name-{id}\">\n\
         <h3 id=\"name-{id}\">{}</h3>\n\
         <p><span class=\"method {}\">{}</span> <code class=\"path\">{}</code></p>\n{}",
        escape(text(operation.node, "summary").unwrap_or_default()),
        operation.method,
        operation.method.to_uppercase(),
        escape(operation.path),
        markdown(text(operation.node, "description").unwrap_or_default())
    );
    if get(operation.node, "security").is_some() && items(operation.node, "security").is_empty() {
        out.push_str("<p>No key needed.</p>\n");
    }
    out.push_str(&parameters(contract, operation)?);
    if let Some(request) = get(operation.node, "requestBody") {
        let request = contract.resolve(request)?;
        let optional = if is_true(request, "required") {
            ""
        } else {
            " (optional)"
        };
        writeln!(out, "<h4>Body{optional}</h4>")?;
        out.push_str(&contents(contract, request)?);
    }
    out.push_str(&answers(contract, operation)?);
    out.push_str("</article>\n");
    Ok(out)
}

fn parameters(contract: Contract<'_>, operation: Operation<'_>) -> Result<String, Box<dyn Error>> {
    let mut rows = Vec::new();
    let shared = items(operation.shared, "parameters");
    for parameter in shared.iter().chain(items(operation.node, "parameters")) {
        let parameter = contract.resolve(parameter)?;
        let schema = get(parameter, "schema").ok_or("a parameter without a schema")?;
        let name = text(parameter, "name").unwrap_or_default();
        let mut meaning = meaning(contract, parameter)?;
        if get(schema, "$ref").is_some() {
            meaning.push_str(&crate::schema::meaning(contract, schema)?);
        }
        if let Some(value) = get(parameter, "example") {
            write!(meaning, "<p>Example: {}</p>", code(&plain(value)))?;
        }
        rows.push(vec![
            format!("{}{}", code(name), mark(is_true(parameter, "required"))),
            escape(text(parameter, "in").unwrap_or_default()),
            rules(contract, schema)?,
            meaning,
        ]);
    }
    if rows.is_empty() {
        return Ok(String::new());
    }
    let label = format!("Parameters of {}", operation.id());
    let columns = ["Parameter", "In", "Value", "Meaning"];
    Ok(format!(
        "<h4>Parameters</h4>\n{}",
        table(&label, &columns, &rows)
    ))
}

/// Lists the bodies that a request may have, by media type.
fn contents(contract: Contract<'_>, node: &Yaml<'_>) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    for (media_type, content) in get(node, "content").into_iter().flat_map(entries) {
        writeln!(out, "<details open><summary>{}</summary>", code(media_type))?;
        if let Some(schema) = get(content, "schema") {
            out.push_str(&body(contract, media_type, schema)?);
        }
        out.push_str(&examples(media_type, content)?);
        out.push_str("</details>\n");
    }
    Ok(out)
}

fn examples(media_type: &str, content: &Yaml<'_>) -> Result<String, Box<dyn Error>> {
    let shown = |value: &Yaml<'_>| example(&written(media_type, value));
    let mut out = String::new();
    if let Some(value) = get(content, "example") {
        out.push_str("<p>Example:</p>\n");
        out.push_str(&shown(value));
    }
    for (_, named) in get(content, "examples").into_iter().flat_map(entries) {
        let summary = escape(text(named, "summary").unwrap_or("Example"));
        writeln!(out, "<p>{summary}:</p>")?;
        out.extend(get(named, "value").map(shown));
    }
    Ok(out)
}

/// Formats an example value as it is sent; for a form, one field per line.
fn written(media_type: &str, value: &Yaml<'_>) -> String {
    if media_type.ends_with("json") {
        return json(value);
    }
    match value {
        Yaml::Mapping(_) => entries(value)
            .map(|(name, value)| format!("{name} = {}", plain(value).trim_end()))
            .collect::<Vec<_>>()
            .join("\n"),
        other => plain(other),
    }
}

fn answers(contract: Contract<'_>, operation: Operation<'_>) -> Result<String, Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut shown = String::new();
    let responses = get(operation.node, "responses");
    for (status, response) in responses.into_iter().flat_map(entries) {
        let response = contract.resolve(response)?;
        let mut headers = Vec::new();
        for (name, header) in get(response, "headers").into_iter().flat_map(entries) {
            let header = contract.resolve(header)?;
            headers.push(format!("{}{}", code(name), meaning(contract, header)?));
        }
        let mut bodies = Vec::new();
        for (media_type, content) in get(response, "content").into_iter().flat_map(entries) {
            let schema = match get(content, "schema").and_then(schema_name) {
                Some(name) => format!(": <a href=\"#schema-{name}\">{name}</a>"),
                None => String::new(),
            };
            bodies.push(format!("{}{schema}", code(media_type)));
            let listed = examples(media_type, content)?;
            if !listed.is_empty() {
                write!(shown, "<h5>{status} {}</h5>\n{listed}", code(media_type))?;
            }
        }
        rows.push(vec![
            code(status),
            meaning(contract, response)?,
            headers.join(""),
            bodies.join("<br>"),
        ]);
    }
    let label = format!("Answers of {}", operation.id());
    let columns = ["Status", "Meaning", "Headers", "Body"];
    let mut out = format!("<h4>Answers</h4>\n{}", table(&label, &columns, &rows));
    if !shown.is_empty() {
        write!(
            out,
            "<details><summary>Examples of responses</summary>\n{shown}</details>\n"
        )?;
    }
    Ok(out)
}

fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}
