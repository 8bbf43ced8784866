//! `…/apply`, `…/revert` and `…/changes`: batches whose file is that of another batch, and the report of changes. The
//! batches that they start from are stored directly, as a run would leave them.

use mpulse_shared::batch::{
    Batch, BatchId, BatchRequest, FileFormat, Limit, MAX_CHILDREN, Mode, REPORT_DAYS, Removal,
    Status,
};
use mpulse_shared::key::Role;
use mpulse_shared::member::AccountId;
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::copies::{Copied, Source};
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{Answer, HEADER, Stack, row, send, text};
use reqwest::Method;
use serde_json::{Value, json};

const BATCHES: &str = "/api/members/batch";

/// A day in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;

/// A change of a record.
type Change = fn(&mut Batch);

/// A report of changes with one created member.
const CHANGES: &str = "\u{FEFF}line,change,account_id,client_member_id,first_name,last_name,phone_number,\
    old_first_name,old_last_name,old_phone_number,old_created_at,old_created_by,old_updated_at,old_updated_by\n\
    2,created,4,1,Ann,Lee,+17145550100,,,,,,,\n";

fn batches(stack: &Stack) -> Batches {
    Batches::from_setup(&stack.local_stack.setup()).expect("the setup is whole")
}

/// Stores an object and returns its ETag without quotes, as S3's events have it.
async fn put(stack: &Stack, key: String, content: impl Into<Vec<u8>>) -> String {
    let setup = stack.local_stack.setup();
    let bucket = setup.required("FILES_BUCKET").expect("a bucket");
    let s3 = setup.s3().expect("the setup is whole");
    let put = s3
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(content.into().into());
    let stored = put.send().await.expect("the object is stored");
    stored
        .e_tag()
        .expect("an ETag")
        .trim_matches('"')
        .to_owned()
}

async fn delete(stack: &Stack, key: String) {
    let setup = stack.local_stack.setup();
    let bucket = setup.required("FILES_BUCKET").expect("a bucket");
    let s3 = setup.s3().expect("the setup is whole");
    let delete = s3.delete_object().bucket(bucket).key(key);
    delete.send().await.expect("the object is deleted");
}

async fn content(stack: &Stack, key: String) -> Vec<u8> {
    let setup = stack.local_stack.setup();
    let bucket = setup.required("FILES_BUCKET").expect("a bucket");
    let s3 = setup.s3().expect("the setup is whole");
    let object = s3.get_object().bucket(bucket).key(key).send().await;
    let body = object.expect("the object exists").body.collect().await;
    body.expect("its content").to_vec()
}

/// A batch that has ended, with this change of its record. It is not stored.
fn ended(request: BatchRequest, change: impl FnOnce(&mut Batch)) -> Batch {
    let now = Timestamp::now();
    let mut batch = Batch::new(request, "key:writer".to_owned(), Scope::ALL, now);
    batch.status = Status::Completed;
    batch.uploaded_at = Some(now.plus_millis(-3_600_000));
    batch.finished_at = Some(now);
    change(&mut batch);
    batch
}

/// Stores a dry run that was completed, and its file.
pub async fn dry_run(stack: &Stack) -> Batch {
    let request = BatchRequest {
        file_name: Some("members.csv".to_owned()),
        account_id: AccountId::parse("4").ok(),
        mode: Mode::Replace,
        format: FileFormat {
            default_region: Some("GB".to_owned()),
            ..FileFormat::default()
        },
        dry_run: true,
        removal: Some(Removal {
            limit: Limit::Members(7),
            despite_unreadable_rows: true,
        }),
        ..BatchRequest::default()
    };
    let mut batch = ended(request, |_| {});
    let file = format!("{HEADER}{}", row("4", 1));
    batch.etag = Some(put(stack, batch.batch_id.upload_key(), file).await);
    store(stack, &batch).await;
    batch
}

/// Stores a batch that has changed a member, and its report of changes.
pub async fn changed(stack: &Stack, change: impl FnOnce(&mut Batch)) -> Batch {
    let batch = ended(BatchRequest::default(), |batch| {
        batch.has_changes = true;
        change(batch);
    });
    put(stack, batch.batch_id.changes_key(), CHANGES).await;
    store(stack, &batch).await;
    batch
}

async fn store(stack: &Stack, batch: &Batch) {
    let stored = batches(stack).create(batch).await;
    stored.expect("the record is stored");
}

async fn stored(stack: &Stack, id: &BatchId) -> Batch {
    let found = batches(stack).get(id).await.expect("the table answers");
    found.expect("the batch exists")
}

async fn call(stack: &Stack, batch: &Batch, action: &str) -> Answer {
    let path = format!("{BATCHES}/{}/{action}", batch.batch_id);
    send(stack.request(Method::POST, &path)).await
}

/// Returns the id of the batch that a call has created.
fn id_of(batch: &Value) -> BatchId {
    text(&batch["batch_id"]).parse().expect("an id")
}

/// Checks that a call is refused with 409, and returns the reason.
#[track_caller]
fn conflict(answer: &Answer) -> String {
    text(&answer.problem(409, "conflict")["detail"]).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_a_dry_run_creates_a_batch_of_the_same_file() {
    let stack = Stack::without_ingest().await;
    let dry_run = dry_run(&stack).await;
    let parent = stack.batch(dry_run.batch_id.as_str()).await;
    let link = format!(
        "{}{BATCHES}/{}/apply",
        stack.local_stack.api_url(),
        dry_run.batch_id
    );
    assert_eq!(parent["links"]["apply"], link);
    let answer = send(stack.request(Method::POST, &link)).await;
    answer.expect(202);
    let child = answer.json();
    let id = id_of(&child);
    assert_eq!(answer.header("location"), text(&child["links"]["self"]));
    for (field, value) in [
        ("status", json!("queued")),
        ("mode", json!("replace")),
        ("dry_run", json!(false)),
        ("changes", json!(true)),
        (
            "removal",
            json!({"limit": 7, "despite_unreadable_rows": true}),
        ),
        ("account_id", json!("4")),
        ("default_region", json!("GB")),
        ("file_name", json!("members.csv")),
        ("parent_batch_id", json!(dry_run.batch_id)),
        ("created_by", json!("key:writer")),
    ] {
        assert_eq!(child[field], value, "{field}");
    }
    assert_eq!(stack.batch(id.as_str()).await, child, "the same when read");
    assert_eq!(
        content(&stack, id.upload_key()).await,
        content(&stack, dry_run.batch_id.upload_key()).await
    );
    let record = stored(&stack, &id).await;
    assert_eq!(record.uploaded_at, dry_run.uploaded_at);

    let parent = stack.batch(dry_run.batch_id.as_str()).await;
    assert_eq!(parent["applied_by"], json!(id));
    assert_eq!(parent["child_batch_ids"], json!([id]));
    assert_eq!(parent["links"]["apply"], Value::Null);
    let reason = conflict(&call(&stack, &dry_run, "apply").await);
    let expected = format!("applied already, by the batch {id}, whose status is queued");
    assert!(reason.contains(&expected), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_apply_completes_the_first_one() {
    let stack = Stack::without_ingest().await;
    let dry_run = dry_run(&stack).await;
    let answer = call(&stack, &dry_run, "apply").await;
    let first = id_of(&answer.json());
    // As if the function had been stopped before the copy.
    delete(&stack, first.upload_key()).await;
    let again = call(&stack, &dry_run, "apply/").await;
    again.expect(202);
    assert_eq!(id_of(&again.json()), first);
    assert!(!content(&stack, first.upload_key()).await.is_empty());

    // As if it had been stopped before the parent listed the child.
    let dry_run = self::dry_run(&stack).await;
    let child = Batch::new(
        BatchRequest::default(),
        "key:writer".to_owned(),
        Scope::ALL,
        Timestamp::now().plus_millis(-DAY),
    );
    store(&stack, &child).await;
    let id = &dry_run.batch_id;
    let set = batches(&stack).set_applied_by(id, &child.batch_id).await;
    assert_eq!(set.unwrap().as_ref(), Some(&child.batch_id));
    let answer = call(&stack, &dry_run, "apply").await;
    answer.expect(202);
    assert_eq!(id_of(&answer.json()), child.batch_id);
    assert_eq!(answer.json()["status"], "queued");
    let parent = stack.batch(id.as_str()).await;
    assert_eq!(parent["child_batch_ids"], json!([child.batch_id]));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_applies_create_one_batch() {
    let stack = Stack::without_ingest().await;
    let dry_run = dry_run(&stack).await;
    let calls = (0..20).map(|_| call(&stack, &dry_run, "apply"));
    let answers = futures_util::future::join_all(calls).await;
    let applied_by = stored(&stack, &dry_run.batch_id).await.applied_by;
    let applied_by = applied_by.expect("it is applied");
    for answer in &answers {
        if answer.status == 202 {
            assert_eq!(id_of(&answer.json()), applied_by);
        } else {
            let reason = conflict(answer);
            assert!(reason.contains(applied_by.as_str()), "{reason}");
        }
    }
    assert!(answers.iter().any(|answer| answer.status == 202));
    let listed = stack.get(&format!("{BATCHES}?limit=100")).await.json();
    for batch in listed["results"].as_array().expect("a list") {
        let expected = match id_of(batch) {
            id if id == applied_by => "queued",
            id if id == dry_run.batch_id => "completed",
            _ => "cancelled",
        };
        assert_eq!(batch["status"], expected, "{batch:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_completed_dry_run_cannot_be_applied() {
    let stack = Stack::without_ingest().await;
    let request = |dry_run| BatchRequest {
        dry_run,
        ..BatchRequest::default()
    };
    for (batch, reason) in [
        (ended(request(false), |_| {}), "is not a dry run"),
        (
            ended(request(true), |batch| batch.status = Status::Processing),
            "has not ended yet: its status is processing",
        ),
        (
            ended(request(true), |batch| batch.status = Status::Failed),
            "its status is failed",
        ),
        (
            ended(request(true), |batch| batch.status = Status::Cancelled),
            "its status is cancelled",
        ),
        (
            ended(request(true), |batch| batch.etag = Some("x".to_owned())),
            "is gone",
        ),
        (
            ended(request(true), |batch| {
                batch.child_batch_ids = (0..MAX_CHILDREN).map(|_| BatchId::generate()).collect();
            }),
            "has 100 children already",
        ),
    ] {
        store(&stack, &batch).await;
        let refused = conflict(&call(&stack, &batch, "apply").await);
        assert!(refused.contains(reason), "{refused}");
    }
    // A file was sent to the same URL again.
    let replaced = dry_run(&stack).await;
    put(&stack, replaced.batch_id.upload_key(), "another").await;
    let refused = conflict(&call(&stack, &replaced, "apply").await);
    assert!(refused.contains("was replaced"), "{refused}");
    let parent = stack.batch(replaced.batch_id.as_str()).await;
    assert_eq!(
        (&parent["applied_by"], &parent["child_batch_ids"]),
        (&Value::Null, &json!([]))
    );
    let unknown = format!("{BATCHES}/01ARZ3NDEKTSV4RRFFQ69G5FAV/apply");
    let answer = send(stack.request(Method::POST, &unknown)).await;
    answer.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn reverting_a_batch_creates_a_batch_of_its_changes() {
    let stack = Stack::without_ingest().await;
    let parent = changed(&stack, |batch| batch.account_id = Some("4".to_owned())).await;
    let shown = stack.batch(parent.batch_id.as_str()).await;
    let answer = send(stack.request(Method::POST, text(&shown["links"]["revert"]))).await;
    answer.expect(202);
    let child = answer.json();
    let id = id_of(&child);
    assert_eq!(answer.header("location"), text(&child["links"]["self"]));
    for (field, value) in [
        ("status", json!("queued")),
        ("mode", json!("revert")),
        ("dry_run", json!(false)),
        ("changes", json!(true)),
        ("removal", Value::Null),
        ("account_id", json!("4")),
        ("accounts", Value::Null),
        ("parent_batch_id", json!(parent.batch_id)),
        (
            "file_name",
            json!(format!("changes-{}.csv", parent.batch_id)),
        ),
    ] {
        assert_eq!(child[field], value, "{field}");
    }
    assert_eq!(content(&stack, id.upload_key()).await, CHANGES.as_bytes());
    let shown = stack.batch(parent.batch_id.as_str()).await;
    assert_eq!(shown["child_batch_ids"], json!([id]));
    assert_eq!(stored(&stack, &id).await.uploaded_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_processed_like_an_upload() {
    let stack = Stack::start().await;
    let parent = changed(&stack, |_| {}).await;
    let answer = call(&stack, &parent, "revert").await;
    answer.expect(202);
    let child = stack.wait_for_batch(id_of(&answer.json()).as_str()).await;
    assert_eq!(child["status"], "completed", "{child:#}");
    assert_eq!(child["rows"]["read"], 1, "{child:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_changes_cannot_be_reverted() {
    let stack = Stack::without_ingest().await;
    let cases: [(Change, &str); 6] = [
        (
            |batch| batch.status = Status::Processing,
            "has not ended yet: its status is processing",
        ),
        (|batch| batch.dry_run = true, "is a dry run"),
        (|batch| batch.has_changes = false, "changed no member"),
        (
            |batch| (batch.has_changes, batch.changes) = (false, false),
            "\"changes\": false",
        ),
        (
            |batch| (batch.has_changes, batch.mode) = (false, Mode::Overwrite),
            "mode overwrite",
        ),
        (
            |batch| {
                batch.finished_at = Some(Timestamp::now().plus_millis(-REPORT_DAYS * DAY));
            },
            "was deleted after 30 days",
        ),
    ];
    for (change, reason) in cases {
        let batch = changed(&stack, change).await;
        let refused = conflict(&call(&stack, &batch, "revert").await);
        assert!(refused.contains(reason), "{refused}");
        let shown = stack.batch(batch.batch_id.as_str()).await;
        assert_eq!(shown["links"]["revert"], Value::Null);
    }
    let deleted = changed(&stack, |_| {}).await;
    delete(&stack, deleted.batch_id.changes_key()).await;
    let refused = conflict(&call(&stack, &deleted, "revert").await);
    assert!(refused.contains("was deleted"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_needs_all_accounts_of_the_batch() {
    let stack = Stack::without_ingest().await;
    let four = stack.bound_key("four", Role::Writer, &["4"]).await;
    let everything = changed(&stack, |_| {}).await;
    let scope = Scope::only([AccountId::parse("4").unwrap()].into());
    let own = changed(&stack, |batch| batch.accounts = scope.clone()).await;
    let revert = async |login, batch: &Batch| {
        let path = format!("{BATCHES}/{}/revert", batch.batch_id);
        send(stack.request_as(login, Method::POST, &path)).await
    };
    let refused = revert(&four, &everything).await;
    refused.problem(404, "not-found");
    let answer = revert(&four, &own).await;
    answer.expect(202);
    assert_eq!(answer.json()["accounts"], json!(["4"]));
    // A key of all accounts does not widen what the batch may write to.
    let answer = revert(&stack.writer, &own).await;
    assert_eq!(answer.json()["accounts"], json!(["4"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_changes_of_a_batch_can_be_downloaded() {
    let stack = Stack::without_ingest().await;
    let batch = changed(&stack, |_| {}).await;
    let shown = stack.batch(batch.batch_id.as_str()).await;
    let link = text(&shown["links"]["changes"]).to_owned();
    let expected = format!("{BATCHES}/{}/changes", batch.batch_id);
    assert!(link.ends_with(&expected), "{link}");
    let answer = stack.get(&link).await;
    answer.expect(302);
    let file = send(stack.anonymous(Method::GET, answer.header("location"))).await;
    file.expect(200);
    assert_eq!(file.text(), CHANGES);
    assert_eq!(
        file.header("content-disposition"),
        format!("attachment; filename=\"changes-{}.csv\"", batch.batch_id)
    );
    let json = stack.request(Method::GET, &format!("{link}/"));
    let answer = send(json.header("accept", "application/json")).await;
    answer.expect(200);
    let file = send(stack.anonymous(Method::GET, text(&answer.json()["url"]))).await;
    assert_eq!(file.text(), CHANGES);

    let running = changed(&stack, |batch| batch.status = Status::Processing).await;
    let path = |batch: &Batch| format!("{BATCHES}/{}/changes", batch.batch_id);
    stack.get(&path(&running)).await.problem(409, "conflict");
    let none = changed(&stack, |batch| batch.has_changes = false).await;
    let problem = stack.get(&path(&none)).await.problem(404, "not-found");
    assert_eq!(problem["detail"], "The batch changed no member.");
    let old = changed(&stack, |batch| {
        batch.finished_at = Some(Timestamp::now().plus_millis(-REPORT_DAYS * DAY));
    });
    let problem = stack.get(&path(&old.await)).await.problem(404, "not-found");
    assert!(text(&problem["detail"]).contains("30 days"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_copied_in_parts_under_its_e_tag() {
    const PART: u64 = 5 * 1024 * 1024;
    let stack = Stack::without_ingest().await;
    let files = Files::from_setup(&stack.local_stack.setup()).unwrap();
    let (from, to, other) = (
        BatchId::generate(),
        BatchId::generate(),
        BatchId::generate(),
    );
    let file: Vec<u8> = (0..=250_u8).cycle().take(12_000_000).collect();
    put(&stack, from.upload_key(), file.clone()).await;
    let original = files.find_original(&from, Source::Upload).await.unwrap();
    let original = original.expect("it exists");
    assert_eq!(original.bytes, file.len() as u64);
    let copied = files.copy_in_parts(&original, &to, PART).await;
    assert_eq!(copied.unwrap(), Copied::Made);
    assert!(content(&stack, to.upload_key()).await == file);

    put(&stack, from.upload_key(), "another").await;
    for _ in ["replaced", "deleted"] {
        let whole = files.copy_original(&original, &other).await;
        assert_eq!(whole.unwrap(), Copied::Gone);
        let in_parts = files.copy_in_parts(&original, &other, PART).await;
        assert_eq!(in_parts.unwrap(), Copied::Gone);
        let found = files.find_original(&other, Source::Upload).await;
        assert_eq!(found.unwrap(), None);
        delete(&stack, from.upload_key()).await;
    }
}
