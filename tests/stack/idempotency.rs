//! `Idempotency-Key`: a repeated request gets the first response again. Attempts that were stopped are in `stopped_attempts`.

use futures_util::future::join_all;
use mpulse_tests::{Answer, Login, Rows, Stack, roster, send, text};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::batch_derivation;

pub const MEMBERS: &str = "/api/members";
const BATCHES: &str = "/api/members/batch";
const KEY: &str = "idempotency-key";

/// Requests that are sent at once.
const CONCURRENT: usize = 50;

pub fn member(client_id: &str) -> Value {
    json!({"account_id": "4", "client_member_id": client_id, "first_name": "Ann",
           "last_name": "Lee", "phone_number": "7145550123"})
}

pub fn create_member(stack: &Stack, key: &str, body: &Value) -> RequestBuilder {
    stack
        .request(Method::POST, MEMBERS)
        .header(KEY, key)
        .json(body)
}

pub fn create_batch(stack: &Stack, key: &str, body: &Value) -> RequestBuilder {
    stack
        .request(Method::POST, BATCHES)
        .header(KEY, key)
        .json(body)
}

/// A request with a file in its body.
pub fn send_file(stack: &Stack, key: &str, file: String) -> RequestBuilder {
    let request = stack.request(Method::POST, BATCHES).header(KEY, key);
    request.header(CONTENT_TYPE, "text/csv").body(file)
}

/// Checks that responses are the same, except what the gateway adds.
#[track_caller]
pub fn same(one: &Answer, other: &Answer) {
    assert_eq!(one.status, other.status, "{}", other.text());
    assert_eq!(one.text(), other.text());
    for name in ["content-type", "location", "etag", "cache-control"] {
        assert_eq!(one.header(name), other.header(name), "{name}");
    }
}

pub async fn batches(stack: &Stack) -> Vec<Value> {
    let list = stack.get(BATCHES).await.json();
    list["results"].as_array().expect("a list").clone()
}

/// Creates what `…/apply` and `…/revert` start from; returns their paths.
pub async fn derivations(stack: &Stack) -> [String; 2] {
    let dry_run = batch_derivation::dry_run(stack).await.batch_id;
    let changed = batch_derivation::changed(stack, |_| {}).await.batch_id;
    [
        format!("{BATCHES}/{dry_run}/apply"),
        format!("{BATCHES}/{changed}/revert"),
    ]
}

pub fn derive(stack: &Stack, path: &str) -> RequestBuilder {
    stack.request(Method::POST, path).header(KEY, "k")
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_make_one_member() {
    let stack = Stack::start().await;
    let body = member("1");
    let requests = (0..CONCURRENT).map(|_| send(create_member(&stack, "k", &body)));
    let answers = join_all(requests).await;
    for answer in &answers {
        answer.expect(201);
        same(&answers[0], answer);
    }
    let stored = stack.get("/api/members/4~1").await;
    assert_eq!(stored.json(), answers[0].json());
    assert_eq!(stack.ids("aid=4").await, ["4~1"]);
    // Without a key, the member exists.
    stack.post(MEMBERS, &body).await.problem(409, "conflict");
    same(&answers[0], &send(create_member(&stack, "k", &body)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_make_one_batch() {
    let stack = Stack::start().await;
    let body = json!({"file_name": "members.csv"});
    let requests = (0..CONCURRENT).map(|_| send(create_batch(&stack, "k", &body)));
    let answers = join_all(requests).await;
    for answer in &answers {
        answer.expect(201);
        same(&answers[0], answer);
    }
    assert_eq!(batches(&stack).await.len(), 1);
    let batch = answers[0].json();
    stack.put_file(&batch, roster("4", 3)).await.expect(200);
    let ended = stack.wait_for_batch(text(&batch["batch_id"])).await;
    Rows::created(3).check(&ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_files_with_one_key_make_one_batch() {
    let stack = Stack::start().await;
    let requests = (0..CONCURRENT).map(|_| send(send_file(&stack, "k", roster("4", 26))));
    let answers = join_all(requests).await;
    for answer in &answers {
        answer.expect(202);
        same(&answers[0], answer);
    }
    let id = answers[0].json()["batch_id"].clone();
    let ended = stack.wait_for_batch(text(&id)).await;
    Rows::created(26).check(&ended);
    assert_eq!(ended["warnings"], json!([]));
    assert_eq!(batches(&stack).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_with_the_same_key_is_rejected() {
    let stack = Stack::start().await;
    send(create_member(&stack, "k", &member("1")))
        .await
        .expect(201);
    let other = send(create_member(&stack, "k", &member("2"))).await;
    other.problem(422, "idempotency-key-reused");
    let form = stack.request(Method::POST, MEMBERS).header(KEY, "k");
    let form = form.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let other_type = send(form.body(member("1").to_string())).await;
    other_type.problem(422, "idempotency-key-reused");

    send(send_file(&stack, "k", roster("5", 1)))
        .await
        .expect(202);
    let query = stack.request(Method::POST, &format!("{BATCHES}?mode=create"));
    let query = query.header(KEY, "k").header(CONTENT_TYPE, "text/csv");
    let other_query = send(query.body(roster("5", 1))).await;
    other_query.problem(422, "idempotency-key-reused");
    assert_eq!(batches(&stack).await.len(), 1);
    let missing = stack.get("/api/members/4~2").await;
    missing.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_callers_and_paths_are_other_keys() {
    let stack = Stack::start().await;
    let create = |login: &Login, path: &str, id: &str| {
        let request = stack.request_as(login, Method::POST, path);
        send(request.header(KEY, "k").json(&member(id)))
    };
    create(&stack.writer, MEMBERS, "1").await.expect(201);
    create(&stack.admin, MEMBERS, "2").await.expect(201);
    create(&stack.writer, "/api/members/create", "3")
        .await
        .expect(201);
    // A trailing slash makes no difference.
    create(&stack.writer, "/api/members/", "1")
        .await
        .expect(201);
    // A caller that may not write learns nothing of the response to another.
    let reader = create(&stack.reader, MEMBERS, "1").await;
    reader.problem(403, "role-too-low");
    let put = stack.request(Method::PUT, BATCHES).header(KEY, "k");
    send(put).await.expect(201);
    let post = stack.request(Method::POST, BATCHES).header(KEY, "k");
    send(post).await.expect(201);
    assert_eq!(batches(&stack).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_returned_again_too() {
    let stack = Stack::start().await;
    let mut invalid = member("1");
    invalid["phone_number"] = json!("12");
    let first = send(create_member(&stack, "k", &invalid)).await;
    first.problem(400, "invalid-fields");
    same(&first, &send(create_member(&stack, "k", &invalid)).await);

    let conflict = || send(create_member(&stack, "l", &member("2")));
    stack.post(MEMBERS, &member("2")).await.expect(201);
    let first = conflict().await;
    first.problem(409, "conflict");
    // It is the first response, although the member is gone.
    stack.delete("/api/members/4~2").await.expect(204);
    same(&first, &conflict().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_visible_ascii_of_up_to_255_characters() {
    let stack = Stack::start().await;
    for key in ["", "a b", &"k".repeat(256)] {
        for request in [
            create_member(&stack, key, &member("1")),
            create_batch(&stack, key, &json!({})),
        ] {
            let faults = send(request).await.faults();
            let expected = ("Idempotency-Key", "invalid_idempotency_key");
            assert_eq!(faults, [(expected.0.to_owned(), expected.1.to_owned())]);
        }
    }
    let longest = "k".repeat(255);
    send(create_member(&stack, &longest, &member("1")))
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_in_parts_may_have_another_boundary() {
    let stack = Stack::start().await;
    let form = || {
        let file = reqwest::multipart::Part::text(roster("4", 3)).file_name("a.csv");
        let form = reqwest::multipart::Form::new().part("file", file);
        stack
            .request(Method::POST, BATCHES)
            .header(KEY, "k")
            .multipart(form)
    };
    let first = send(form()).await;
    first.expect(202);
    same(&first, &send(form()).await);
    assert_eq!(batches(&stack).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_applications_and_reverts_with_one_key_make_one_batch() {
    let stack = Stack::without_ingest().await;
    for path in derivations(&stack).await {
        let before = batches(&stack).await.len();
        let requests = (0..CONCURRENT).map(|_| send(derive(&stack, &path)));
        let answers = join_all(requests).await;
        for answer in &answers {
            answer.expect(202);
            same(&answers[0], answer);
        }
        assert_eq!(batches(&stack).await.len(), before + 1, "{path}");
        // Without a key, an applied dry run is a conflict.
        let other = send(stack.request(Method::POST, &path)).await;
        assert_eq!(
            other.status,
            if path.ends_with("apply") { 409 } else { 202 }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_of_the_database_is_no_conflict() {
    let stack = Stack::with_faults("drop=0.25,error=0.05,seed=7").await;
    let faults = stack.local_stack.faults().expect("faults were asked for");
    let create = async |client_id: String| {
        let body = member(&client_id);
        loop {
            let answer = send(create_member(&stack, &client_id, &body)).await;
            let is_in_progress =
                answer.status == 409 && answer.json()["type"] == "/problems/request-in-progress";
            if answer.status < 500 && !is_in_progress {
                return answer;
            }
        }
    };
    let answers = join_all((0..40).map(|n| create(format!("c{n:02}")))).await;
    assert!(faults.counters().failed > 0);
    faults.set(mpulse_local::faults::Spec::default());
    for answer in answers {
        answer.expect(201);
        let id = text(&answer.json()["id"]).to_owned();
        let stored = stack.get(&format!("/api/members/{id}")).await;
        assert_eq!(stored.json(), answer.json());
    }
}
