//! Creating a batch: its fields, its upload URL, and its parent.

use mpulse_tests::{HEADER, Rows, Stack, roster, send, text};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::Form;
use serde_json::{Value, json};

use crate::body_uploads::{inline, part, post_form};

const BATCHES: &str = "/api/members/batch";

/// A valid id that no batch has.
const UNKNOWN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_batch_describes_how_to_send_its_file() {
    let stack = Stack::start().await;
    let body = json!({"file_name": "members.csv", "size": 12, "account_id": "4", "mode": "create"});
    let answer = stack.post(BATCHES, &body).await;
    answer.expect(201);
    let mut batch = answer.json();
    let id = text(&batch["batch_id"]).to_owned();
    assert_eq!(id.len(), 26, "a ULID");
    let this = format!("{}{BATCHES}/{id}", stack.local_stack.api_url());
    assert_eq!(answer.header("location"), this);

    let upload = batch["upload"].take();
    batch.as_object_mut().unwrap().remove("upload");
    assert_eq!(upload["method"], "PUT");
    assert_eq!(
        upload["headers"],
        json!({"content-type": "text/csv", "content-length": "12"})
    );
    assert!(
        text(&upload["url"]).starts_with(&stack.local_stack.endpoints().s3),
        "{upload}"
    );
    assert!(text(&upload["expires_at"]) > text(&batch["created_at"]));

    assert_eq!(
        batch,
        json!({
            "batch_id": id,
            "status": "awaiting_upload",
            "mode": "create",
            "file_name": "members.csv",
            "account_id": "4",
            "columns": null,
            "header": true,
            "default_region": null,
            "encoding": null,
            "sheet": null,
            "stop_early": true,
            "dry_run": false,
            "changes": true,
            "removal": null,
            "accounts": null,
            "parent_batch_id": null,
            "applied_by": null,
            "child_batch_ids": [],
            "created_by": "key:writer",
            "created_at": batch["created_at"],
            "started_at": null,
            "updated_at": batch["created_at"],
            "finished_at": null,
            "attempts": 0,
            "bytes": {"total": 12, "done": 0, "percent": 0.0},
            "rows": {"read": 0, "absent": 0, "created": 0, "updated": 0, "unchanged": 0, "superseded": 0, "rejected": 0,
                     "removed": 0},
            "rows_per_second": 0,
            "eta_seconds": null,
            "capacity": {"read_units": 0.0, "write_units": 0.0},
            "predicted_capacity": null,
            "throttles": 0,
            "price": {
                "usd": 0.0,
                "source": "https://aws.amazon.com/dynamodb/pricing/on-demand/",
                "as_of": "2024-11-01",
                "region": "us-east-1",
            },
            "ignored_columns": [],
            "warnings": [],
            "problem": null,
            "links": {"self": this, "rejects": null, "rejects_xlsx": null, "changes": null, "apply": null, "revert": null,
                      "parts": null},
        })
    );
    assert_eq!(stack.batch(&id).await, batch, "the same when it is read");
}

#[tokio::test(flavor = "multi_thread")]
async fn post_and_put_create_a_batch_with_and_without_a_body() {
    let stack = Stack::start().await;
    for method in [Method::POST, Method::PUT] {
        for path in ["/api/members/batch", "/api/members/batch/"] {
            let request = || stack.request(method.clone(), path);
            for request in [
                request(),
                request().json(&json!({})),
                request().json(&json!({"size": 1})),
            ] {
                let answer = send(request).await;
                answer.expect(201);
                assert_eq!(answer.json()["mode"], "upsert");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_request_creates_no_batch() {
    let stack = Stack::start().await;
    let long = "x".repeat(256);
    for (body, field, code) in [
        (json!({"mode": "revert"}), "mode", "invalid_mode"),
        (json!({"mode": "replace"}), "account_id", "required"),
        (json!({"dry_run": 1}), "dry_run", "invalid_dry_run"),
        (json!({"changes": "x"}), "changes", "invalid_changes"),
        (
            json!({"mode": "overwrite", "changes": true}),
            "changes",
            "invalid_changes",
        ),
        (
            json!({"removal": {"limit": 5}}),
            "removal",
            "invalid_removal",
        ),
        (
            json!({"mode": "replace", "account_id": "4", "removal": {"limit": "101%"}}),
            "removal",
            "invalid_removal",
        ),
        (
            json!({"account_id": "4 4"}),
            "account_id",
            "invalid_account_id",
        ),
        (json!({"size": -1}), "size", "invalid_size"),
        (
            json!({"size": 5_u64 * 1024 * 1024 * 1024 + 1}),
            "size",
            "invalid_size",
        ),
        (json!({"file_name": long}), "file_name", "invalid_file_name"),
        (
            json!({"file_name": "a\nb"}),
            "file_name",
            "invalid_file_name",
        ),
        (json!({"filename": "a.csv"}), "filename", "unknown_field"),
        (
            json!({"parent_batch_id": "1"}),
            "parent_batch_id",
            "invalid_batch_id",
        ),
        (
            json!({"parent_batch_id": UNKNOWN}),
            "parent_batch_id",
            "unknown_batch",
        ),
        (json!({"size": 1.5}), "size", "invalid_type"),
    ] {
        let answer = stack.post(BATCHES, &body).await;
        assert_eq!(
            answer.faults(),
            [(field.to_owned(), code.to_owned())],
            "{body}"
        );
    }
    stack
        .post(BATCHES, &json!([]))
        .await
        .problem(400, "malformed-body");
    stack
        .post_text(BATCHES, "application/json", "{")
        .await
        .problem(400, "malformed-body");
    let other = stack.post_text(BATCHES, "application/x-tar", "PK").await;
    other.problem(415, "media-type");
    assert_eq!(
        other.header("accept-post"),
        "application/json, multipart/form-data, text/csv, application/gzip, application/zip, \
         application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    );
    assert_eq!(stack.get(BATCHES).await.json()["results"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_may_name_a_parent_and_both_are_linked() {
    let stack = Stack::start().await;
    let parent = stack.open_batch(&json!({"account_id": "4"})).await;
    let id = text(&parent["batch_id"]);
    let options = json!({"parent_batch_id": id});
    let by_url = stack.open_batch(&options).await;
    assert_eq!(by_url["parent_batch_id"], id);
    assert_eq!(
        by_url["account_id"], "4",
        "the parent's, unless it names one"
    );
    let other = json!({"parent_batch_id": id, "account_id": "5"});
    let other = stack.open_batch(&other).await;
    assert_eq!(other["account_id"], "5");
    let form = Form::new()
        .text("parent_batch_id", id.to_owned())
        .part("file", part(roster("4", 3)));
    let by_form = inline(&stack, post_form(&stack, form).await).await;
    let query = format!("{BATCHES}?parent_batch_id={id}");
    let answer = stack.post_text(&query, "text/csv", roster("4", 4)).await;
    let by_body = inline(&stack, answer).await;
    assert_eq!(by_body["parent_batch_id"], id);

    let mut children: Vec<&str> = [&by_url, &other, &by_form, &by_body]
        .map(|child| text(&child["batch_id"]))
        .into();
    children.sort_unstable();
    assert_eq!(stack.batch(id).await["child_batch_ids"], json!(children));
    // The parent's own runs do not change the links.
    stack.put_file(&parent, roster("4", 5)).await.expect(200);
    let ended = stack.wait_for_batch(id).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!(ended["child_batch_ids"], json!(children));
    assert_eq!(ended["parent_batch_id"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_has_a_limited_number_of_children() {
    let stack = Stack::start().await;
    let parent = stack.open_batch(&json!({})).await;
    let options = json!({"parent_batch_id": parent["batch_id"]});
    // Concurrent requests compete for the last place.
    let asked = (0..120).map(|_| stack.post(BATCHES, &options));
    let answers = futures_util::future::join_all(asked).await;
    let mut children = Vec::new();
    for answer in &answers {
        if answer.status == 201 {
            children.push(text(&answer.json()["batch_id"]).to_owned());
        } else {
            let fault = ("parent_batch_id".to_owned(), "too_many_children".to_owned());
            assert_eq!(answer.faults(), [fault]);
        }
    }
    children.sort_unstable();
    assert_eq!(children.len(), 100);
    let shown = stack.batch(text(&parent["batch_id"])).await;
    assert_eq!(shown["child_batch_ids"], json!(children));
    // Batches that lost the race wait for nothing.
    let listed = stack.get(&format!("{BATCHES}?limit=100")).await.json();
    for batch in listed["results"].as_array().expect("a list") {
        let is_child = children.iter().any(|id| *id == batch["batch_id"]);
        let is_parent = batch["batch_id"] == parent["batch_id"];
        let stopped = batch["status"] == "cancelled";
        assert!(is_child || is_parent || stopped, "{batch:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_url_accepts_only_what_it_was_signed_for() {
    let stack = Stack::start().await;
    let file = roster("4", 5);
    let batch = stack.open_batch(&json!({"size": file.len()})).await;
    let url = text(&batch["upload"]["url"]);
    let put = |media_type: &str, body: String| {
        let request = stack.anonymous(Method::PUT, url);
        send(request.header(CONTENT_TYPE, media_type).body(body))
    };
    put("text/csv", format!("{file}\n")).await.expect(403);
    put("text/csv", String::new()).await.expect(403);
    send(stack.anonymous(Method::GET, url)).await.expect(403);
    send(stack.anonymous(Method::DELETE, url)).await.expect(403);
    let elsewhere = url.replace(text(&batch["batch_id"]), UNKNOWN);
    let other = stack
        .anonymous(Method::PUT, &elsewhere)
        .header(CONTENT_TYPE, "text/csv");
    send(other.body(file.clone())).await.expect(403);

    let now = stack.batch(text(&batch["batch_id"])).await;
    assert_eq!(now["status"], "awaiting_upload");
    // What a file is, is recognised by its content.
    put("application/octet-stream", file).await.expect(200);
    Rows::created(5).check(&stack.wait_for_batch(text(&batch["batch_id"])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_may_send_a_file() {
    let stack = Stack::start().await;
    let batch = stack.open_batch(&json!({})).await;
    let preflight = stack
        .anonymous(Method::OPTIONS, text(&batch["upload"]["url"]))
        .header("origin", "https://console.example.com")
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "content-type");
    let answer = send(preflight).await;
    answer.expect(200);
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("PUT")
    );
    assert!(!answer.header("access-control-allow-origin").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_can_be_downloaded_and_uploaded() {
    let stack = Stack::start().await;
    let answer = stack.get("/api/members/batch/template.csv").await;
    answer.expect(200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"template.csv\""
    );
    let header = format!("\u{FEFF}{}", HEADER.trim_end());
    assert!(answer.text().starts_with(&header), "{:?}", answer.text());
    Rows::created(1).check(&stack.upload(answer.body.clone()).await);
    assert_eq!(
        stack.get("/api/members/4~5622780").await.json()["first_name"],
        "Zoë"
    );
}
