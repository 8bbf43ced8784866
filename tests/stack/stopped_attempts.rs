//! The records of requests with an `Idempotency-Key`, and attempts that were stopped: what those leave is written to the tables
//! and the bucket, and a repeated request continues.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{HEADER, Stack, roster, row, send, text};
use serde_json::json;

use crate::idempotency::{
    MEMBERS, batches, create_batch, create_member, derivations, derive, member, same, send_file,
};

/// The time after which an attempt counts as stopped, as in shared/src/idempotency.rs.
const LEASE: Duration = Duration::from_secs(40);

type Item = HashMap<String, AttributeValue>;

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
        setup
            .required(name)
            .expect("the table has a name")
            .to_owned()
    }

    /// Returns all records.
    async fn all(&self) -> Vec<Item> {
        let scan = self
            .client
            .scan()
            .table_name(self.table("IDEMPOTENCY_TABLE"));
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
        let delete = self
            .client
            .delete_item()
            .table_name(self.table("IDEMPOTENCY_TABLE"));
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
        let delete = self
            .client
            .delete_item()
            .table_name(self.table("BATCHES_TABLE"));
        let delete = delete.key("batch_id", AttributeValue::S(id.to_owned()));
        delete.send().await.expect("the batch is deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_key_leaves_no_record() {
    let stack = Stack::start().await;
    stack.post("/api/members", &member("1")).await.expect(201);
    stack.open_batch(&json!({})).await;
    assert!(Records::of(&stack).all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_expires_after_a_day() {
    let stack = Stack::start().await;
    let records = Records::of(&stack);
    send(create_member(&stack, "k", &member("1")))
        .await
        .expect(201);
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
    assert_eq!(
        (&ended["warnings"], &ended["attempts"]),
        (&json!([]), &json!(1))
    );
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
            let until =
                Timestamp::now().millis() + i64::try_from(LEASE.as_millis()).expect("small");
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
