//! The functions of the template, with their event sources.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::intrinsics::Resolver;
use super::model::{Function, QueueSource, Route, TemplateError};
use super::names::{API, FUNCTION};
use super::properties::{of_type, read, read_value, text};

/// Ignored: build settings, permissions, cost.
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
/// Ignored: throttling and logs, since the local stack has one user.
const API_IGNORED: [&str; 7] = [
    "AccessLogSettings",
    "DefaultRouteSettings",
    "Description",
    "FailOnWarnings",
    "Name",
    "RouteSettings",
    "Tags",
];

/// The default timeout of a function (Lambda).
const DEFAULT_TIMEOUT_SECONDS: u64 = 3;
/// The default memory of a function in MB (Lambda).
const DEFAULT_MEMORY: u32 = 128;
/// The default number of messages per event (SQS event source).
const DEFAULT_BATCH_SIZE: usize = 10;
/// The timeout of an integration (HTTP API).
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

/// Checks that an HTTP API has no setting that the local stack would have to implement.
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
                "the local stack has one HTTP API",
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
            "it is missing, so the function's program is unknown",
        )
    })?;
    let mut function = Function {
        logical_id: id.to_owned(),
        name: resolver.physical_name(id, resource, "FunctionName")?,
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
                    format!("the local stack has no events of type {other:?}"),
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
                format!("FunctionResponseTypes {kind} does not exist"),
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
