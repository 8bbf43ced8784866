//! Files sent in parts: created, sent, resumed, completed and cancelled.

use mpulse_local::{BUILT_IN_TEMPLATE, Data};
use mpulse_shared::batch::{Batch, BatchRequest};
use mpulse_shared::key::Role;
use mpulse_shared::parts::{Multipart, PART_BYTES};
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::batches::Batches;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{Answer, HEADER, Login, Rows, Stack, count, row, send, text};
use reqwest::Method;
use reqwest::header::ORIGIN;
use serde_json::{Value, json};

const ROWS: u64 = 1000;

/// A roster of a thousand people and of a little more than two parts: its last column is wide, and
/// ignored.
fn wide_roster(account: &str) -> String {
    let note = "x".repeat(17_000);
    let mut file = format!("{},notes\n", HEADER.trim_end());
    for index in 0..ROWS {
        file.push_str(row(account, index).trim_end());
        file.push(',');
        file.push_str(&note);
        file.push('\n');
    }
    assert_eq!((file.len() as u64).div_ceil(PART_BYTES), 3);
    file
}

async fn open(stack: &Stack, size: u64) -> Value {
    let asked = json!({"file_name": "roster.csv", "size": size, "multipart": true});
    stack.open_batch(&asked).await
}

async fn complete(stack: &Stack, batch: &Value) -> Answer {
    let path = format!("/api/members/batch/{}/complete", text(&batch["batch_id"]));
    send(stack.request(Method::POST, &path)).await
}

async fn list(stack: &Stack, batch: &Value, query: &str) -> Answer {
    let path = format!("/api/members/batch/{}/parts", text(&batch["batch_id"]));
    stack.get(&format!("{path}{query}")).await
}

/// Returns the numbers of the missing parts.
async fn missing(stack: &Stack, batch: &Value) -> Vec<u64> {
    let answer = list(stack, batch, "").await;
    answer.expect(200);
    let page = answer.json();
    let results = page["results"].as_array().expect("results");
    let missing = results.iter().filter(|part| {
        assert_ne!(part["etag"].is_null(), part["url"].is_null(), "{part}");
        part["etag"].is_null()
    });
    missing.map(|part| count(&part["part_number"])).collect()
}

#[track_caller]
fn detail(answer: &Answer) -> String {
    text(&answer.problem(409, "conflict")["detail"]).to_owned()
}

/// Returns the functions' S3 client, and the bucket's name.
fn bucket(stack: &Stack) -> (aws_sdk_s3::Client, String) {
    let setup = stack.local_stack.setup();
    let bucket = setup.required("FILES_BUCKET").expect("a bucket");
    (setup.s3().expect("an S3 client"), bucket.to_owned())
}

fn batches(stack: &Stack) -> Batches {
    Batches::from_setup(&stack.local_stack.setup()).expect("the template names it")
}

/// Returns the record's upload.
async fn record(stack: &Stack, batch: &Value) -> (Batch, Multipart) {
    let id = text(&batch["batch_id"]).parse().expect("an id");
    let record = batches(stack).get(&id).await.expect("the table answers");
    let record = record.expect("it is there");
    let upload = record.multipart.clone().expect("it comes in parts");
    (record, upload)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_several_parts_is_read_like_any_other() {
    let stack = Stack::start().await;
    let file = wide_roster("4");
    let size = file.len() as u64;
    let batch = open(&stack, size).await;
    let id = text(&batch["batch_id"]).to_owned();
    let this = format!("{}/api/members/batch/{id}", stack.local_stack.api_url());
    let expires_at = text(&batch["upload"]["expires_at"]).to_owned();
    assert_eq!(
        batch["upload"],
        json!({"method": "PUT", "part_size": PART_BYTES, "part_count": 3,
               "parts": format!("{this}/parts"), "complete": format!("{this}/complete"),
               "expires_at": expires_at})
    );
    let [created, expires]: [Timestamp; 2] =
        [text(&batch["created_at"]), &expires_at].map(|time| time.parse().expect("a time"));
    assert_eq!(expires.millis_since(created), 24 * 3600 * 1000);
    assert_eq!(batch["status"], "awaiting_upload");
    assert_eq!(batch["bytes"]["total"], size);
    assert_eq!(batch["links"]["parts"], format!("{this}/parts"));
    let listed = stack.get("/api/members/batch?limit=1").await.json();
    assert_eq!(listed["results"][0]["links"], batch["links"]);

    let page = list(&stack, &batch, "").await.json();
    let shapes: Vec<Value> = page["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|part| {
            json!([
                part["part_number"],
                part["offset"],
                part["size"],
                part["etag"]
            ])
        })
        .collect();
    let rest = size - 2 * PART_BYTES;
    assert_eq!(
        json!(shapes),
        json!([
            [1, 0, PART_BYTES, null],
            [2, PART_BYTES, PART_BYTES, null],
            [3, 2 * PART_BYTES, rest, null]
        ])
    );
    assert_eq!(
        (&page["part_size"], &page["part_count"], &page["next"]),
        (&json!(PART_BYTES), &json!(3), &Value::Null)
    );

    stack.put_parts(&batch, file.as_bytes(), &[3, 1]).await;
    assert_eq!(missing(&stack, &batch).await, [2]);
    let refused = complete(&stack, &batch).await;
    assert_eq!(detail(&refused), "Part 2 of 3 has not arrived.");
    stack.put_parts(&batch, file.as_bytes(), &[2]).await;
    let done = complete(&stack, &batch).await;
    done.expect(202);
    let done = done.json();
    assert_eq!(done["batch_id"], id);
    assert_eq!(done["links"]["parts"], Value::Null);
    let ended = stack.wait_for_batch(&id).await;
    Rows::created(ROWS).check(&ended);
    assert_eq!(ended["ignored_columns"], json!(["notes"]));
    assert_eq!(ended["links"]["parts"], Value::Null);
    stack.wait_for_deletion(&batch).await;

    // A repeated call returns the same response, and nothing happens.
    let again = complete(&stack, &batch).await;
    again.expect(202);
    assert_eq!(again.json(), ended);
    let late = list(&stack, &batch, "").await;
    assert!(detail(&late).contains("its status is completed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_request_for_a_multipart_upload_is_rejected() {
    let stack = Stack::start().await;
    let fault = |field: &str, code: &str| vec![(field.to_owned(), code.to_owned())];
    let five_gib = 5_u64 * 1024 * 1024 * 1024;
    let path = "/api/members/batch";
    for (body, field, code) in [
        (json!({"multipart": true}), "size", "required"),
        (json!({"multipart": true, "size": null}), "size", "required"),
        (
            json!({"multipart": "yes", "size": 5}),
            "multipart",
            "invalid_multipart",
        ),
        (
            json!({"multipart": 1, "size": 5}),
            "multipart",
            "invalid_multipart",
        ),
        (
            json!({"multipart": [true], "size": 5}),
            "multipart",
            "invalid_multipart",
        ),
        (json!({"mode": true}), "mode", "invalid_type"),
        (json!({"size": five_gib + 1}), "size", "invalid_size"),
        (
            json!({"size": five_gib + 1, "multipart": false}),
            "size",
            "invalid_size",
        ),
        (
            json!({"size": five_gib * 20 + 1, "multipart": true}),
            "size",
            "invalid_size",
        ),
    ] {
        let answer = stack.post(path, &body).await;
        assert_eq!(answer.faults(), fault(field, code), "{body}");
    }
    let refused = stack.post(path, &json!({"size": five_gib + 1})).await;
    assert!(refused.text().contains("multipart"), "{}", refused.text());
    let in_the_body = stack
        .post_text(&format!("{path}?multipart=true"), "text/csv", HEADER)
        .await;
    let refusal = fault("multipart", "invalid_multipart");
    assert_eq!(in_the_body.faults(), refusal);
    let form = reqwest::multipart::Form::new()
        .text("multipart", "true")
        .part("file", reqwest::multipart::Part::text(HEADER));
    let in_a_form = send(stack.request(Method::POST, path).multipart(form)).await;
    assert_eq!(in_a_form.faults(), refusal);

    for body in [
        json!({"multipart": true, "size": 5}),
        json!({"multipart": "true", "size": "5"}),
        json!({"multipart": true, "size": five_gib * 20}),
    ] {
        let answer = stack.post(path, &body).await;
        answer.expect(201);
        assert!(answer.json()["upload"]["parts"].is_string(), "{body}");
    }
    let by_query = send(stack.request(Method::PUT, &format!("{path}?multipart=true&size=5")));
    assert_eq!(by_query.await.json()["upload"]["part_count"], 1);
    for body in [json!({"multipart": false}), json!({"multipart": null})] {
        let answer = stack.post(path, &body).await;
        answer.expect(201);
        let answer = answer.json();
        assert!(answer["upload"]["url"].is_string(), "{body}");
        assert!(answer["links"]["parts"].is_null(), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_parts_are_listed_page_by_page() {
    let stack = Stack::start().await;
    let batch = open(&stack, 100 * 1024 * 1024 * 1024).await;
    assert_eq!(batch["upload"]["part_size"], 11 * 1024 * 1024);
    assert_eq!(batch["upload"]["part_count"], 9310);
    let mut url = format!("{}?from=7001&limit=1000", text(&batch["links"]["parts"]));
    let mut numbers = Vec::new();
    loop {
        let answer = stack.get(&url).await;
        answer.expect(200);
        let page = answer.json();
        let results = page["results"].as_array().expect("results");
        numbers.extend(results.iter().map(|part| count(&part["part_number"])));
        let Some(next) = page["next"].as_str() else {
            assert_eq!(answer.header("link"), "");
            break;
        };
        assert_eq!(answer.header("link"), format!("<{next}>; rel=\"next\""));
        next.clone_into(&mut url);
    }
    assert_eq!(numbers, (7001..=9310).collect::<Vec<u64>>());
    let page = list(&stack, &batch, "").await.json();
    assert_eq!(page["results"].as_array().map(Vec::len), Some(100));
    assert!(text(&page["next"]).ends_with("/parts?from=101&limit=100"));
    for (query, field, code) in [
        ("?from=0", "from", "invalid_part_number"),
        ("?from=9311", "from", "invalid_part_number"),
        ("?from=-1", "from", "invalid_part_number"),
        ("?limit=0", "limit", "invalid_limit"),
        ("?limit=1001", "limit", "invalid_limit"),
        ("?urls=none", "urls", "invalid_urls"),
        ("?number=1", "number", "unknown_parameter"),
    ] {
        let faults = list(&stack, &batch, query).await.faults();
        assert_eq!(faults, [(field.to_owned(), code.to_owned())], "{query}");
    }
    let refused = complete(&stack, &batch).await;
    assert_eq!(
        detail(&refused),
        "Parts 1 to 9310 of 9310 have not arrived."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_another_size_is_rejected_and_a_stored_one_counts_as_missing() {
    let stack = Stack::start().await;
    let batch = open(&stack, PART_BYTES + 5).await;
    let part = stack.part(&batch, 2).await;
    assert_eq!(part["size"], 5);
    let url = text(&part["url"]).to_owned();
    let put = async |body: &'static str| {
        let request = stack.anonymous(Method::PUT, &url);
        let answer = send(request.header(ORIGIN, "https://example.com").body(body)).await;
        let headers = [
            "access-control-allow-origin",
            "access-control-expose-headers",
        ];
        assert_eq!(headers.map(|name| answer.header(name)), ["*", "ETag"]);
        answer
    };
    for wrong in ["", "1234", "123456"] {
        put(wrong).await.expect(403);
        assert_eq!(missing(&stack, &batch).await, [1, 2]);
    }
    let sent = put("12345").await;
    sent.expect(200);
    let there = stack.part(&batch, 2).await;
    assert_eq!(sent.header("etag"), text(&there["etag"]));
    assert_eq!(there["etag"], "\"827ccb0eea8a706c4c34a16891f84e7b\"");
    assert!(there["url"].is_null());

    // A part that has arrived can be sent again: the last version counts.
    let all = list(&stack, &batch, "?urls=all&limit=1").await.json();
    assert!(text(&all["next"]).ends_with("?from=2&limit=1&urls=all"));
    let again = stack.get(text(&all["next"])).await.json()["results"][0].take();
    assert_eq!(again["etag"], there["etag"]);
    let put_again = stack.anonymous(Method::PUT, text(&again["url"]));
    send(put_again.body("67890")).await.expect(200);
    let other = stack.part(&batch, 2).await;
    assert_eq!(other["etag"], "\"1e01ba3e07ac48cbdab2d3284d1dd0fa\"");

    // Stored directly, without a signed URL of ours.
    let (s3, bucket) = bucket(&stack);
    let (record, upload) = record(&stack, &batch).await;
    let part = s3.upload_part().bucket(bucket).part_number(2);
    let part = part.key(record.batch_id.upload_key());
    let part = part
        .upload_id(upload.upload_id)
        .body(b"123".to_vec().into());
    part.send().await.expect("S3 takes it");
    assert_eq!(missing(&stack, &batch).await, [1, 2]);
    let refused = complete(&stack, &batch).await;
    assert_eq!(detail(&refused), "Parts 1, 2 of 2 have not arrived.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_accepts_no_part_and_keeps_none() {
    let stack = Stack::start().await;
    let file = vec![b'x'; usize::try_from(PART_BYTES).unwrap() + 5];
    let batch = open(&stack, file.len() as u64).await;
    stack.put_parts(&batch, &file, &[1]).await;
    let url = text(&stack.part(&batch, 2).await["url"]).to_owned();
    let (record, upload) = record(&stack, &batch).await;
    let this = format!("/api/members/batch/{}", text(&batch["batch_id"]));
    let cancelled = stack.delete(&this).await;
    cancelled.expect(200);
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert!(cancelled.json()["links"]["parts"].is_null());

    // A small one: a large one may find the connection closed before it is sent completely.
    let late = send(stack.anonymous(Method::PUT, &url).body("xxxxx")).await;
    late.expect(404);
    assert!(late.text().contains("NoSuchUpload"), "{}", late.text());
    for answer in [
        complete(&stack, &batch).await,
        list(&stack, &batch, "").await,
    ] {
        assert!(detail(&answer).contains("its status is cancelled"));
    }
    let (s3, bucket) = bucket(&stack);
    let parts = s3.list_parts().bucket(bucket);
    let parts = parts.key(record.batch_id.upload_key());
    let gone = parts.upload_id(upload.upload_id).send().await;
    let gone = gone.expect_err("it is gone").into_service_error();
    assert_eq!(gone.meta().code(), Some("NoSuchUpload"));
}

#[tokio::test(flavor = "multi_thread")]
async fn completing_an_upload_repeatedly_has_one_result() {
    let stack = Stack::start().await;
    let file = format!("{HEADER}{}{}", row("4", 1), row("4", 2));
    let batch = open(&stack, file.len() as u64).await;
    stack.put_parts(&batch, file.as_bytes(), &[1]).await;
    let ask = || complete(&stack, &batch);
    for answer in [
        tokio::join!(ask(), ask(), ask()).into(),
        [ask().await, ask().await, ask().await],
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<Answer>>()
    {
        answer.expect(202);
    }
    let ended = stack.wait_for_batch(text(&batch["batch_id"])).await;
    Rows::created(2).check(&ended);
    ask().await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_during_completion_leaves_no_file() {
    let stack = Stack::start().await;
    let file = format!("{HEADER}{}", row("4", 1));
    let mut cancelled = 0;
    for round in 0..20 {
        let batch = open(&stack, file.len() as u64).await;
        stack.put_parts(&batch, file.as_bytes(), &[1]).await;
        let this = format!("/api/members/batch/{}", text(&batch["batch_id"]));
        let wait = std::time::Duration::from_millis(round);
        let (completed, stopped) = tokio::join!(complete(&stack, &batch), async {
            tokio::time::sleep(wait).await;
            stack.delete(&this).await
        });
        // Whichever was first: the other reports the present status.
        assert!([202, 409].contains(&completed.status), "{completed:?}");
        assert!([200, 202, 409].contains(&stopped.status), "{stopped:?}");
        let ended = stack.wait_for_batch(text(&batch["batch_id"])).await;
        cancelled += u64::from(ended["status"] == "cancelled");
        if completed.status == 409 {
            assert_eq!(ended["status"], "cancelled", "{ended:#}");
        }
        stack.wait_for_deletion(&batch).await;
    }
    assert!(cancelled > 0, "some were cancelled in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_one_empty_part() {
    let stack = Stack::start().await;
    let batch = open(&stack, 0).await;
    assert_eq!(batch["upload"]["part_count"], 1);
    stack.put_parts(&batch, b"", &[1]).await;
    complete(&stack, &batch).await.expect(202);
    let ended = stack.wait_for_batch(text(&batch["batch_id"])).await;
    assert_eq!(ended["problem"]["code"], "empty_file", "{ended:#}");
    // The upload itself was completed, as requested.
    let again = complete(&stack, &batch).await;
    again.expect(202);
    assert_eq!(again.json()["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_a_single_put_has_no_parts() {
    let stack = Stack::start().await;
    let waiting = stack.open_batch(&json!({})).await;
    let ended = stack.upload(format!("{HEADER}{}", row("4", 1))).await;
    for (batch, status) in [(waiting, "awaiting_upload"), (ended, "completed")] {
        for answer in [
            complete(&stack, &batch).await,
            list(&stack, &batch, "").await,
        ] {
            let detail = detail(&answer);
            assert!(detail.contains("is not sent in parts"), "{detail}");
            assert!(detail.contains(status), "{detail}");
        }
    }
    let unknown = json!({"batch_id": "01KAVT7R3G8W2QZJ5XN4M6P9CD"});
    complete(&stack, &unknown).await.problem(404, "not-found");
    list(&stack, &unknown, "").await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_accepted_for_a_day_and_a_completed_upload_stays_completed() {
    let stack = Stack::start().await;
    let batches = batches(&stack);
    let late = async |content: Option<&'static [u8]>| {
        let request = BatchRequest {
            size: Some(5),
            multipart: true,
            ..BatchRequest::default()
        };
        let at = Timestamp::now().plus_millis(-24 * 3600 * 1000 - 1);
        let mut batch = Batch::new(request, "key:writer".to_owned(), Scope::ALL, at);
        batch.multipart = Some(Multipart {
            upload_id: "gone".to_owned(),
            part_size: PART_BYTES,
        });
        // Before the record, so that ingest ignores it.
        let (s3, bucket) = bucket(&stack);
        if let Some(content) = content {
            let put = s3.put_object().bucket(bucket);
            let put = put.key(batch.batch_id.upload_key());
            put.body(content.to_vec().into())
                .send()
                .await
                .expect("S3 takes it");
        }
        batches.create(&batch).await.expect("the record is stored");
        json!({"batch_id": batch.batch_id.as_str()})
    };
    let expired = late(None).await;
    let shown = stack.batch(text(&expired["batch_id"])).await;
    assert_eq!(shown["status"], "expired");
    assert!(shown["links"]["parts"].is_null());
    for answer in [
        complete(&stack, &expired).await,
        list(&stack, &expired, "").await,
    ] {
        assert!(detail(&answer).contains("its status is expired"));
    }
    let made_it = late(Some(b"12345")).await;
    complete(&stack, &made_it).await.expect(202);
    list(&stack, &made_it, "").await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_s3_has_deleted_is_reported() {
    let stack = Stack::start().await;
    let batch = open(&stack, 5).await;
    let (s3, bucket) = bucket(&stack);
    let (record, upload) = record(&stack, &batch).await;
    let abort = s3.abort_multipart_upload().bucket(bucket);
    let abort = abort.key(record.batch_id.upload_key());
    abort
        .upload_id(upload.upload_id)
        .send()
        .await
        .expect("S3 answers");
    for answer in [
        complete(&stack, &batch).await,
        list(&stack, &batch, "").await,
    ] {
        assert!(detail(&answer).contains("no longer exists in S3"));
    }
    let this = format!("/api/members/batch/{}", text(&batch["batch_id"]));
    stack.delete(&this).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_have_arrived_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = || Data::Folder(folder.path().join("data"));
    let stack = Stack::with(BUILT_IN_TEMPLATE, &[], data()).await;
    let file = wide_roster("4");
    let batch = open(&stack, file.len() as u64).await;
    stack.put_parts(&batch, file.as_bytes(), &[1, 3]).await;
    let before = stack.part(&batch, 1).await["etag"].clone();
    stack.local_stack.stop().await;

    let stack = Stack::with(BUILT_IN_TEMPLATE, &[], data()).await;
    let id = text(&batch["batch_id"]);
    let batch = stack.batch(id).await;
    assert_eq!(missing(&stack, &batch).await, [2]);
    assert_eq!(stack.part(&batch, 1).await["etag"], before);
    stack.put_parts(&batch, file.as_bytes(), &[2]).await;
    complete(&stack, &batch).await.expect(202);
    Rows::created(ROWS).check(&stack.wait_for_batch(id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_key_sends_parts_of_its_own_batches_only() {
    let stack = Stack::start().await;
    let content = format!("{HEADER}{}{}", row("4", 1), row("5", 2));
    let asked = json!({"size": content.len(), "multipart": true});
    let four = stack.bound_key("four", Role::Writer, &["4"]).await;
    let five = stack.bound_key("five", Role::Writer, &["5"]).await;
    let call = async |login: &Login, method: Method, path: &str| {
        send(stack.request_as(login, method, path)).await
    };
    let request = stack.request_as(&four, Method::POST, "/api/members/batch");
    let opened = send(request.json(&asked)).await;
    opened.expect(201);
    let opened = opened.json();
    let (parts, complete) = (&opened["upload"]["parts"], &opened["upload"]["complete"]);
    for (method, path) in [(Method::GET, parts), (Method::POST, complete)] {
        let refused = call(&five, method, text(path)).await;
        refused.problem(404, "not-found");
    }
    let page = call(&four, Method::GET, text(parts)).await.json();
    let put = stack.anonymous(Method::PUT, text(&page["results"][0]["url"]));
    send(put.body(content)).await.expect(200);
    call(&four, Method::POST, text(complete)).await.expect(202);
    let ended = stack.wait_for_batch(text(&opened["batch_id"])).await;
    assert_eq!(ended["rows"]["created"], 1, "{ended:#}");
    assert_eq!(ended["rows"]["rejected"], 1, "{ended:#}");
}
