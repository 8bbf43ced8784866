//! template.yaml compared with the code: each function's policy allows exactly what its code calls,
//! on the resources it uses; and everything that functions name exists, and everything that exists
//! is used.
//!
//! The calls are read from the source: a store's methods call the SDK, and a function's text shows
//! which of them it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use mpulse_local::BUILT_IN_TEMPLATE;
use mpulse_tests::Stack;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

/// Actions, each with its resource as the end of the ARN:
/// (`MembersTable/index/phone-index`, `dynamodb:Query`), (`FilesBucket/uploads/*`, `s3:PutObject`).
type Actions = BTreeSet<(String, String)>;

/// The stores: the name by which functions use one, its files, and the resource.
const STORES: [(&str, &[&str], &str); 8] = [
    ("members", &["members.rs"], "MembersTable"),
    (
        "batches",
        &["batches.rs", "leases.rs", "listing.rs", "replacements.rs"],
        "BatchesTable",
    ),
    ("exports", &["exports.rs", "listing.rs"], "ExportsTable"),
    ("keys", &["keys.rs"], "KeysTable"),
    ("records", &["idempotency.rs"], "IdempotencyTable"),
    ("files", &["files.rs", "copies.rs"], "FilesBucket"),
    ("parts", &["parts.rs"], "FilesBucket"),
    ("events", &["events.rs"], "EventBusName"),
];

/// The SDK's calls, and the IAM actions that each requires.
const CALLS: [(&str, &[&str]); 23] = [
    ("get_item", &["dynamodb:GetItem"]),
    ("put_item", &["dynamodb:PutItem"]),
    ("update_item", &["dynamodb:UpdateItem"]),
    ("delete_item", &["dynamodb:DeleteItem"]),
    ("query", &["dynamodb:Query"]),
    ("scan", &["dynamodb:Scan"]),
    ("batch_get_item", &["dynamodb:BatchGetItem"]),
    ("batch_write_item", &["dynamodb:BatchWriteItem"]),
    (
        "batch_execute_statement",
        &[
            "dynamodb:PartiQLDelete",
            "dynamodb:PartiQLInsert",
            "dynamodb:PartiQLUpdate",
        ],
    ),
    ("get_object", &["s3:GetObject"]),
    // Without permission to list, S3 returns 403 for an object that does not exist.
    ("head_object", &["s3:GetObject", "s3:ListBucket"]),
    ("put_object", &["s3:PutObject"]),
    ("copy_object", &["s3:PutObject", "s3:GetObject"]),
    ("delete_object", &["s3:DeleteObject"]),
    ("delete_objects", &["s3:DeleteObject"]),
    ("list_objects_v2", &["s3:ListBucket"]),
    ("create_multipart_upload", &["s3:PutObject"]),
    ("upload_part", &["s3:PutObject"]),
    ("upload_part_copy", &["s3:PutObject", "s3:GetObject"]),
    ("complete_multipart_upload", &["s3:PutObject"]),
    ("abort_multipart_upload", &["s3:AbortMultipartUpload"]),
    ("list_parts", &["s3:ListMultipartUploadParts"]),
    ("put_events", &["events:PutEvents"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns all files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Returns the source below a folder, without tests and without white space, so that a call looks
/// the same however it is formatted.
fn source(path: &Path) -> String {
    if path.is_dir() {
        return files_below(path).iter().map(|file| source(file)).collect();
    }
    let text = fs::read_to_string(path).expect("a source");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(str::chars)
        .filter(|character| !character.is_whitespace())
        .collect()
}

/// Returns the indexes that the queries in a text use, and the table if a query names no index.
fn queried(text: &str, resource: &str) -> Vec<String> {
    let branches = text
        .split("}else")
        .filter(|branch| branch.contains(".key_condition_expression("));
    branches
        .map(|branch| match branch.split_once(".index_name(") {
            Some((_, name)) => {
                let name = name.split(')').next().unwrap_or_default();
                // PHONE_INDEX is phone-index.
                let name = name.to_ascii_lowercase().replace('_', "-");
                format!("{resource}/index/{name}")
            }
            None => resource.to_owned(),
        })
        .collect()
}

/// Returns the resources on which a text makes its calls.
fn places(text: &str, (resource, folders): (&str, &[&str]), action: &str) -> Vec<String> {
    match action {
        "dynamodb:Query" => queried(text, resource),
        // Listing applies to the bucket; everything else to objects.
        "s3:ListBucket" => vec![resource.to_owned()],
        _ if action.starts_with("s3:") => folders
            .iter()
            .map(|folder| format!("{resource}/{folder}/*"))
            .collect(),
        _ => vec![resource.to_owned()],
    }
}

/// Returns the folders of the bucket whose keys a text uses; that of uploads if it uses none.
fn folders(text: &str) -> Vec<&'static str> {
    let keys = [
        ("upload_key", "uploads"),
        ("rejects_key", "rejects"),
        ("changes_key", "changes"),
        ("request_key", "exports/requests"),
        ("file_key", "exports"),
    ];
    let named = keys.iter().filter(|(key, _)| text.contains(key));
    let named: Vec<_> = named.map(|(_, folder)| *folder).collect();
    if named.is_empty() {
        return vec!["uploads"];
    }
    named
}

/// Returns the actions of the SDK's calls in a text, on a resource; on objects, those of these folders.
fn called(text: &str, (resource, folders): (&str, &[&str])) -> Actions {
    CALLS
        .iter()
        .filter(|(call, _)| {
            // On a client, that is, and not a method of the type's own.
            let mut before = text.split(&format!(".{call}()")).collect::<Vec<_>>();
            before.pop();
            before.iter().any(|before| !before.ends_with("self"))
        })
        .flat_map(|(_, actions)| *actions)
        .flat_map(|action| {
            let places = places(text, (resource, folders), action).into_iter();
            places.map(|place| (place, (*action).to_owned()))
        })
        .collect()
}

/// Returns the actions of each method of a store, including those of other methods that it calls.
fn methods(files: &[&str], resource: &str) -> BTreeMap<String, Actions> {
    let folder = root().join("shared/src/store");
    let text: String = files
        .iter()
        .map(|file| source(&folder.join(file)))
        .collect();
    // White space is gone, so `pub async fn get(` reads `asyncfnget(`.
    let bodies: BTreeMap<String, &str> = text
        .split("fn")
        .skip(1)
        .filter_map(|body| {
            let (name, _) = body.split_once(['(', '<'])?;
            let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            (is_name && !name.is_empty()).then(|| (name.to_owned(), body))
        })
        .collect();
    let mut all: BTreeMap<String, Actions> = bodies
        .iter()
        .map(|(name, body)| {
            let actions = called(body, (resource, &folders(body)));
            (name.clone(), actions)
        })
        .collect();
    for _ in 0..bodies.len() {
        for (name, body) in &bodies {
            let others = bodies.keys().filter(|other| {
                let calls = ["self.", "self.clone().", "self.listing()."];
                calls
                    .iter()
                    .any(|on| body.contains(&format!("{on}{other}(")))
            });
            let more: Actions = others.flat_map(|other| all[other].clone()).collect();
            all.get_mut(name).expect("it is there").extend(more);
        }
    }
    all
}

/// Returns the actions that the code of a function calls.
fn calls_of(program: &str) -> Actions {
    let text = source(&root().join("functions").join(program).join("src"));
    let mut actions = Actions::new();
    // These have their own code for members and for the bucket; it is read from their source.
    let has_own = ["export", "ingest"].contains(&program);
    let stores = STORES
        .iter()
        .filter(|(field, ..)| !has_own || *field != "members");
    for (field, files, resource) in stores {
        for (method, does) in methods(files, resource) {
            if text.contains(&format!("{field}.{method}(")) {
                actions.extend(does);
            }
        }
    }
    let indirect = [
        ("http::authorized", "KeysTable", "dynamodb:GetItem"),
        ("http::idempotent(", "KeysTable", "dynamodb:GetItem"),
        (
            "member_view::requested(",
            "MembersTable",
            "dynamodb:GetItem",
        ),
        ("batch_view::requested(", "BatchesTable", "dynamodb:GetItem"),
        (
            "export_view::requested(",
            "ExportsTable",
            "dynamodb:GetItem",
        ),
        ("ExportView::new(", "FilesBucket/exports/*", "s3:GetObject"),
        (
            "person_view::members(",
            "MembersTable/index/phone-index",
            "dynamodb:Query",
        ),
    ];
    for (call, place, action) in indirect {
        if text.contains(call) {
            actions.insert((place.to_owned(), action.to_owned()));
        }
    }
    if text.contains("http::idempotent(") {
        let does = methods(&["idempotency.rs"], "IdempotencyTable");
        actions.extend(does.into_values().flatten());
    }
    if has_own {
        let folder = root().join("functions").join(program).join("src");
        for file in files_below(&folder) {
            let text = source(&file);
            let file = file.strip_prefix(&folder).expect("it is below");
            let is_s3 = text.contains("aws_sdk_s3") || text.contains(".s3");
            let of_report = file.to_string_lossy().contains("report");
            // The key in an event is that of the object that started the run.
            let of_request = text.contains(".key(&request.object.key)");
            actions.extend(match (is_s3, of_report, program) {
                (false, ..) => called(&text, ("MembersTable", &[])),
                (_, _, "export") if of_request => {
                    called(&text, ("FilesBucket", &["exports/requests"]))
                }
                (_, _, "export") => called(&text, ("FilesBucket", &["exports"])),
                (_, true, _) => called(&text, ("FilesBucket", &["changes", "rejects"])),
                (_, false, _) => called(&text, ("FilesBucket", &["uploads"])),
            });
        }
    }
    actions
}

/// Returns the template, with `!Sub` and its like as their text.
fn template() -> Value {
    fn plain(yaml: &Yaml<'_>) -> Value {
        match yaml {
            Yaml::Value(Scalar::String(text)) => Value::String(text.to_string()),
            Yaml::Tagged(_, inner) => plain(inner),
            Yaml::Sequence(items) => items.iter().map(plain).collect(),
            Yaml::Mapping(entries) => entries
                .iter()
                .map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), plain(value)))
                .collect::<Map<_, _>>()
                .into(),
            _ => Value::Null,
        }
    }
    plain(&Yaml::load_from_str(BUILT_IN_TEMPLATE).expect("it is YAML")[0])
}

/// Returns one text, or several.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// Returns the actions that the template allows a function.
fn allowed(function: &Value) -> Actions {
    let mut all = Actions::new();
    let policies = function["Properties"]["Policies"].as_array();
    for statement in policies
        .into_iter()
        .flatten()
        .flat_map(|policy| policy["Statement"].as_array().expect("statements").iter())
    {
        assert_eq!(statement["Effect"], "Allow", "{statement}");
        for resource in texts(&statement["Resource"]) {
            // `MembersTable.Arn`, `${MembersTable.Arn}/index/phone-index`,
            // `…${FilesBucket}/uploads/*`
            let named = resource.split("${").last().unwrap_or_default();
            let place = named.replace(".Arn", "").replace('}', "");
            let name = place.split('/').next().unwrap_or_default();
            let is_known = STORES.iter().any(|(_, _, resource)| *resource == name);
            assert!(is_known, "{resource} is none of the stores'");
            for action in texts(&statement["Action"]) {
                assert!(!action.contains('*'), "{action}");
                all.insert((place.clone(), action.to_owned()));
            }
        }
    }
    all
}

#[test]
fn each_policy_allows_exactly_what_the_code_calls() {
    let template = template();
    let mut functions = 0;
    for (id, resource) in template["Resources"].as_object().expect("resources") {
        if resource["Type"] != "AWS::Serverless::Function" {
            continue;
        }
        let program = resource["Metadata"]["BuildProperties"]["Binary"].as_str();
        let calls = calls_of(program.expect("a program"));
        let allowed = allowed(resource);
        let missing: Vec<_> = calls.difference(&allowed).collect();
        let needless: Vec<_> = allowed.difference(&calls).collect();
        assert!(
            missing.is_empty() && needless.is_empty(),
            "{id} lacks {missing:?} and does not need {needless:?}"
        );
        functions += 1;
    }
    assert!(functions > 15, "{functions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_functions_name_exists_and_is_used() {
    let stack = Stack::start().await;
    let template = stack.local_stack.template();
    let tables = template.tables.iter().map(|table| &table.name);
    let buckets = template.buckets.iter().map(|bucket| &bucket.name);
    let there: BTreeSet<&String> = tables.chain(buckets).collect();
    let named: BTreeSet<&String> = template
        .functions
        .iter()
        .flat_map(|function| &function.environment)
        .filter(|(name, _)| name.ends_with("_TABLE") || name.ends_with("_BUCKET"))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(named, there);

    let sources = template
        .functions
        .iter()
        .flat_map(|function| &function.queues);
    let letters = template
        .queues
        .iter()
        .filter_map(|queue| queue.redrive.as_ref());
    let notifications = template
        .buckets
        .iter()
        .flat_map(|bucket| &bucket.notifications);
    let queues: BTreeSet<&String> = template.queues.iter().map(|queue| &queue.arn).collect();
    let read: BTreeSet<&String> = sources.map(|source| &source.queue_arn).collect();
    let used: BTreeSet<&String> = letters
        .map(|letters| &letters.target_arn)
        .chain(read.clone())
        .collect();
    assert_eq!(used, queues);
    assert!(
        notifications
            .into_iter()
            .all(|notification| read.contains(&notification.queue_arn))
    );
}

/// Resources that act by themselves. Any other resource must be named by one.
const ACTORS: [&str; 6] = [
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SQS::QueuePolicy",
    "AWS::Serverless::Function",
];

#[test]
fn every_name_in_the_template_exists_and_every_resource_is_named() {
    // Names follow these, and end before a character that is neither a letter nor a digit.
    let named: BTreeSet<&str> = ["!Ref ", "!GetAtt ", "${"]
        .into_iter()
        .flat_map(|marker| BUILT_IN_TEMPLATE.split(marker).skip(1))
        .filter(|behind| !behind.starts_with("AWS::"))
        .filter_map(|behind| behind.split(|c: char| !c.is_ascii_alphanumeric()).next())
        .collect();
    let template = template();
    let part = |name: &str| template[name].as_object().expect("a part of the template");
    let resources = part("Resources");
    let used = resources
        .iter()
        .filter(|(_, resource)| ACTORS.iter().all(|kind| resource["Type"] != *kind))
        .map(|(name, _)| name)
        .chain(part("Parameters").keys());
    for name in used {
        assert!(named.contains(name.as_str()), "nothing names {name}");
    }
    for name in named {
        let is_there = resources.contains_key(name) || part("Parameters").contains_key(name);
        assert!(is_there, "{name} is named and does not exist");
    }
}

/// The code that reads a setting.
const READERS: [(&str, &[&str]); 13] = [
    (
        "MEMBERS_TABLE",
        &["store::members::", "required(\"MEMBERS_TABLE\")"],
    ),
    ("BATCHES_TABLE", &["store::batches::"]),
    ("EXPORTS_TABLE", &["store::exports::"]),
    (
        "KEYS_TABLE",
        &[
            "http::authorized",
            "http::idempotent(",
            "Access::from_setup(",
            "store::keys::",
        ],
    ),
    ("IDEMPOTENCY_TABLE", &["http::idempotent("]),
    ("FILES_BUCKET", &["store::files::"]),
    ("DEFAULT_REGION", &["Rules", "DefaultRegion"]),
    (
        "ANONYMOUS_READS",
        &["http::authorized_or_anonymous(", ".require_reader("],
    ),
    ("MAX_UPLOAD_BYTES", &[".max_upload_bytes("]),
    (
        "MAX_WRITE_UNITS_PER_SECOND",
        &[".max_write_units_per_second("],
    ),
    ("UPLOAD_ORIGIN", &[".upload_origin("]),
    ("EVENT_BUS", &["store::events::"]),
    ("STACK_NAME", &["store::events::"]),
];

#[test]
fn each_function_gets_exactly_the_settings_that_its_code_reads() {
    let template = template();
    for (id, resource) in template["Resources"].as_object().expect("resources") {
        let Some(program) = resource["Metadata"]["BuildProperties"]["Binary"].as_str() else {
            continue;
        };
        let text = source(&root().join("functions").join(program).join("src"));
        let read: BTreeSet<&str> = READERS
            .iter()
            .filter(|(_, readers)| readers.iter().any(|reader| text.contains(reader)))
            .map(|(name, _)| *name)
            .collect();
        let settings = resource["Properties"]["Environment"]["Variables"].as_object();
        let given: BTreeSet<&str> = settings
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(given, read, "{id}");
    }
}

#[test]
fn metrics_of_alarms_and_dashboard_are_published() {
    let template = template();
    let resources = template["Resources"].as_object().expect("resources");
    let alarmed = resources
        .values()
        .map(|resource| &resource["Properties"])
        .filter(|alarm| alarm["Namespace"] == "mPulse")
        .filter_map(|alarm| alarm["MetricName"].as_str());
    let shown = BUILT_IN_TEMPLATE
        .split("[\"mPulse\", \"")
        .skip(1)
        .filter_map(|behind| behind.split('"').next());
    let figures: BTreeSet<&str> = alarmed.chain(shown).collect();
    assert!(figures.len() > 10, "{figures:?}");
    let text = ["ingest", "export"].map(|name| source(&root().join("functions").join(name)));
    let text = text.concat();
    for figure in figures {
        assert!(text.contains(&format!("\"{figure}\"")), "{figure}");
    }
}
