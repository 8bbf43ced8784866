//! Bodies as clients send them: compressed, with a mark, in a media type based on JSON; and parameters that are given twice.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use mpulse_tests::{Answer, Rows, Stack, roster, send, text};
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::body_uploads::inline;

const MEMBERS: &str = "/api/members";
const BATCHES: &str = "/api/members/batch";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=x";

fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_ref()).expect("memory");
    encoder.finish().expect("memory")
}

/// A member as JSON.
fn member(client_id: &str) -> String {
    format!(
        r#"{{"account_id": "4", "client_member_id": "{client_id}", "first_name": "Zoë",
            "last_name": "Lee", "phone_number": "7145550123"}}"#
    )
}

/// The fields of a body, as a form in parts.
fn multipart(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    fields.iter().map(part).collect::<String>() + "--x--\r\n"
}

/// Sends a compressed body, as an admin.
async fn post_gzip(stack: &Stack, path: &str, media_type: &str, body: Vec<u8>) -> Answer {
    let request = stack.request_as(&stack.admin, Method::POST, path);
    let request = request.header(CONTENT_TYPE, media_type);
    send(request.header(CONTENT_ENCODING, "gzip").body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_may_be_compressed() {
    let stack = Stack::start().await;
    let form = "account_id=4&client_member_id=form&first_name=Zo%C3%AB&last_name=Lee&phone_number=7145550123";
    let parts = multipart(&[
        ("account_id", "4"),
        ("client_member_id", "parts"),
        ("first_name", "Zoë"),
        ("last_name", "Lee"),
        ("phone_number", "7145550123"),
    ]);
    for (media_type, body) in [
        (JSON, member("json")),
        (FORM, form.to_owned()),
        (MULTIPART, parts),
    ] {
        let answer = post_gzip(&stack, MEMBERS, media_type, gzip(body)).await;
        answer.expect(201);
        assert_eq!(answer.json()["first_name"], "Zoë", "{media_type}");
    }
    let patch = stack.request(Method::PATCH, "/api/members/4~json");
    let patch = patch
        .header(CONTENT_TYPE, JSON)
        .header(CONTENT_ENCODING, "gzip")
        .body(gzip(r#"{"first_name": "Bea"}"#));
    let changed = send(patch).await;
    changed.expect(200);
    assert_eq!(changed.json()["first_name"], "Bea");
    let key = gzip(r#"{"key_id": "packed", "role": "reader"}"#);
    post_gzip(&stack, "/api/keys", JSON, key).await.expect(201);
    let batch = post_gzip(&stack, BATCHES, JSON, gzip(r#"{"file_name": "a.csv"}"#)).await;
    batch.expect(201);
    assert_eq!(batch.json()["file_name"], "a.csv");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_body_may_be_compressed() {
    let stack = Stack::start().await;
    let as_text = post_gzip(&stack, BATCHES, "text/csv", gzip(roster("4", 26))).await;
    Rows::created(26).check(&inline(&stack, as_text).await);
    let head = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\n";
    let form = format!("{head}{}\r\n--x--\r\n", roster("5", 26));
    let as_field = post_gzip(&stack, BATCHES, MULTIPART, gzip(form)).await;
    let batch = inline(&stack, as_field).await;
    Rows::created(26).check(&batch);
    assert_eq!(batch["file_name"], "a.csv");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_grows_beyond_its_limit_is_too_large() {
    let stack = Stack::start().await;
    let fields = gzip(format!("{{\"x\": \"{}\"}}", "y".repeat(64 * 1024)));
    let file = gzip("x\n".repeat(2 * 1024 * 1024 + 1));
    let bomb = gzip(vec![b'x'; 20 * 1024 * 1024]);
    for (path, media_type, body) in [
        (MEMBERS, JSON, &fields),
        (MEMBERS, FORM, &bomb),
        (BATCHES, JSON, &fields),
        (BATCHES, "text/csv", &bomb),
        (BATCHES, MULTIPART, &bomb),
        ("/api/keys", JSON, &bomb),
    ] {
        let answer = post_gzip(&stack, path, media_type, body.clone()).await;
        answer.problem(413, "too-large");
    }
    // It fits after decompression, but not as a file in a body.
    let problem = post_gzip(&stack, BATCHES, "text/csv", file).await;
    let problem = problem.problem(413, "too-large");
    assert!(text(&problem["detail"]).contains("URL"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_coding_or_a_damaged_body_is_rejected() {
    let stack = Stack::start().await;
    for path in [MEMBERS, BATCHES, "/api/keys"] {
        let request = stack.request_as(&stack.admin, Method::POST, path);
        let request = request.header(CONTENT_TYPE, JSON);
        let answer = send(request.header(CONTENT_ENCODING, "br").body("x")).await;
        answer.problem(415, "content-coding");
        assert_eq!(answer.header("accept-encoding"), "gzip");
        let mut damaged = gzip(member("1"));
        damaged.truncate(20);
        for body in [damaged, member("1").into_bytes()] {
            let answer = post_gzip(&stack, path, JSON, body).await;
            let problem = answer.problem(400, "malformed-body");
            let detail = text(&problem["detail"]);
            assert!(detail.contains("gzip"), "{detail}");
        }
    }
    let identity = stack.request(Method::POST, MEMBERS);
    let identity = identity
        .header(CONTENT_TYPE, JSON)
        .header(CONTENT_ENCODING, "identity")
        .body(member("1"));
    send(identity).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_may_have_a_mark_and_a_media_type_of_its_own() {
    let stack = Stack::start().await;
    for (client_id, media_type) in [
        ("mark", JSON),
        ("acme", "application/vnd.acme.member+json; charset=utf-8"),
        ("ld", "application/ld+json"),
    ] {
        let body = format!("\u{FEFF}{}", member(client_id));
        let answer = stack.post_text(MEMBERS, media_type, body).await;
        answer.expect(201);
        assert_eq!(answer.json()["id"], format!("4~{client_id}"));
    }
    let body = "\u{FEFF}{\"file_name\": \"a.csv\"}";
    let batch = stack.post_text(BATCHES, "application/hal+json", body).await;
    batch.expect(201);
    assert_eq!(batch.json()["file_name"], "a.csv");
    let key = stack.request_as(&stack.admin, Method::POST, "/api/keys");
    let key = key
        .header(CONTENT_TYPE, "application/vnd.acme.key+json")
        .body("\u{FEFF}{\"key_id\": \"k\", \"role\": \"reader\"}");
    send(key).await.expect(201);
    for media_type in ["application/json-patch+json", "text/x+json"] {
        let answer = stack.post_text(MEMBERS, media_type, member("x")).await;
        answer.problem(415, "media-type");
    }
}

/// Checks that a response names these fields as repeated.
#[track_caller]
fn repeated(answer: &Answer, names: &[&str]) {
    let wanted = names
        .iter()
        .map(|name| ((*name).to_owned(), "repeated".to_owned()));
    assert_eq!(answer.faults(), wanted.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_given_twice_is_an_error() {
    let stack = Stack::start().await;
    for (query, names) in [
        ("/api/members?aid=4&aid=4", ["aid"].as_slice()),
        (
            "/api/members?limit=1&aid=4&limit=2&aid=5",
            &["aid", "limit"],
        ),
        ("/api/members?aid=4&account_id=5", &["aid"]),
        ("/api/members/batch?limit=1&limit=1", &["limit"]),
        ("/api/members/batch/x/parts?from=1&from=2", &["from"]),
        (
            "/api/members/batch/x/rejects?format=csv&format=xlsx",
            &["format"],
        ),
    ] {
        repeated(&stack.get(query).await, names);
    }
    let created = stack
        .post_text(
            &format!("{BATCHES}?mode=create&mode=upsert"),
            "text/csv",
            "x",
        )
        .await;
    repeated(&created, &["mode"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_given_twice_is_an_error_in_every_kind_of_body() {
    let stack = Stack::start().await;
    let json = r#"{"account_id": "4", "last_name": "A", "account_id": "4"}"#;
    let form = "account_id=4&last_name=A&account_id=4";
    let parts = multipart(&[("account_id", "4"), ("last_name", "A"), ("account_id", "4")]);
    for (media_type, body) in [(JSON, json), (FORM, form), (MULTIPART, &parts)] {
        let answer = stack.post_text(MEMBERS, media_type, body.to_owned()).await;
        repeated(&answer, &["account_id"]);
    }
    let key = stack.request_as(&stack.admin, Method::POST, "/api/keys");
    let key = key
        .header(CONTENT_TYPE, JSON)
        .body(r#"{"key_id": "k", "role": "reader", "role": "admin"}"#);
    repeated(&send(key).await, &["role"]);

    let json = stack
        .post_text(BATCHES, JSON, r#"{"mode": "create", "mode": "upsert"}"#)
        .await;
    repeated(&json, &["mode"]);
    let twice = multipart(&[("file", "x"), ("mode", "create"), ("mode", "create")]);
    let parts = stack.post_text(BATCHES, MULTIPART, twice).await;
    repeated(&parts, &["mode"]);
    let two_files = multipart(&[("file", "x"), ("file", "y")]);
    let parts = stack.post_text(BATCHES, MULTIPART, two_files).await;
    repeated(&parts, &["file"]);

    let inner = r#"{"columns": {"a": "phone_number", "a": null}}"#;
    let problem = stack.post_text(BATCHES, JSON, inner).await;
    let problem = problem.problem(400, "malformed-body");
    assert!(text(&problem["detail"]).contains("\"a\""), "{problem}");
    let columns = multipart(&[("file", "x"), ("columns", r#"{"a": null, "a": null}"#)]);
    let parts = stack.post_text(BATCHES, MULTIPART, columns).await;
    assert_eq!(
        parts.faults(),
        [("columns".to_owned(), "invalid_columns".to_owned())]
    );
}
