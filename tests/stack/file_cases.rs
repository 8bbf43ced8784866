//! The files in `tests/cases`: small ones as other programs write them, each with the fields that it is sent with and what must
//! become of it.

use std::path::{Path, PathBuf};

use mpulse_tests::{Stack, text};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// Returns the codes of the rejected rows of a batch.
async fn codes(stack: &Stack, batch: &Value) -> (Vec<String>, String) {
    let path = format!("/api/members/batch/{}/rejects", text(&batch["batch_id"]));
    let answer = stack.get(&path).await;
    let url = answer.header("location").to_owned();
    let report = mpulse_tests::send(stack.anonymous(reqwest::Method::GET, &url)).await;
    let lines = report.text().lines().skip(1);
    let codes = lines.filter_map(|line| line.split(',').nth(1));
    (codes.map(str::to_owned).collect(), report.text().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_has_its_result() {
    let cases = std::fs::read_to_string(folder().join("cases.json")).expect("the cases");
    let cases: Vec<Value> = serde_json::from_str(&cases).expect("a list");
    assert!(cases.len() >= 34);
    let mut failures = Vec::new();
    let stack = Stack::start().await;
    for case in cases {
        let name = text(&case["file"]);
        let file = std::fs::read(folder().join(name)).expect("the file");
        let batch = stack.upload_with(&case["request"], file).await;
        let expected = &case["expect"];
        let mut faults = Vec::new();
        if batch["status"] != expected["status"] {
            faults.push(format!("{} {}", batch["status"], batch["problem"]));
        }
        for (counter, count) in expected["rows"].as_object().expect("counters") {
            if batch["rows"][counter] != *count {
                faults.push(format!("{counter}: {}", batch["rows"][counter]));
            }
        }
        if let Some(member) = expected["member"].as_object() {
            let found = stack
                .get(&format!("/api/members/{}", text(&member["id"])))
                .await
                .json();
            for (field, value) in member {
                if found[field] != *value {
                    faults.push(format!("{field}: {}", found[field]));
                }
            }
        }
        if let Some(expected) = expected["codes"].as_array() {
            let (codes, report) = codes(&stack, &batch).await;
            if json!(codes) != json!(expected) {
                faults.push(format!("codes {codes:?}"));
            }
            if name == "windows-1252-unannounced.csv"
                && !(report.contains("windows-1252") && report.contains("encoding"))
            {
                faults.push(report);
            }
        }
        if !faults.is_empty() {
            failures.push(format!("{name}: {}", faults.join("; ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
