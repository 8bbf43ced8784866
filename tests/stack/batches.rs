//! `/api/members/batch`: opening, sending, following, listing and cancelling batches.

use std::fmt::Write;
use std::time::{Duration, Instant};

use mpulse_local::{BUILT_IN_TEMPLATE, Data};
use mpulse_tests::{
    Answer, HEADER, Rows, Stack, client_id, count, has_ended, roster, roster_ids, row, send, text,
};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

const BATCHES: &str = "/api/members/batch";

/// The largest file that a body may carry.
const MAX_INLINE: usize = 4 * 1024 * 1024;

/// An id of the right form that no batch has.
const NOBODY: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

async fn inline(stack: &Stack, answer: Answer) -> Value {
    answer.expect(202);
    let batch = answer.json();
    let location = format!(
        "{}{BATCHES}/{}",
        stack.machine.api_url(),
        text(&batch["batch_id"])
    );
    assert_eq!(answer.header("location"), location);
    assert_eq!(batch["status"], "queued");
    assert!(batch.get("upload").is_none(), "nothing is left to send");
    stack.wait_for_batch(text(&batch["batch_id"])).await
}

fn part(content: impl Into<Vec<u8>>) -> Part {
    Part::bytes(content.into()).file_name("members.csv")
}

async fn post_form(stack: &Stack, form: Form) -> Answer {
    send(stack.request(Method::POST, BATCHES).multipart(form)).await
}

/// The template without what feeds ingest, so that an upload stays queued.
fn without_ingest() -> String {
    let (at, rest) = BUILT_IN_TEMPLATE
        .split_once("            BatchSize: 1\n")
        .expect("an event source");
    format!("{at}            Enabled: false\n            BatchSize: 1\n{rest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_batch_says_where_its_file_goes() {
    let stack = Stack::start().await;
    let body = json!({"file_name": "members.csv", "size": 12, "account_id": "4", "mode": "create"});
    let answer = stack.post(BATCHES, &body).await;
    answer.expect(201);
    let mut batch = answer.json();
    let id = text(&batch["batch_id"]).to_owned();
    assert_eq!(id.len(), 26, "a ULID");
    let this = format!("{}{BATCHES}/{id}", stack.machine.api_url());
    assert_eq!(answer.header("location"), this);

    let upload = batch["upload"].take();
    batch.as_object_mut().unwrap().remove("upload");
    assert_eq!(upload["method"], "PUT");
    assert_eq!(
        upload["headers"],
        json!({"content-type": "text/csv", "content-length": "12"})
    );
    assert!(
        text(&upload["url"]).starts_with(&stack.machine.s3_url()),
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
            "accounts": null,
            "parent_batch_id": null,
            "child_batch_ids": [],
            "created_by": "key:writer",
            "created_at": batch["created_at"],
            "started_at": null,
            "updated_at": batch["created_at"],
            "finished_at": null,
            "attempts": 0,
            "bytes": {"total": 12, "done": 0, "percent": 0.0},
            "rows": {"read": 0, "created": 0, "updated": 0, "unchanged": 0, "superseded": 0, "rejected": 0},
            "rows_per_second": 0,
            "eta_seconds": null,
            "capacity": {"read_units": 0.0, "write_units": 0.0},
            "throttles": 0,
            "price": {
                "usd": 0.0,
                "source": "https://aws.amazon.com/dynamodb/pricing/on-demand/",
                "as_of": "2024-11-01",
                "region": "us-east-1",
            },
            "ignored_columns": [],
            "problem": null,
            "links": {"self": this, "rejects": null, "parts": null},
        })
    );
    assert_eq!(stack.batch(&id).await, batch, "the same when asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn post_and_put_open_a_batch_with_and_without_a_body() {
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
async fn a_request_at_fault_opens_no_batch() {
    let stack = Stack::start().await;
    let long = "x".repeat(256);
    for (body, field, code) in [
        (json!({"mode": "replace"}), "mode", "invalid_mode"),
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
            json!({"parent_batch_id": NOBODY}),
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
    let other = stack.post_text(BATCHES, "application/zip", "PK").await;
    other.problem(415, "media-type");
    assert_eq!(
        other.header("accept-post"),
        "application/json, multipart/form-data, text/csv"
    );
    assert_eq!(stack.get(BATCHES).await.json()["results"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn rosters_of_every_size_around_a_request_are_loaded_once_and_then_unchanged() {
    let stack = Stack::start().await;
    for people in [0, 1, 24, 25, 26, 50, 99, 100, 101] {
        let account = format!("of-{people}");
        let file = roster(&account, people);
        Rows::created(people).check(&stack.upload(file.clone()).await);
        let query = format!("aid={account}&limit=1000");
        assert_eq!(stack.ids(&query).await, roster_ids(&account, people));
        let before = stack.pages(&query).await;
        Rows::unchanged(people).check(&stack.upload(file).await);
        assert_eq!(
            stack.pages(&query).await,
            before,
            "not even the time has changed"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_rows_are_loaded_once_and_then_unchanged() {
    let stack = Stack::start().await;
    let people = 20_000;
    let file = roster("4", people);
    let batch = stack.upload(file.clone()).await;
    Rows::created(people).check(&batch);
    assert_eq!(
        batch["bytes"],
        json!({"total": file.len(), "done": file.len(), "percent": 100.0})
    );
    assert_eq!(stack.ids("aid=4&limit=1000").await, roster_ids("4", people));

    Rows::unchanged(people).check(&stack.upload(file.clone()).await);
    assert_eq!(stack.ids("aid=4&limit=1000").await.len(), 20_000);

    // One in a hundred has married.
    let changed = file
        .lines()
        .enumerate()
        .fold(String::new(), |mut changed, (index, line)| {
            let line = if index % 100 == 1 {
                line.replace("Lee", "Li")
            } else {
                line.to_owned()
            };
            writeln!(changed, "{line}").unwrap();
            changed
        });
    let batch = stack.upload(changed).await;
    let rows = Rows {
        updated: 200,
        unchanged: people - 200,
        ..Rows::default()
    };
    rows.check(&batch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_has_ended_tells_the_whole_of_it() {
    let stack = Stack::start().await;
    let file = roster("4", 30);
    let options = json!({"file_name": "members.csv"});
    let batch = stack.upload_with(&options, file.clone()).await;
    Rows::created(30).check(&batch);
    assert_eq!(batch["file_name"], "members.csv");
    assert_eq!(batch["attempts"], 1);
    assert_eq!(
        batch["bytes"],
        json!({"total": file.len(), "done": file.len(), "percent": 100.0})
    );
    assert_eq!(batch["eta_seconds"], Value::Null);
    assert_eq!(batch["links"]["rejects"], Value::Null);
    let [reads, writes] = ["read_units", "write_units"]
        .map(|name| batch["capacity"][name].as_f64().expect("a number"));
    assert!(writes >= 90.0, "three for each member: {batch:#}");
    let usd = batch["price"]["usd"].as_f64().expect("a number");
    let wanted = (reads * 0.125 + writes * 0.625) / 1e6;
    assert!((usd - wanted).abs() <= 5.1e-7 && usd > 0.0, "{batch:#}");
    let times =
        ["created_at", "started_at", "finished_at"].map(|name| text(&batch[name]).to_owned());
    assert!(times.is_sorted(), "{times:?}");
    assert!(
        !stack.upload_is_stored(&batch).await,
        "the upload is deleted"
    );
    // The batch is what the members say they were made by.
    let author = format!("batch:{}", text(&batch["batch_id"]));
    let member = stack.get("/api/members/4~c000003").await.json();
    assert_eq!(member["created_by"], author);
    assert_eq!(member["updated_by"], author);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_differs_changes_the_member_and_keeps_its_origin() {
    let stack = Stack::start().await;
    let first = stack.upload(roster("4", 3)).await;
    let [_, before, _] = &stack.pages("aid=4").await[0][..] else {
        panic!("three members");
    };
    let before = before.clone();
    let second = stack.upload(roster("4", 3).replace("Lee 1", "Li")).await;
    let rows = Rows {
        updated: 1,
        unchanged: 2,
        ..Rows::default()
    };
    rows.check(&second);
    let after = stack.get("/api/members/4~c000001").await.json();
    assert_eq!(after["last_name"], "Li");
    assert_eq!(after["created_at"], before["created_at"]);
    assert_eq!(
        after["created_by"],
        format!("batch:{}", text(&first["batch_id"]))
    );
    assert_eq!(
        after["updated_by"],
        format!("batch:{}", text(&second["batch_id"]))
    );
    assert!(text(&after["updated_at"]) > text(&before["updated_at"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_create_leaves_members_alone() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 30)).await;
    let before = stack.pages("aid=4").await;
    let file = roster("4", 40).replace("Ann", "Bob");
    let batch = stack.upload_with(&json!({"mode": "create"}), file).await;
    let rows = Rows {
        created: 10,
        unchanged: 30,
        ..Rows::default()
    };
    rows.check(&batch);
    let after = stack.pages("aid=4").await;
    assert_eq!(after[0][..30], before[0][..]);
    assert!(
        after[0][30..]
            .iter()
            .all(|member| member["first_name"] == "Bob")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_overwrite_writes_every_row() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 30)).await;
    let batch = stack
        .upload_with(&json!({"mode": "overwrite"}), roster("4", 40))
        .await;
    let rows = Rows {
        updated: 40,
        ..Rows::default()
    };
    rows.check(&batch);
    let author = json!(format!("batch:{}", text(&batch["batch_id"])));
    let members = stack.pages("aid=4").await;
    assert_eq!(members[0].len(), 40);
    assert!(
        members[0]
            .iter()
            .all(|member| member["updated_by"] == author)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_may_come_as_a_field_of_a_form() {
    let stack = Stack::start().await;
    let form = Form::new().part("file", part(roster("4", 26)));
    let batch = inline(&stack, post_form(&stack, form).await).await;
    Rows::created(26).check(&batch);
    assert_eq!(batch["file_name"], "members.csv");

    let file = "client_member_id,first_name,last_name,phone_number\nc000001,Bob,Lee,7142000001\nc000099,Bob,Lee,7142000099\n";
    let form = Form::new()
        .text("account_id", "4")
        .text("mode", "create")
        .text("file_name", "more.csv")
        .part("file", part(file));
    let batch = inline(&stack, post_form(&stack, form).await).await;
    let rows = Rows {
        created: 1,
        unchanged: 1,
        ..Rows::default()
    };
    rows.check(&batch);
    assert_eq!(batch["file_name"], "more.csv");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_may_name_its_parent_which_then_tells_of_it() {
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
    // What the parent's own runs write leaves them alone.
    stack.put_file(&parent, roster("4", 5)).await.expect(200);
    let ended = stack.wait_for_batch(id).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!(ended["child_batch_ids"], json!(children));
    assert_eq!(ended["parent_batch_id"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_has_so_many_children_and_no_more() {
    let stack = Stack::start().await;
    let parent = stack.open_batch(&json!({})).await;
    let options = json!({"parent_batch_id": parent["batch_id"]});
    // Many at once, so that the last place is asked for by several.
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
    let told = stack.batch(text(&parent["batch_id"])).await;
    assert_eq!(told["child_batch_ids"], json!(children));
    // What lost the race awaits nothing.
    let listed = stack.get(&format!("{BATCHES}?limit=100")).await.json();
    for batch in listed["results"].as_array().expect("a list") {
        let is_child = children.iter().any(|id| *id == batch["batch_id"]);
        let is_parent = batch["batch_id"] == parent["batch_id"];
        let stopped = batch["status"] == "cancelled";
        assert!(is_child || is_parent || stopped, "{batch:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_may_be_the_body() {
    let stack = Stack::start().await;
    for (method, account) in [(Method::POST, "4"), (Method::PUT, "5")] {
        let request = stack.request(method, &format!("{BATCHES}?file_name=members.csv"));
        let request = request
            .header(CONTENT_TYPE, "text/csv; charset=utf-8")
            .body(roster(account, 26));
        let batch = inline(&stack, send(request).await).await;
        Rows::created(26).check(&batch);
        assert_eq!(batch["file_name"], "members.csv");
    }
    let query = format!("{BATCHES}/?mode=create&account_id=4");
    let file = "cmid,first,last,phone\nc000001,Zoë,Lee,7142000001\nnew,Zoë,Lee,7142000001\n";
    let batch = inline(&stack, stack.post_text(&query, "text/csv", file).await).await;
    let rows = Rows {
        created: 1,
        unchanged: 1,
        ..Rows::default()
    };
    rows.check(&batch);
    assert_eq!(
        stack.get("/api/members/4~new").await.json()["first_name"],
        "Zoë"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_t_be_taken_in_the_body_is_refused_with_a_reason() {
    let stack = Stack::start().await;
    let latin = [HEADER.as_bytes(), b"4,1,Zo\xEB,Lee,7145550123\n"].concat();
    let problem = stack
        .post_text(BATCHES, "text/csv", latin)
        .await
        .problem(400, "malformed-body");
    assert!(text(&problem["detail"]).contains("multipart"), "{problem}");

    let no_file = post_form(&stack, Form::new().text("mode", "create")).await;
    assert_eq!(
        no_file.faults(),
        [("file".to_owned(), "required".to_owned())]
    );
    let form = Form::new()
        .text("mode", "replace")
        .part("file", part(roster("4", 1)));
    let wrong_mode = post_form(&stack, form).await;
    assert_eq!(
        wrong_mode.faults(),
        [("mode".to_owned(), "invalid_mode".to_owned())]
    );
    let query = stack
        .post_text(&format!("{BATCHES}?mod=create"), "text/csv", HEADER)
        .await;
    assert_eq!(
        query.faults(),
        [("mod".to_owned(), "unknown_field".to_owned())]
    );
    assert_eq!(
        stack.get(BATCHES).await.json()["results"],
        json!([]),
        "no batch was opened"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn four_megabytes_fit_a_body_and_a_byte_more_is_told_the_other_way() {
    let stack = Stack::start().await;
    // A file without a required column: it is what fits that matters here.
    let mut file = b"phone\n".to_vec();
    file.resize(MAX_INLINE, b'1');
    let by_form = post_form(&stack, Form::new().part("file", part(file.clone()))).await;
    let by_body = stack.post_text(BATCHES, "text/csv", file.clone()).await;
    for answer in [by_form, by_body] {
        let batch = inline(&stack, answer).await;
        assert_eq!(batch["bytes"]["total"], MAX_INLINE);
        assert_eq!(batch["problem"]["code"], "missing_column");
    }
    file.push(b'1');
    let by_form = post_form(&stack, Form::new().part("file", part(file.clone()))).await;
    let by_body = stack.post_text(BATCHES, "text/csv", file).await;
    for answer in [by_form, by_body] {
        let problem = answer.problem(413, "too-large");
        let detail = text(&problem["detail"]);
        assert!(
            detail.contains("URL") && detail.contains("4194305"),
            "{detail}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_url_takes_what_it_was_signed_for_and_nothing_else() {
    let stack = Stack::start().await;
    let file = roster("4", 5);
    let batch = stack.open_batch(&json!({"size": file.len()})).await;
    let url = text(&batch["upload"]["url"]);
    let put = |media_type: &str, body: String| {
        let request = stack.anonymous(Method::PUT, url);
        send(request.header(CONTENT_TYPE, media_type).body(body))
    };
    put("application/octet-stream", file.clone())
        .await
        .expect(403);
    put("text/csv", format!("{file}\n")).await.expect(403);
    put("text/csv", String::new()).await.expect(403);
    let untyped = stack
        .anonymous(Method::PUT, url)
        .body(Vec::from(file.as_bytes()));
    send(untyped).await.expect(403);
    send(stack.anonymous(Method::GET, url)).await.expect(403);
    send(stack.anonymous(Method::DELETE, url)).await.expect(403);
    let elsewhere = url.replace(text(&batch["batch_id"]), NOBODY);
    let other = stack
        .anonymous(Method::PUT, &elsewhere)
        .header(CONTENT_TYPE, "text/csv");
    send(other.body(file.clone())).await.expect(403);

    let now = stack.batch(text(&batch["batch_id"])).await;
    assert_eq!(now["status"], "awaiting_upload");
    stack.put_file(&batch, file).await.expect(200);
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
async fn a_batch_whose_file_has_come_is_queued_until_a_run_begins() {
    let stack = Stack::with(&without_ingest(), &[], Data::Ephemeral).await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    let file = roster("4", 5);
    stack.put_file(&opened, file.clone()).await.expect(200);
    let batch = stack.batch(&id).await;
    assert_eq!(batch["status"], "queued");
    assert_eq!(
        batch["bytes"],
        json!({"total": file.len(), "done": 0, "percent": 0.0})
    );
    let listed = stack.get(BATCHES).await.json();
    assert_eq!(listed["results"], json!([batch]));
    stack
        .get(&format!("{BATCHES}/{id}/rejects"))
        .await
        .problem(409, "conflict");

    // No run has begun, so there is nothing to wait for.
    let cancelled = stack.delete(&format!("{BATCHES}/{id}")).await;
    cancelled.expect(200);
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert!(!stack.upload_is_stored(&opened).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_cancelled_before_the_upload_deletes_a_late_one() {
    let stack = Stack::start().await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    let answer = stack.delete(&format!("{BATCHES}/{id}/")).await;
    answer.expect(200);
    assert_eq!(answer.json()["status"], "cancelled");

    stack.put_file(&opened, roster("4", 5)).await.expect(200);
    let deadline = Instant::now() + mpulse_tests::PATIENCE;
    while stack.upload_is_stored(&opened).await {
        assert!(Instant::now() < deadline, "the late upload stays");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    let batch = stack.batch(&id).await;
    assert_eq!(batch["status"], "cancelled");
    assert_eq!(batch["rows"]["read"], 0);
    let message = text(&batch["problem"]["message"]);
    assert!(message.contains("after 0 rows"), "{message}");
    assert_eq!(stack.ids("aid=4").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_batch_stops_when_cancelled_and_keeps_what_it_wrote() {
    let stack = Stack::start().await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    let people = 40_000;
    // Every hundredth row is followed by one that is refused.
    let mut file = HEADER.to_owned();
    for index in 0..people {
        file.push_str(&row("4", index));
        if index % 100 == 99 {
            writeln!(file, "4,bad{index},Ann,Lee,12").unwrap();
        }
    }
    stack.put_file(&opened, file).await.expect(200);
    stack
        .wait_until(&id, |batch| {
            count(&batch["rows"]["read"]) > 0 || has_ended(batch)
        })
        .await;
    let answer = stack.delete(&format!("{BATCHES}/{id}")).await;
    answer.expect(202);
    assert_eq!(answer.json()["status"], "cancelling");
    // Asking twice is no fault.
    let again = stack.delete(&format!("{BATCHES}/{id}")).await;
    assert!([200, 202, 409].contains(&again.status), "{}", again.text());

    let batch = stack.wait_for_batch(&id).await;
    assert_eq!(batch["status"], "cancelled");
    let [read, created, rejected] =
        ["read", "created", "rejected"].map(|name| count(&batch["rows"][name]));
    assert!(0 < read && read < people, "stopped in the middle: {read}");
    assert_eq!(read, created + rejected, "{batch:#}");
    assert_eq!(
        stack.ids("aid=4&limit=1000").await,
        roster_ids("4", created),
        "what it counted is there, and nothing else"
    );
    assert_eq!(batch["problem"]["code"], "cancelled");
    let message = text(&batch["problem"]["message"]);
    let story = format!("after {read} rows: {created} were applied");
    assert!(message.contains(&story), "{message}");
    let report = stack.get(text(&batch["links"]["rejects"])).await;
    report.expect(302);
    let report = send(stack.anonymous(Method::GET, report.header("location"))).await;
    assert_eq!(report.text().lines().count() as u64, 1 + rejected);
    assert!(!stack.upload_is_stored(&opened).await);
    stack
        .delete(&format!("{BATCHES}/{id}"))
        .await
        .problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_has_ended_can_t_be_cancelled() {
    let stack = Stack::start().await;
    let completed = stack.upload(roster("4", 1)).await;
    let rejects = stack.upload(format!("{HEADER}4,1,Ann,Lee,12\n")).await;
    let failed = stack.upload("phone\n").await;
    for (batch, status) in [
        (completed, "completed"),
        (rejects, "completed_with_rejects"),
        (failed, "failed"),
    ] {
        assert_eq!(batch["status"], status);
        let path = format!("{BATCHES}/{}", text(&batch["batch_id"]));
        stack.delete(&path).await.problem(409, "conflict");
        assert_eq!(stack.get(&path).await.json(), batch);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_nobody_opened_is_not_found() {
    let stack = Stack::start().await;
    for id in [
        NOBODY,
        "1",
        "template",
        "01ARZ3NDEKTSV4RRFFQ69G5FAVX",
        "%20",
    ] {
        let path = format!("{BATCHES}/{id}");
        stack.get(&path).await.problem(404, "not-found");
        stack.delete(&path).await.problem(404, "not-found");
        stack
            .get(&format!("{path}/rejects"))
            .await
            .problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_listed_newest_first_page_by_page() {
    let stack = Stack::start().await;
    let empty = stack.get(BATCHES).await;
    empty.expect(200);
    assert_eq!(empty.json(), json!({"next": null, "results": []}));
    let mut opened = Vec::new();
    for _ in 0..5 {
        let batch = stack.open_batch(&json!({})).await;
        opened.push(text(&batch["batch_id"]).to_owned());
        // Ids of one millisecond are in no order; an answer takes longer than that.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    opened.reverse();
    for limit in [1, 2, 4, 5, 100] {
        let mut listed = Vec::new();
        let mut url = format!("{BATCHES}?limit={limit}");
        loop {
            let answer = stack.get(&url).await;
            answer.expect(200);
            let page = answer.json();
            let results = page["results"].as_array().unwrap();
            assert!(results.len() <= limit);
            listed.extend(
                results
                    .iter()
                    .map(|batch| text(&batch["batch_id"]).to_owned()),
            );
            let Some(next) = page["next"].as_str() else {
                break;
            };
            assert_eq!(answer.header("link"), format!("<{next}>; rel=\"next\""));
            next.clone_into(&mut url);
        }
        assert_eq!(listed, opened, "{limit} a page");
    }
    let first = &stack.get(BATCHES).await.json()["results"][0];
    assert_eq!(*first, stack.batch(&opened[0]).await, "as it is told alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_batches_at_fault_names_the_parameter() {
    let stack = Stack::start().await;
    for (query, field, code) in [
        ("limit=0", "limit", "invalid_limit"),
        ("limit=101", "limit", "invalid_limit"),
        ("limit=x", "limit", "invalid_limit"),
        ("cursor=1", "cursor", "invalid_cursor"),
        ("status=failed", "status", "unknown_parameter"),
    ] {
        let answer = stack.get(&format!("{BATCHES}?{query}")).await;
        assert_eq!(
            answer.faults(),
            [(field.to_owned(), code.to_owned())],
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_can_be_fetched_and_uploaded_as_it_is() {
    let stack = Stack::start().await;
    let answer = stack.get("/api/members/batch/template.csv").await;
    answer.expect(200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"template.csv\""
    );
    assert!(answer.text().starts_with(HEADER.trim_end()));
    Rows::created(1).check(&stack.upload(answer.body.clone()).await);
    assert_eq!(
        stack.get("/api/members/4~5622780").await.json()["first_name"],
        "Zoë"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_uploads_at_once_are_each_exact() {
    let stack = Stack::start().await;
    let mut opened = Vec::new();
    for index in 0..10 {
        let batch = stack.open_batch(&json!({})).await;
        stack
            .put_file(&batch, roster(&format!("a{index}"), 300))
            .await
            .expect(200);
        opened.push(batch);
    }
    for (index, batch) in opened.iter().enumerate() {
        Rows::created(300).check(&stack.wait_for_batch(text(&batch["batch_id"])).await);
        let account = format!("a{index}");
        assert_eq!(
            stack.ids(&format!("aid={account}&limit=1000")).await,
            roster_ids(&account, 300)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_file_to_the_same_url_after_the_end_changes_nothing() {
    let stack = Stack::start().await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    stack.put_file(&opened, roster("4", 2)).await.expect(200);
    let ended = stack.wait_for_batch(&id).await;
    Rows::created(2).check(&ended);
    stack
        .put_file(&opened, format!("{}{}", roster("4", 2), row("4", 3)))
        .await
        .expect(200);
    let deadline = Instant::now() + mpulse_tests::PATIENCE;
    while stack.upload_is_stored(&opened).await {
        assert!(Instant::now() < deadline, "the late upload stays");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(stack.batch(&id).await, ended);
    assert_eq!(stack.ids("aid=4").await, roster_ids("4", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_sent_twice_is_read_once() {
    // A client that lost the answer sends again; no run has begun in between.
    let folder = tempfile::tempdir().unwrap();
    let data = || Data::Folder(folder.path().join("data"));
    let stack = Stack::with(&without_ingest(), &[], data()).await;
    let opened = stack.open_batch(&json!({})).await;
    for _ in 0..2 {
        stack.put_file(&opened, roster("4", 30)).await.expect(200);
    }
    stack.machine.stop().await;

    let stack = Stack::with(BUILT_IN_TEMPLATE, &[], data()).await;
    let batch = stack.wait_for_batch(text(&opened["batch_id"])).await;
    Rows::created(30).check(&batch);
    assert_eq!(batch["attempts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_written_after_the_upload_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let data = || Data::Folder(folder.path().join("data"));
    let stack = Stack::with(&without_ingest(), &[], data()).await;
    let opened = stack.open_batch(&json!({})).await;
    stack.put_file(&opened, roster("4", 30)).await.expect(200);
    let newer = json!({
        "account_id": "4", "client_member_id": client_id(7), "first_name": "Zoë",
        "last_name": "Lee", "phone_number": "7145550123",
    });
    let answer = stack.post("/api/members/", &newer).await;
    answer.expect(201);
    let newer = answer.json();
    stack.machine.stop().await;

    let stack = Stack::with(BUILT_IN_TEMPLATE, &[], data()).await;
    let batch = stack.wait_for_batch(text(&opened["batch_id"])).await;
    assert_eq!(batch["status"], "completed");
    assert_eq!(
        batch["rows"],
        json!({"read": 30, "created": 29, "updated": 0, "unchanged": 0, "superseded": 1, "rejected": 0})
    );
    assert_eq!(stack.get("/api/members/4~c000007").await.json(), newer);
    assert_eq!(stack.ids("aid=4").await, roster_ids("4", 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_between_two_runs_fails_the_batch() {
    let short = BUILT_IN_TEMPLATE
        .replace("      Timeout: 900\n", "      Timeout: 2\n")
        .replace("VisibilityTimeout: 930", "VisibilityTimeout: 8");
    assert_ne!(short, BUILT_IN_TEMPLATE);
    let stack = Stack::with(&short, &[], Data::Ephemeral).await;
    let opened = stack.open_batch(&json!({})).await;
    let id = text(&opened["batch_id"]).to_owned();
    let people = 40_000;
    stack
        .put_file(&opened, roster("4", people))
        .await
        .expect(200);
    // Until a run has begun and stopped: its message comes back later than the new file's.
    let (mut read, mut since) = (0, Instant::now());
    while read == 0 || since.elapsed() < Duration::from_millis(1200) {
        let now = count(&stack.batch(&id).await["rows"]["read"]);
        if now != read {
            (read, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    // Of the same length, so that only its content tells.
    stack
        .put_file(&opened, roster("5", people))
        .await
        .expect(200);
    let batch = stack.wait_for_batch(&id).await;
    assert!(count(&batch["attempts"]) > 1, "{batch:#}");
    let of_the_second = stack.ids("aid=5&limit=1000").await.len();
    assert_eq!(
        of_the_second, 0,
        "two files are not taken for one: {batch:#}"
    );
    assert_eq!(batch["problem"]["code"], "file_replaced", "{batch:#}");
    assert_eq!(batch["status"], "failed", "{batch:#}");
    // What was counted and not written yet can't be read any more.
    let written = stack.ids("aid=4&limit=1000").await.len() as u64;
    let counted = count(&batch["rows"]["read"]);
    assert!(
        0 < written && written <= counted,
        "{written} of {counted}, {read} of them before"
    );
}
