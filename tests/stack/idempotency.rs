//! `Idempotency-Key`: a repeated request gets the first response again, also if an attempt was stopped before it responded.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{Answer, HEADER, Login, Rows, Stack, roster, row, send, text};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::batch_derivation;

const MEMBERS: &str = "/api/members";
const BATCHES: &str = "/api/members/batch";
const KEY: &str = "idempotency-key";

/// Requests that are sent at once.
const CONCURRENT: usize = 50;

/// The time after which an attempt counts as stopped, as in shared/src/idempotency.rs.
const LEASE: Duration = Duration::from_secs(40);

type Item = HashMap<String, AttributeValue>;

fn member(client_id: &str) -> Value {
    json!({"account_id": "4", "client_member_id": client_id, "first_name": "Ann",
           "last_name": "Lee", "phone_number": "7145550123"})
}

fn create_member(stack: &Stack, key: &str, body: &Value) -> RequestBuilder {
    stack.request(Method::POST, MEMBERS).header(KEY, key).json(body)
}

fn create_batch(stack: &Stack, key: &str, body: &Value) -> RequestBuilder {
    stack.request(Method::POST, BATCHES).header(KEY, key).json(body)
}

/// A request with a file in its body.
fn send_file(stack: &Stack, key: &str, file: String) -> RequestBuilder {
    let request = stack.request(Method::POST, BATCHES).header(KEY, key);
    request.header(CONTENT_TYPE, "text/csv").body(file)
}

/// Checks that responses are the same, except what the gateway adds.
#[track_caller]
fn same(one: &Answer, other: &Answer) {
    assert_eq!(one.status, other.status, "{}", other.text());
    assert_eq!(one.text(), other.text());
    for name in ["content-type", "location", "etag", "cache-control"] {
        assert_eq!(one.header(name), other.header(name), "{name}");
    }
}

async fn batches(stack: &Stack) -> Vec<Value> {
    let list = stack.get(BATCHES).await.json();
    list["results"].as_array().expect("a list").clone()
}

/// The records of requests, and the tables and files that a stopped attempt leaves.
struct Records<'a> {
    stack: &'a Stack,
    client: Client,
}

impl<'a> Records<'a> {
    fn of(stack: &'a Stack) -> Self {
        let client = stack.local_stack.setup().dynamodb().expect("a client");
        Self { stack, client }
    }

    fn table(&self, name: &str) -> String {
        let setup = self.stack.local_stack.setup();
        setup.required(name).expect("the table has a name").to_owned()
    }

    /// Returns all records.
    async fn all(&self) -> Vec<Item> {
        let scan = self.client.scan().table_name(self.table("IDEMPOTENCY_TABLE"));
        let found = scan.send().await.expect("the table answers");
        found.items.expect("items")
    }

    /// Changes the only record.
    async fn change(&self, change: impl FnOnce(&mut Item)) {
        let mut records = self.all().await;
        assert_eq!(records.len(), 1);
        let mut record = records.remove(0);
        change(&mut record);
        let table = self.table("IDEMPOTENCY_TABLE");
        let put = self.client.put_item().table_name(table);
        let put = put.set_item(Some(record)).send();
        put.await.expect("the record is stored");
    }

    /// Makes the only record one of an attempt that had its effect and was stopped before it responded, long ago.
    async fn stop(&self) {
        self.change(|record| {
            record.remove("response").expect("there was a response");
            record.insert("lease_until".into(), AttributeValue::N("1".into()));
        })
        .await;
    }

    /// Deletes the only record.
    async fn forget(&self) {
        let record = self.all().await.remove(0);
        let delete = self.client.delete_item().table_name(self.table("IDEMPOTENCY_TABLE"));
        let delete = delete.key("request_hash", record["request_hash"].clone());
        delete.send().await.expect("the record is deleted");
    }

    /// Deletes the file of a batch.
    async fn delete_upload(&self, id: &str) {
        let setup = self.stack.local_stack.setup();
        let bucket = setup.required("FILES_BUCKET").expect("a bucket");
        let delete = setup.s3().expect("a client").delete_object();
        let delete = delete.bucket(bucket).key(format!("uploads/{id}.csv"));
        delete.send().await.expect("the file is deleted");
    }

    /// Deletes the record of a batch.
    async fn delete_batch(&self, id: &str) {
        let delete = self.client.delete_item().table_name(self.table("BATCHES_TABLE"));
        let delete = delete.key("batch_id", AttributeValue::S(id.to_owned()));
        delete.send().await.expect("the batch is deleted");
    }
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
    send(create_member(&stack, "k", &member("1"))).await.expect(201);
    let other = send(create_member(&stack, "k", &member("2"))).await;
    other.problem(422, "idempotency-key-reused");
    let form = stack.request(Method::POST, MEMBERS).header(KEY, "k");
    let form = form.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let other_type = send(form.body(member("1").to_string())).await;
    other_type.problem(422, "idempotency-key-reused");

    send(send_file(&stack, "k", roster("5", 1))).await.expect(202);
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
    create(&stack.writer, "/api/members/create", "3").await.expect(201);
    // A trailing slash makes no difference.
    create(&stack.writer, "/api/members/", "1").await.expect(201);
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
    send(create_member(&stack, &longest, &member("1"))).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_in_parts_may_have_another_boundary() {
    let stack = Stack::start().await;
    let form = || {
        let file = reqwest::multipart::Part::text(roster("4", 3)).file_name("a.csv");
        let form = reqwest::multipart::Form::new().part("file", file);
        stack.request(Method::POST, BATCHES).header(KEY, "k").multipart(form)
    };
    let first = send(form()).await;
    first.expect(202);
    same(&first, &send(form()).await);
    assert_eq!(batches(&stack).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_key_leaves_no_record() {
    let stack = Stack::start().await;
    stack.post(MEMBERS, &member("1")).await.expect(201);
    stack.open_batch(&json!({})).await;
    assert_eq!(Records::of(&stack).all().await, [] as [Item; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_expires_after_a_day() {
    let stack = Stack::start().await;
    let records = Records::of(&stack);
    send(create_member(&stack, "k", &member("1"))).await.expect(201);
    records
        .change(|record| {
            let expires_at = record["expires_at"].as_n().expect("a number");
            let left = expires_at.parse::<i64>().expect("seconds") - Timestamp::now().seconds();
            assert!((86_340..=86_400).contains(&left), "{left}");
            // DynamoDB has not deleted it yet.
            record.insert("expires_at".into(), AttributeValue::N("1".into()));
        })
        .await;
    let again = send(create_member(&stack, "k", &member("1"))).await;
    again.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_a_stopped_attempt_created_is_the_response() {
    let stack = Stack::start().await;
    let records = Records::of(&stack);
    let body = member("1");
    let first = send(create_member(&stack, "k", &body)).await;
    first.expect(201);

    records.stop().await;
    let again = send(create_member(&stack, "k", &body)).await;
    same(&first, &again);
    // The attempt was stopped before it created the member.
    records.stop().await;
    stack.delete("/api/members/4~1").await.expect(204);
    same(&first, &send(create_member(&stack, "k", &body)).await);
    assert_eq!(stack.get("/api/members/4~1").await.json(), first.json());

    // Another request has created the member in the meantime.
    records.stop().await;
    stack.delete("/api/members/4~1").await.expect(204);
    stack.post(MEMBERS, &body).await.expect(201);
    let other = send(create_member(&stack, "k", &body)).await;
    other.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_a_stopped_attempt_created_is_the_response() {
    let stack = Stack::without_ingest().await;
    let records = Records::of(&stack);
    let parent = text(&stack.open_batch(&json!({})).await["batch_id"]).to_owned();
    let body = json!({"parent_batch_id": parent, "size": 5, "multipart": true});
    let first = send(create_batch(&stack, "k", &body)).await;
    first.expect(201);
    let id = text(&first.json()["batch_id"]).to_owned();

    records.stop().await;
    same(&first, &send(create_batch(&stack, "k", &body)).await);
    // The attempt was stopped before it stored the batch.
    records.stop().await;
    records.delete_batch(&id).await;
    let again = send(create_batch(&stack, "k", &body)).await;
    again.expect(201);
    assert_eq!(again.json()["batch_id"], *id);
    assert_eq!(batches(&stack).await.len(), 2, "with the parent");
    let parent = stack.batch(&parent).await;
    assert_eq!(parent["child_batch_ids"], json!([id]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_stored_by_one_attempt_only() {
    let stack = Stack::without_ingest().await;
    let records = Records::of(&stack);
    let first = send(send_file(&stack, "k", roster("4", 3))).await;
    first.expect(202);
    let batch = first.json();
    // The attempt was stopped before it stored the file.
    records.stop().await;
    records.delete_upload(text(&batch["batch_id"])).await;
    same(&first, &send(send_file(&stack, "k", roster("4", 3))).await);
    assert!(stack.upload_is_stored(&batch).await);

    // A batch that has ended needs no file.
    let stack = Stack::start().await;
    let records = Records::of(&stack);
    let file = format!("{HEADER}{}", row("4", 1));
    let first = send(send_file(&stack, "k", file.clone())).await;
    first.expect(202);
    let id = text(&first.json()["batch_id"]).to_owned();
    stack.wait_for_batch(&id).await;
    records.stop().await;
    let again = send(send_file(&stack, "k", file)).await;
    again.expect(202);
    assert_eq!(again.json()["batch_id"], *id);
    assert!(!stack.upload_is_stored(&again.json()).await);
    let ended = stack.batch(&id).await;
    assert_eq!((&ended["warnings"], &ended["attempts"]), (&json!([]), &json!(1)));
}

/// Creates what `…/apply` and `…/revert` start from; returns their paths.
async fn derivations(stack: &Stack) -> [String; 2] {
    let dry_run = batch_derivation::dry_run(stack).await.batch_id;
    let changed = batch_derivation::changed(stack, |_| {}).await.batch_id;
    [
        format!("{BATCHES}/{dry_run}/apply"),
        format!("{BATCHES}/{changed}/revert"),
    ]
}

fn derive(stack: &Stack, path: &str) -> RequestBuilder {
    stack.request(Method::POST, path).header(KEY, "k")
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
        assert_eq!(other.status, if path.ends_with("apply") { 409 } else { 202 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_application_or_revert_is_continued() {
    let stack = Stack::without_ingest().await;
    for path in derivations(&stack).await {
        let records = Records::of(&stack);
        let first = send(derive(&stack, &path)).await;
        first.expect(202);
        let batch = first.json();
        let id = text(&batch["batch_id"]).to_owned();
        // Stopped after everything; before the copy; and before the batch was stored.
        records.stop().await;
        let again = send(derive(&stack, &path)).await;
        again.expect(202);
        assert_eq!(again.json()["batch_id"], *id);
        records.stop().await;
        records.delete_upload(&id).await;
        let again = send(derive(&stack, &path)).await;
        again.expect(202);
        assert_eq!(again.json()["batch_id"], *id);
        assert!(stack.upload_is_stored(&batch).await);
        if path.ends_with("revert") {
            records.stop().await;
            records.delete_upload(&id).await;
            records.delete_batch(&id).await;
            let again = send(derive(&stack, &path)).await;
            again.expect(202);
            assert_eq!(again.json()["batch_id"], *id);
            assert!(stack.upload_is_stored(&batch).await);
        }
        records.forget().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_progress_is_waited_for_and_then_a_conflict() {
    let stack = Stack::start().await;
    let records = Records::of(&stack);
    let body = member("1");
    let first = send(create_member(&stack, "k", &body)).await;
    let mut response = None;
    records
        .change(|record| {
            response = record.remove("response");
            let until = Timestamp::now().millis() + i64::try_from(LEASE.as_millis()).expect("small");
            record.insert("lease_until".into(), AttributeValue::N(until.to_string()));
        })
        .await;
    let other = send(create_member(&stack, "k", &member("2"))).await;
    other.problem(422, "idempotency-key-reused");
    let waiting = send(create_member(&stack, "k", &body)).await;
    waiting.problem(409, "request-in-progress");
    assert_eq!(waiting.header("retry-after"), "5");

    // The response is stored while a request waits for it.
    let waits = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let set = |record: &mut Item| {
            record.insert("response".into(), response.expect("a response"));
        };
        records.change(set).await;
    };
    let (again, ()) = tokio::join!(send(create_member(&stack, "k", &body)), waits);
    same(&first, &again);
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
