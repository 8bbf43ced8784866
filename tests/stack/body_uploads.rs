//! A small file in the body of the request that creates its batch.

use mpulse_tests::{Answer, HEADER, Rows, Stack, roster, send, text};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

const BATCHES: &str = "/api/members/batch";

/// The largest file in a body.
const MAX_INLINE: usize = 4 * 1024 * 1024;

/// Checks the response that creates a batch for a file in the body, and waits for its end.
pub async fn inline(stack: &Stack, answer: Answer) -> Value {
    answer.expect(202);
    let batch = answer.json();
    let location = format!(
        "{}{BATCHES}/{}",
        stack.local_stack.api_url(),
        text(&batch["batch_id"])
    );
    assert_eq!(answer.header("location"), location);
    assert_eq!(batch["status"], "queued");
    assert!(batch.get("upload").is_none(), "nothing is left to send");
    stack.wait_for_batch(text(&batch["batch_id"])).await
}

/// Returns a file as a part of a form.
pub fn part(content: impl Into<Vec<u8>>) -> Part {
    Part::bytes(content.into()).file_name("members.csv")
}

/// Sends a form that creates a batch.
pub async fn post_form(stack: &Stack, form: Form) -> Answer {
    send(stack.request(Method::POST, BATCHES).multipart(form)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_may_be_a_form_field() {
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
async fn an_unsupported_file_in_the_body_is_rejected_with_a_reason() {
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
        .text("mode", "revert")
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
async fn four_megabytes_fit_a_body_and_a_byte_more_needs_an_upload_url() {
    let stack = Stack::start().await;
    // A file without a required column: only its size matters here.
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
