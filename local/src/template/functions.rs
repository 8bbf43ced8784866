//! Functions of the template with the events that call them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::intrinsics::Resolver;
use super::properties::{of_type, read, read_value, text};
use super::resources::{API, FUNCTION, physical_name};
use super::{Function, QueueSource, Route, TemplateError};

/// How a function is built, who may do what with it, and what it costs.
const FUNCTION_IGNORED: [&str; 20] = [
    "Architectures",
    "AssumeRolePolicyDocument",
    "AutoPublishAlias",
    "CodeUri",
    "DeploymentPreference",
    "Description",
    "EphemeralStorage",
    "Events",
    "FunctionName",
    "Handler",
    "LoggingConfig",
    "PackageType",
    "PermissionsBoundary",
    "Policies",
    "ReservedConcurrentExecutions",
    "Role",
    "Runtime",
    "SnapStart",
    "Tags",
    "Tracing",
];
/// Throttling and logs: a machine of one's own has one user.
const API_IGNORED: [&str; 7] = [
    "AccessLogSettings",
    "DefaultRouteSettings",
    "Description",
    "FailOnWarnings",
    "Name",
    "RouteSettings",
    "Tags",
];

/// Lambda: a function runs for 3 seconds at most unless its template says otherwise.
const DEFAULT_TIMEOUT_SECONDS: u64 = 3;
/// Lambda: a function has 128 MB unless its template says otherwise.
const DEFAULT_MEMORY: u32 = 128;
/// SQS event source: up to ten messages an event.
const DEFAULT_BATCH_SIZE: usize = 10;
/// HTTP API: an integration has 30 seconds.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct FunctionProperties {
    #[serde(default, deserialize_with = "text")]
    timeout: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    memory_size: Option<u32>,
    environment: Option<Environment>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Environment {
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// An HTTP API may say nothing that one machine would have to do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiProperties {}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct HttpApiEvent {
    api_id: Option<String>,
    method: Option<String>,
    path: Option<String>,
    #[serde(default, deserialize_with = "text")]
    timeout_in_millis: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SqsEvent {
    queue: String,
    #[serde(default, deserialize_with = "text")]
    batch_size: Option<usize>,
    #[serde(default, deserialize_with = "text")]
    enabled: Option<bool>,
    #[serde(default)]
    function_response_types: Vec<String>,
    scaling_config: Option<ScalingConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ScalingConfig {
    #[serde(default, deserialize_with = "text")]
    maximum_concurrency: Option<usize>,
}

pub(super) fn functions(tree: &Value, resolver: &Resolver) -> Result<Vec<Function>, TemplateError> {
    let globals = &tree["Globals"];
    let _: ApiProperties = read_value(
        resolver,
        "Globals.HttpApi",
        &globals["HttpApi"],
        &API_IGNORED,
    )?;
    let mut apis = 0;
    for (id, api) in of_type(tree, API) {
        let _: ApiProperties = read(resolver, id, api, &API_IGNORED)?;
        apis += 1;
        if apis > 1 {
            return Err(TemplateError::unsupported(
                id,
                "one machine serves one HTTP API",
            ));
        }
    }
    let common: FunctionProperties = read_value(
        resolver,
        "Globals.Function",
        &globals["Function"],
        &FUNCTION_IGNORED,
    )?;
    of_type(tree, FUNCTION)
        .map(|(id, resource)| function(resolver, &common, id, resource))
        .collect()
}

fn function(
    resolver: &Resolver,
    common: &FunctionProperties,
    id: &str,
    resource: &Value,
) -> Result<Function, TemplateError> {
    let own: FunctionProperties = read(resolver, id, resource, &FUNCTION_IGNORED)?;
    let mut environment = common
        .environment
        .as_ref()
        .map_or_else(BTreeMap::new, |e| e.variables.clone());
    environment.extend(own.environment.unwrap_or_default().variables);
    let binary = resource["Metadata"]["BuildProperties"]["Binary"].as_str();
    let binary = binary.ok_or_else(|| {
        TemplateError::unsupported(
            format!("{id}.Metadata.BuildProperties.Binary"),
            "it is missing, so nothing says which program the function is",
        )
    })?;
    let mut function = Function {
        logical_id: id.to_owned(),
        name: physical_name(resolver, id, resource, "FunctionName")?,
        binary: binary.to_owned(),
        timeout: Duration::from_secs(
            own.timeout
                .or(common.timeout)
                .unwrap_or(DEFAULT_TIMEOUT_SECONDS),
        ),
        memory: own
            .memory_size
            .or(common.memory_size)
            .unwrap_or(DEFAULT_MEMORY),
        environment,
        routes: Vec::new(),
        queues: Vec::new(),
    };
    let events = resource["Properties"]["Events"].as_object();
    for (name, event) in events.into_iter().flatten() {
        let place = format!("{id}.Events.{name}");
        match event["Type"].as_str().unwrap_or_default() {
            "HttpApi" => {
                let event = read_value(resolver, &place, &event["Properties"], &["RouteSettings"])?;
                function.routes.push(route(&place, event)?);
            }
            "SQS" => {
                let event = read_value(resolver, &place, &event["Properties"], &[])?;
                function.queues.extend(source(&place, event)?);
            }
            other => {
                return Err(TemplateError::unsupported(
                    place,
                    format!("one machine has no events of type {other:?}"),
                ));
            }
        }
    }
    Ok(function)
}

fn route(place: &str, event: HttpApiEvent) -> Result<Route, TemplateError> {
    let _ = event.api_id;
    let path = event.path.filter(|path| path != "$default");
    if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        return Err(TemplateError::unsupported(
            place,
            "a Path begins with a slash",
        ));
    }
    let timeout = event.timeout_in_millis.map(Duration::from_millis);
    Ok(Route {
        method: event
            .method
            .map(|method| method.to_ascii_uppercase())
            .filter(|method| method != "ANY" && method != "X-AMAZON-APIGATEWAY-ANY-METHOD"),
        path,
        timeout: timeout
            .unwrap_or(INTEGRATION_TIMEOUT)
            .min(INTEGRATION_TIMEOUT),
    })
}

fn source(place: &str, event: SqsEvent) -> Result<Option<QueueSource>, TemplateError> {
    let known = ["ReportBatchItemFailures"];
    for kind in &event.function_response_types {
        if !known.contains(&kind.as_str()) {
            return Err(TemplateError::unsupported(
                place,
                format!("there is no FunctionResponseTypes {kind}"),
            ));
        }
    }
    let batch_size = event.batch_size.unwrap_or(DEFAULT_BATCH_SIZE);
    let maximum_concurrency = event
        .scaling_config
        .and_then(|config| config.maximum_concurrency);
    if batch_size == 0 || maximum_concurrency == Some(0) {
        return Err(TemplateError::unsupported(
            place,
            "BatchSize and MaximumConcurrency are at least 1",
        ));
    }
    let source = QueueSource {
        queue_arn: event.queue,
        batch_size,
        report_batch_item_failures: !event.function_response_types.is_empty(),
        maximum_concurrency,
    };
    Ok((event.enabled != Some(false)).then_some(source))
}
