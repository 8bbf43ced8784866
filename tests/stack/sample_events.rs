//! The sample events: one for every function, with the response that events/README.md lists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mpulse_shared::key::Role;
use mpulse_tests::Stack;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events")
}

/// The rows of the table: a program, and the status of its response.
fn promised() -> Vec<(String, String)> {
    let readme = fs::read_to_string(folder().join("README.md")).expect("a page");
    let rows = readme.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let program = cells.next()?.trim_end_matches('`');
        Some((program.to_owned(), cells.next()?.to_owned()))
    });
    rows.collect()
}

fn event(program: &str) -> Value {
    let file = fs::read_to_string(folder().join(format!("{program}.json"))).expect("an event");
    serde_json::from_str(&file).expect("an event is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_the_listed_status() {
    let stack = Stack::start().await;
    let key = ("events", "the-key-of-the-sample-events");
    stack.fixed_key(key.0, key.1, Role::Admin).await;
    for (program, status) in promised() {
        let answer = stack.local_stack.invoke(&program, event(&program)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{program}: {error}"));
        if status == "-" {
            assert_eq!(answer, json!({"batchItemFailures": []}), "{program}");
        } else {
            assert_eq!(
                answer["statusCode"].to_string(),
                status,
                "{program}: {answer:#}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_has_an_event_and_a_row() {
    let stack = Stack::start().await;
    let functions = &stack.local_stack.template().functions;
    let programs: BTreeSet<String> = functions.iter().map(|f| f.binary.clone()).collect();
    let rows: BTreeSet<String> = promised().into_iter().map(|(program, _)| program).collect();
    let files: BTreeSet<String> = fs::read_dir(folder())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(rows, programs);
    assert_eq!(files, programs);
}
