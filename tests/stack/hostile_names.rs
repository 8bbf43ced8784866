//! Names that could be taken for something else: paths, markup, formulas, header lines, text in the other direction. They are
//! stored and returned as text, or rejected, and never become a path, a header or a part of a message's layout.

use mpulse_local::Data;
use mpulse_tests::{HEADER, Stack, packed, send, text};
use reqwest::Method;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};

/// Names of files that are accepted as they are.
const NAMES: [&str; 12] = [
    "../../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/passwd",
    "C:\\Users\\x.csv",
    "a\"; filename=\"b.exe",
    "<img src=x onerror=alert(1)>.csv",
    "'; DROP TABLE members; --.csv",
    "=cmd|' /C calc'!A0",
    "report\u{202E}vsc.exe",
    "%2e%2e%2f%00.csv",
    "${jndi:ldap://x}.csv",
    "\u{1F4A9}\u{FEFF}.csv",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_file_name_is_only_text() {
    let stack = Stack::start().await;
    let longest = "ä".repeat(255);
    for name in NAMES.into_iter().chain([longest.as_str()]) {
        let file = format!("{HEADER}4,1,,,\n");
        let batch = stack.upload_with(&json!({"file_name": name}), file).await;
        assert_eq!(batch["file_name"], name);
        assert_eq!(batch["status"], "completed_with_rejects", "{batch:#}");
        let list = stack.get("/api/members/batch?limit=1").await;
        assert_eq!(list.json()["results"][0]["file_name"], name);
        assert_eq!(list.header("content-type"), "application/json");
        // A report is named by its batch.
        let id = text(&batch["batch_id"]);
        let report = stack.get(&format!("/api/members/batch/{id}/rejects")).await;
        report.expect(302);
        let url = report.header("location").to_owned();
        let report = send(stack.anonymous(Method::GET, &url)).await;
        report.expect(200);
        let expected = format!("attachment; filename=\"rejects-{id}.csv\"");
        assert_eq!(report.headers[CONTENT_DISPOSITION], expected);
    }
    for name in [
        "a\0b",
        "a\nb",
        "a\r\nset-cookie: x",
        "a\u{85}b",
        &"ä".repeat(256),
    ] {
        let answer = stack
            .post("/api/members/batch", &json!({"file_name": name}))
            .await;
        assert_eq!(
            answer.faults(),
            [("file_name".to_owned(), "invalid_file_name".to_owned())],
            "{name:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_name_in_a_form_is_only_text() {
    let stack = Stack::start().await;
    let send_named = async |disposition: &str| {
        let body = format!(
            "--b\r\ncontent-disposition: form-data; {disposition}\r\n\r\n{HEADER}\r\n--b--\r\n"
        );
        let request = stack.request(Method::POST, "/api/members/batch");
        send(
            request
                .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
                .body(body),
        )
        .await
    };
    for (disposition, name) in [
        ("name=file; filename=\"../../x.csv\"", "../../x.csv"),
        ("name=\"file\"; filename=\"<b>x</b>.csv\"", "<b>x</b>.csv"),
        (
            "name=\"file\"; filename=\"a%00%0d%0ab.csv\"",
            "a%00%0d%0ab.csv",
        ),
        ("name=\"file\"; filename=\"a;b.csv\"", "a;b.csv"),
        (
            "name=\"file\"; filename=\"\u{202E}vsc.csv\"",
            "\u{202E}vsc.csv",
        ),
    ] {
        let answer = send_named(disposition).await;
        answer.expect(202);
        assert_eq!(answer.json()["file_name"], name, "{disposition}");
    }
    for disposition in [
        "name=\"file\"; filename=\"a\0b.csv\"",
        "name=\"file\"; filename=\"a\u{1}b.csv\"",
        "name=\"../file\"; filename=\"x.csv\"",
        "name=\"file\u{202E}\"; filename=\"x.csv\"",
        &format!("name=\"file\"; filename=\"{}\"", "x".repeat(300)),
    ] {
        let answer = send_named(disposition).await;
        answer.expect(400);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_a_file_are_shown_shortened_and_visible() {
    let stack = Stack::start().await;
    let (long, hidden) = ("x".repeat(60_000), "a\u{202E}b\u{7}.csv");
    let slip = "../../../../tmp/slip.csv";
    let rows = format!("{HEADER}4,1,Ann,Lee,7145550123\n");
    let absolute = packed::zip(&[("/etc/roster.csv", rows.as_bytes())]);
    assert_eq!(stack.upload(absolute).await["status"], "completed");
    // Files in hidden folders are what operating systems add, and `..` counts as one.
    let relative = packed::zip(&[(slip, rows.as_bytes())]);
    assert_eq!(stack.upload(relative).await["problem"]["code"], "no_file");
    let several = packed::zip(&[(slip, b"x"), (&long, b"x"), (hidden, b"x"), ("<b>", b"x")]);
    let workbook = packed::workbook(&rows);
    let header = format!("{long},{hidden},<b>\n1,2,3\n");
    for (file, options, code, shown) in [
        (
            several,
            json!({}),
            "several_files",
            &format!("{}…, a\u{FFFD}b\u{FFFD}.csv, <b>. Send", "x".repeat(60)),
        ),
        (
            header.into_bytes(),
            json!({}),
            "missing_column",
            &format!("{}…, a\u{FFFD}b\u{FFFD}.csv, <b>. Rename", "x".repeat(60)),
        ),
        (
            workbook,
            json!({"sheet": "<b>"}),
            "unknown_sheet",
            &"\"<b>\"".to_owned(),
        ),
    ] {
        let batch = stack.upload_with(&options, file).await;
        assert_eq!(batch["problem"]["code"], code, "{batch:#}");
        let message = text(&batch["problem"]["message"]);
        assert!(message.contains(shown), "{message}");
        assert!(message.chars().count() < 1000, "{}", message.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_leaves_the_folder_of_its_bucket() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data::Folder(folder.path().join("data"));
    let stack = Stack::with(mpulse_local::BUILT_IN_TEMPLATE, &[], data).await;
    let setup = stack.local_stack.setup();
    let bucket = setup.required("FILES_BUCKET").expect("a bucket");
    let s3 = setup.s3().expect("a client");
    let names = ["s3".to_owned(), bucket.to_owned()];
    let inside = format!("../../{}", names.join("/"));
    let long = format!("uploads/{}", "x".repeat(300));
    let mut stored = 0;
    for key in [
        "../escaped",
        "../../escaped",
        "../../../escaped",
        "uploads/../../escaped",
        "uploads/../../../escaped",
        "..",
        ".",
        "/escaped",
        "//escaped",
        "a//b",
        "a/./b",
        "a/../b",
        "../mpulse-staging/x",
        &format!("{inside}/x"),
        "..\\escaped",
        "uploads\\..\\..\\escaped",
        "%2e%2e/escaped",
        "%2e%2e%2fescaped",
        "uploads/%252e%252e%252fescaped",
        "uploads/a\0b",
        "uploads/a\nb",
        "uploads/a\u{202E}b",
        "uploads/\"a\" <b>&'c'",
        "uploads/a?b#c",
        &long,
        "...",
        "....//escaped",
        "uploads/..a",
        "C:\\escaped",
        "uploads/\u{2024}\u{2024}/escaped",
    ] {
        let put = s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(key.as_bytes().to_vec().into());
        if put.send().await.is_err() {
            let got = s3.get_object().bucket(bucket).key(key).send().await;
            assert!(got.is_err(), "{key:?}");
            continue;
        }
        stored += 1;
        let got = s3
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .expect("what was stored");
        let content = got.body.collect().await.expect("its content").to_vec();
        assert_eq!(content, key.as_bytes(), "{key:?}");
    }
    assert!(stored > 5, "{stored}");
    let beside = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(beside, 1, "nothing beside the data folder");
    for entry in std::fs::read_dir(folder.path().join("data/s3")).expect("a folder") {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        let is_expected = name.starts_with('.') || name == bucket || name == "mpulse-staging";
        assert!(is_expected, "{name}");
    }
    let data: Vec<String> = std::fs::read_dir(folder.path().join("data"))
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert!(
        !data.iter().any(|name| name.contains("escaped")),
        "{data:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_is_for_its_object_only() {
    let stack = Stack::start().await;
    let (batch, other) = (
        stack.open_batch(&json!({})).await,
        stack.open_batch(&json!({})).await,
    );
    let (id, other) = (text(&batch["batch_id"]), text(&other["batch_id"]));
    let url = text(&batch["upload"]["url"]);
    let put = async |url: &str| {
        let request = stack
            .anonymous(Method::PUT, url)
            .header(CONTENT_TYPE, "text/csv");
        send(request.body("x")).await.status
    };
    for forged in [
        url.replace(id, other),
        url.replace("uploads/", "uploads/../rejects/"),
        url.replace("uploads/", "uploads/%2e%2e/rejects/"),
        url.replace("uploads/", "rejects/"),
        url.replace("uploads/", "/uploads/"),
        url.replace("uploads/", "%75ploads/x/"),
        url.replace("X-Amz-Expires=3600", "X-Amz-Expires=360000"),
        url.replace("X-Amz-Signature=", "X-Amz-Signature=0"),
        url.replace("X-Amz-Credential=", "X-Amz-Credential=x"),
        url.split('?').next().expect("a path").to_owned(),
    ] {
        assert_ne!(forged, url);
        assert!([400, 403].contains(&put(&forged).await), "{forged}");
    }
    for method in [Method::GET, Method::DELETE, Method::HEAD, Method::POST] {
        let status = send(stack.anonymous(method.clone(), url)).await.status;
        assert!([400, 403, 405].contains(&status), "{method}: {status}");
    }
    assert_eq!(put(url).await, 200);
    let batches: Value = stack.get("/api/members/batch").await.json();
    let states: Vec<&str> = batches["results"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["batch_id"] == other)
        .map(|one| text(&one["status"]))
        .collect();
    assert_eq!(states, ["awaiting_upload"]);
}
