//! openapi.yaml compared with the running stack: its routes, its examples, and its schemas.

use std::collections::BTreeSet;

use jsonschema::Validator;
use mpulse_tests::packed::Packing;
use mpulse_tests::{Answer, HEADER, Stack, row, send, text};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::batch_derivation;

/// The contract, as in the repository and as served.
const CONTRACT: &str = include_str!("../../openapi.yaml");

/// The statuses of successful requests.
const SUCCESS: [&str; 5] = ["200", "201", "202", "204", "302"];

/// The contract as JSON.
pub fn contract() -> Value {
    let documents = Yaml::load_from_str(CONTRACT).expect("the contract is YAML");
    to_json(&documents[0])
}

fn to_json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| {
                let key = key.as_str().expect("a name");
                (key.to_owned(), to_json(value))
            })
            .collect::<Map<_, _>>()
            .into(),
        other => panic!("no JSON: {other:?}"),
    }
}

/// Returns a node, or the one that it refers to.
fn resolve<'a>(contract: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(reference) => contract
            .pointer(reference.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{reference} refers to nothing")),
        None => node,
    }
}

fn entries(node: &Value) -> impl Iterator<Item = (&String, &Value)> {
    node.as_object().into_iter().flatten()
}

/// An operation of the contract.
pub struct Operation<'a> {
    path: &'a str,
    pub method: Method,
    node: &'a Value,
}

pub fn operations(contract: &Value) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    for (path, item) in entries(&contract["paths"]) {
        for (method, node) in entries(item).filter(|(name, _)| *name != "parameters") {
            let method = method.to_uppercase().parse().expect("a method");
            all.push(Operation { path, method, node });
        }
    }
    assert!(all.len() > 20, "the contract has operations");
    all
}

/// The examples of a schema, and the schema.
fn examples(media: &Value) -> Vec<Value> {
    let named = entries(&media["examples"]).map(|(_, example)| example["value"].clone());
    let one = media.get("example").cloned();
    one.into_iter().chain(named).collect()
}

/// A roster, packed as a media type says. The contract cannot show an example of one.
fn packed(media_type: &str) -> Option<Vec<u8>> {
    let packing = match media_type {
        "application/gzip" => Packing::Gzip,
        "application/zip" => Packing::Zip,
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Packing::Workbook,
        _ => return None,
    };
    Some(packing.pack(&format!("{HEADER}{}", row("4", 1))))
}

/// Validates a value against a schema of the contract.
#[track_caller]
fn check(contract: &Value, schema: &Value, value: &Value, what: &str) {
    let mut schema = schema.clone();
    schema["components"] = contract["components"].clone();
    let validator: Validator = jsonschema::validator_for(&schema).expect("a schema");
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|fault| format!("{} at {}", fault, fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{what}: {faults:#?} in {value:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served_unchanged_and_as_a_page() {
    let stack = Stack::start().await;
    let served = send(stack.anonymous(Method::GET, "/api/openapi.yaml")).await;
    served.expect(200);
    assert_eq!(served.header("content-type"), "application/yaml");
    assert_eq!(served.text(), CONTRACT);
    let page = send(stack.anonymous(Method::GET, "/api/docs")).await;
    page.expect(200);
    for operation in operations(&contract()) {
        assert!(page.text().contains(text(&operation.node["summary"])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_routes_are_those_of_the_template() {
    let stack = Stack::start().await;
    let declared: BTreeSet<String> = stack
        .local_stack
        .template()
        .functions
        .iter()
        .filter(|function| function.binary != "default-route")
        .flat_map(|function| &function.routes)
        .filter_map(|route| {
            let path = route.path.as_deref()?;
            let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty());
            Some(format!(
                "{} {}",
                route.method.as_ref()?,
                bare.unwrap_or(path)
            ))
        })
        .collect();
    let contract = contract();
    // The contract describes HEAD in one sentence, for every GET.
    let documented: BTreeSet<String> = operations(&contract)
        .iter()
        .flat_map(|Operation { path, method, .. }| {
            let head = (method == Method::GET).then(|| format!("HEAD {path}"));
            head.into_iter().chain([format!("{method} {path}")])
        })
        .collect();
    assert_eq!(documented, declared);
}

#[test]
fn every_example_fits_its_schema() {
    let contract = contract();
    let mut seen = 0;
    for operation in operations(&contract) {
        let name = text(&operation.node["operationId"]);
        let body = resolve(&contract, &operation.node["requestBody"]);
        let mut contents = vec![&body["content"]];
        for (_, response) in entries(&operation.node["responses"]) {
            contents.push(&resolve(&contract, response)["content"]);
        }
        for (media_type, media) in contents.into_iter().flat_map(entries) {
            for example in examples(media) {
                check(
                    &contract,
                    &media["schema"],
                    &example,
                    &format!("{name} {media_type}"),
                );
                seen += 1;
            }
        }
        for parameter in operation.node["parameters"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let parameter = resolve(&contract, parameter);
            if let Some(example) = parameter.get("example") {
                check(&contract, &parameter["schema"], example, name);
                seen += 1;
            }
        }
    }
    for (name, schema) in entries(&contract["components"]["schemas"]) {
        for example in schema["examples"].as_array().into_iter().flatten() {
            check(&contract, schema, example, name);
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen} examples");
}

/// What the examples refer to, created again for each: a member, a key, and batches.
async fn furnish(stack: &Stack, operation: &Operation<'_>) -> String {
    let member = "/api/members/4~5622780";
    stack.delete(member).await;
    let creates = operation.method == Method::POST && operation.path.starts_with("/api/members");
    if !creates {
        let zoe = json!({"account_id": "4", "client_member_id": "5622780", "first_name": "Zoë",
                         "last_name": "O'Brien", "phone_number": "(714) 555-0123"});
        // The file of an earlier example contains her too, and may be processed first.
        let made = stack.post("/api/members/", &zoe).await;
        assert!([201, 409].contains(&made.status), "{}", made.text());
    }
    if operation.path.starts_with("/api/keys/") {
        let key = json!({"key_id": "night-job", "role": "writer"});
        send(
            stack
                .request_as(&stack.admin, Method::POST, "/api/keys")
                .json(&key),
        )
        .await;
    }
    if operation.path.contains("/exports/") {
        let export = stack
            .post("/api/exports", &json!({"account_id": "4"}))
            .await;
        return text(&export.json()["export_id"]).to_owned();
    }
    if operation.method == Method::DELETE && operation.path.contains("/batch/") {
        return text(&stack.open_batch(&json!({})).await["batch_id"]).to_owned();
    }
    if operation.path.ends_with("/parts") || operation.path.ends_with("/complete") {
        let opened = stack
            .open_batch(&json!({"size": 5, "multipart": true}))
            .await;
        if operation.path.ends_with("/complete") {
            stack.put_parts(&opened, b"12345", &[1]).await;
        }
        return text(&opened["batch_id"]).to_owned();
    }
    if operation.path.ends_with("/apply") {
        return batch_derivation::dry_run(stack).await.batch_id.to_string();
    }
    if operation.path.ends_with("/changes") || operation.path.ends_with("/revert") {
        let batch = batch_derivation::changed(stack, |_| {}).await;
        return batch.batch_id.to_string();
    }
    if operation.path.contains("/batch/{id}") {
        let ended = stack
            .upload(format!("{HEADER}{}4,,,,\n", row("4", 1)))
            .await;
        return text(&ended["batch_id"]).to_owned();
    }
    String::new()
}

/// Creates what an operation's path refers to, and returns the path with the required parameters.
pub async fn example_path(stack: &Stack, contract: &Value, operation: &Operation<'_>) -> String {
    let batch = furnish(stack, operation).await;
    let id = match operation.path {
        path if path.contains("/batch/") || path.contains("/exports/") => &batch,
        path if path.starts_with("/api/accounts") => "9",
        path if path.starts_with("/api/keys") => "night-job",
        _ => "4~5622780",
    };
    let path = operation.path.replace("{id}", id);
    let mut path = path.replace("{file}", "app.js");
    for (parameter, example) in query_examples(contract, operation) {
        if parameter["required"] == true {
            add_parameter(&mut path, &parameter, &example);
        }
    }
    path
}

/// Returns the parameters of an operation's query that have an example, and their examples.
fn query_examples(contract: &Value, operation: &Operation<'_>) -> Vec<(Value, String)> {
    let parameters = operation.node["parameters"].as_array();
    let parameters = parameters.into_iter().flatten();
    parameters
        .map(|parameter| resolve(contract, parameter))
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|parameter| {
            let example = parameter.get("example")?;
            let text = example.as_str().map(str::to_owned);
            Some((
                parameter.clone(),
                text.unwrap_or_else(|| example.to_string()),
            ))
        })
        .collect()
}

fn add_parameter(path: &mut String, parameter: &Value, example: &str) {
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(text(&parameter["name"]));
    path.push('=');
    path.push_str(example);
}

/// Builds the request of an operation's example.
fn request(
    stack: &Stack,
    operation: &Operation<'_>,
    path: &str,
    body: Option<&(String, Value)>,
) -> reqwest::RequestBuilder {
    let request = stack.request_as(&stack.admin, operation.method.clone(), path);
    let Some((media_type, example)) = body else {
        return request;
    };
    let field = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match media_type.as_str() {
        "multipart/form-data" => {
            let mut form = reqwest::multipart::Form::new();
            for (name, value) in entries(example) {
                form = if name == "file" {
                    let part = reqwest::multipart::Part::text(field(value));
                    form.part(name.clone(), part.file_name("roster.csv"))
                } else {
                    form.text(name.clone(), field(value))
                };
            }
            request.multipart(form)
        }
        "application/x-www-form-urlencoded" => {
            let mut form = reqwest::Url::parse("form:").expect("a URL");
            form.query_pairs_mut()
                .extend_pairs(entries(example).map(|(name, value)| (name, field(value))));
            let body = form.query().expect("fields").to_owned();
            request.header(CONTENT_TYPE, media_type).body(body)
        }
        _ => {
            let request = request.header(CONTENT_TYPE, media_type);
            match packed(media_type) {
                Some(file) => request.body(file),
                None if media_type.ends_with("json") => request.body(example.to_string()),
                None => request.body(field(example)),
            }
        }
    }
}

/// Validates a response against the contract's description of its status.
fn check_answer(contract: &Value, operation: &Operation<'_>, answer: &Answer, what: &str) {
    let status = answer.status.to_string();
    assert!(
        SUCCESS.contains(&status.as_str()),
        "{what}: {status} {}",
        answer.text()
    );
    let documented = &operation.node["responses"][&status];
    assert!(
        documented.is_object(),
        "{what}: {status} is not in the contract"
    );
    let documented = resolve(contract, documented);
    for (name, header) in entries(&documented["headers"]) {
        let value = answer.header(name);
        let header = resolve(contract, header);
        assert!(
            header["required"] != true || !value.is_empty(),
            "{what}: no header {name}"
        );
        if !value.is_empty() {
            check(
                contract,
                &header["schema"],
                &json!(value),
                &format!("{what}: {name}"),
            );
        }
    }
    let media_type = answer.header("content-type").replace("; charset=utf-8", "");
    let media = entries(&documented["content"]).find(|(name, _)| name.starts_with(&media_type));
    match media {
        Some((_, media)) if media_type.ends_with("json") => {
            check(contract, &media["schema"], &answer.json(), what);
        }
        Some(_) => {}
        None => assert!(
            answer.body.is_empty(),
            "{what}: {media_type} is not in the contract"
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_example_succeeds_as_described() {
    let (with_ingest, without_ingest) = (Stack::start().await, Stack::without_ingest().await);
    let contract = contract();
    for operation in operations(&contract) {
        // A run would delete the files of batches that are stored as if they had ended.
        let is_derived = operation.path.ends_with("/apply") || operation.path.ends_with("/revert");
        let stack = if is_derived {
            &without_ingest
        } else {
            &with_ingest
        };
        let name = text(&operation.node["operationId"]);
        let body = resolve(&contract, &operation.node["requestBody"]);
        let mut bodies: Vec<Option<(String, Value)>> = Vec::new();
        for (media_type, media) in entries(&body["content"]) {
            let mut examples = examples(media);
            if packed(media_type).is_some() {
                examples.push(Value::Null);
            }
            assert!(!examples.is_empty(), "{name} {media_type} has an example");
            bodies.extend(examples.into_iter().map(|e| Some((media_type.clone(), e))));
        }
        if body["required"] != true {
            bodies.push(None);
        }
        // Without optional parameters, and with each of them.
        let optional = query_examples(&contract, &operation)
            .into_iter()
            .filter(|(parameter, _)| parameter["required"] != true);
        let queries: Vec<_> = optional.map(Some).chain([None]).collect();
        for query in &queries {
            for body in &bodies {
                let mut path = example_path(stack, &contract, &operation).await;
                if let Some((parameter, example)) = query {
                    add_parameter(&mut path, parameter, example);
                }
                let answer = send(request(stack, &operation, &path, body.as_ref())).await;
                let kind = body.as_ref().map_or("no body", |(kind, _)| kind);
                let what = format!("{} {path} with {kind}", operation.method);
                check_answer(&contract, &operation, &answer, &what);
            }
        }
    }
}
