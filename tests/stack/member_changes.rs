//! PATCH and DELETE of a member, and `If-Match`.

use mpulse_tests::{Answer, Stack, send, text};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, IF_MATCH};
use serde_json::{Value, json};

const PATH: &str = "/api/members/4~1";

async fn ann(stack: &Stack) -> Answer {
    let member = json!({"account_id": "4", "client_member_id": "1", "first_name": "Ann",
                        "last_name": "Lee", "phone_number": "7145550123"});
    let made = stack.post("/api/members/", &member).await;
    made.expect(201);
    made
}

async fn patch(stack: &Stack, change: &Value) -> Answer {
    send(stack.request(Method::PATCH, PATH).json(change)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_applies_the_named_fields_and_records_the_author() {
    let stack = Stack::start().await;
    let was = ann(&stack).await.json();
    let changed = patch(
        &stack,
        &json!({"last_name": " Low ", "phone_number": "2125550188"}),
    )
    .await;
    changed.expect(200);
    let is = changed.json();
    let mut expected = was.clone();
    expected["last_name"] = json!("Low");
    expected["phone_number"] = json!("+12125550188");
    expected["updated_at"] = is["updated_at"].clone();
    assert_eq!(is, expected);
    assert!(text(&is["updated_at"]) >= text(&was["updated_at"]));
    let got = stack.get(PATH).await;
    assert_eq!(got.json(), is);
    assert_eq!(got.header("etag"), changed.header("etag"));
    assert_eq!(stack.ids("ph=2125550188").await, ["4~1"]);
    assert!(stack.ids("ph=7145550123").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_may_be_sent_in_every_media_type() {
    let stack = Stack::start().await;
    ann(&stack).await;
    let request = || stack.request(Method::PATCH, PATH);
    let merge = request()
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(r#"{"first_name": "One"}"#);
    let form = request()
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("first_name=Two");
    let multipart = reqwest::multipart::Form::new().text("first_name", "Three");
    for (request, name) in [
        (merge, "One"),
        (form, "Two"),
        (request().multipart(multipart), "Three"),
    ] {
        let answer = send(request).await;
        answer.expect(200);
        assert_eq!(answer.json()["first_name"], name);
    }
    let text = request()
        .header(CONTENT_TYPE, "text/plain")
        .body("first_name=Four");
    let refused = send(text).await;
    refused.problem(415, "media-type");
    let accepted = refused.header("accept-patch");
    assert!(
        accepted.contains("application/merge-patch+json"),
        "{accepted}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_to_equal_values_writes_nothing() {
    let stack = Stack::start().await;
    let made = ann(&stack).await;
    let whole = made.json();
    for nothing in [
        json!({}),
        json!({"phone_number": "(714) 555-0123"}),
        whole.clone(),
    ] {
        let answer = patch(&stack, &nothing).await;
        answer.expect(200);
        assert_eq!(answer.json(), whole);
        assert_eq!(answer.header("etag"), made.header("etag"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_change_changes_nothing() {
    let stack = Stack::start().await;
    let was = ann(&stack).await.json();
    for (change, field, code) in [
        (json!({"first_name": ""}), "first_name", "required"),
        (
            json!({"phone_number": "12"}),
            "phone_number",
            "invalid_phone",
        ),
        (json!({"account_id": "5"}), "account_id", "read_only"),
        (json!({"updated_by": "key:me"}), "updated_by", "read_only"),
        (json!({"phone": "7145550123"}), "phone", "unknown_field"),
        (json!({"first_name": ["Ann"]}), "first_name", "invalid_type"),
    ] {
        let answer = patch(&stack, &change).await;
        assert_eq!(
            answer.faults(),
            [(field.to_owned(), code.to_owned())],
            "{change}"
        );
    }
    assert_eq!(stack.get(PATH).await.json(), was);
    send(
        stack
            .request(Method::PATCH, "/api/members/4~2")
            .json(&json!({})),
    )
    .await
    .problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn if_match_protects_changes_and_removals() {
    let stack = Stack::start().await;
    let first = ann(&stack).await.header("etag").to_owned();
    let guarded = async |method: Method, tag: &str| {
        let request = stack.request(method, PATH).header(IF_MATCH, tag);
        send(request.json(&json!({"first_name": format!("After {tag}")}))).await
    };
    let changed = guarded(Method::PATCH, &first).await;
    changed.expect(200);
    let second = changed.header("etag").to_owned();
    assert_ne!(first, second);
    for method in [Method::PATCH, Method::DELETE] {
        let late = guarded(method, &first).await;
        late.problem(412, "precondition-failed");
        assert_eq!(late.header("etag"), second);
    }
    assert_eq!(stack.get(PATH).await.json(), changed.json());
    guarded(Method::PATCH, "*").await.expect(200);
    let third = stack.get(PATH).await.header("etag").to_owned();
    guarded(Method::DELETE, &third).await.expect(204);
    stack.get(PATH).await.problem(404, "not-found");
    guarded(Method::DELETE, &third)
        .await
        .problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_many_concurrent_guarded_changes_succeeds() {
    let stack = Stack::start().await;
    let tag = ann(&stack).await.header("etag").to_owned();
    let changes = (0..8).map(|n| {
        let request = stack.request(Method::PATCH, PATH).header(IF_MATCH, &tag);
        send(request.json(&json!({"first_name": format!("Ann {n}")})))
    });
    let mut statuses: Vec<u16> = futures_util::future::join_all(changes)
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_not_found_and_may_be_created_again() {
    let stack = Stack::start().await;
    ann(&stack).await;
    let gone = stack.delete(PATH).await;
    gone.expect(204);
    assert!(gone.body.is_empty());
    for query in ["", "aid=4", "ph=7145550123", "cmid=1", "id=4~1"] {
        assert!(stack.ids(query).await.is_empty(), "{query}");
    }
    stack.delete(PATH).await.problem(404, "not-found");
    ann(&stack).await;
}

/// Documented in docs/semantics.md: a deleted member leaves no trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_created_again_by_an_older_file() {
    let stack = Stack::start().await;
    let file = mpulse_tests::roster("4", 1);
    let batch = stack.open_batch(&json!({})).await;
    stack.upload(file.clone()).await;
    stack.delete("/api/members/4~c000000").await.expect(204);
    stack.put_file(&batch, file).await.expect(200);
    let ended = stack.wait_for_batch(text(&batch["batch_id"])).await;
    assert_eq!(ended["rows"]["created"], 1, "{ended:#}");
    stack.get("/api/members/4~c000000").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_over_its_limit_is_rejected() {
    let stack = Stack::start().await;
    ann(&stack).await;
    let large = json!({"first_name": "x".repeat(70_000)});
    patch(&stack, &large).await.problem(413, "too-large");
    for path in ["/api/members/", "/api/members/batch"] {
        stack.post(path, &large).await.problem(413, "too-large");
    }
    let keys = stack.request_as(&stack.admin, Method::POST, "/api/keys");
    send(keys.json(&large)).await.problem(413, "too-large");
}
