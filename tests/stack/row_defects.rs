//! Rows and files with a defect, one of each kind, and how they are handled: the tables in
//! docs/files.md, as a test.

use std::fmt::Write;

use mpulse_tests::{HEADER, Rows, Stack, roster_ids, row, send, text};
use reqwest::Method;
use serde_json::{Value, json};

use crate::direct_ingest::codes;

/// Returns the report of a batch.
async fn report(stack: &Stack, batch: &Value) -> String {
    let path = format!("/api/members/batch/{}/rejects", text(&batch["batch_id"]));
    let answer = stack.get(&path).await;
    answer.expect(302);
    let location = answer.header("location").to_owned();
    let file = send(stack.anonymous(Method::GET, &location)).await;
    file.expect(200);
    let text = file.text().strip_prefix('\u{FEFF}');
    text.expect("the mark of UTF-8").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_a_defect_is_rejected_with_line_and_reason() {
    let stack = Stack::start().await;
    for (bad, code, said) in [
        (
            "4,x,Ann,Lee".as_bytes(),
            "wrong_field_count",
            "has 4 fields; the header has 5",
        ),
        (
            b"4,x,Ann,Lee,7145550123,x",
            "wrong_field_count",
            "has 6 fields; the header has 5",
        ),
        (
            b"4,x,Jos\xE9,Lee,7145550123",
            "not_utf8",
            "first_name is not UTF-8",
        ),
        (
            b"4,x,Ann,Mu\xF1oz,7145550123",
            "not_utf8",
            "last_name is not UTF-8",
        ),
        (
            b"4,x,Jos\xE9,Mu\xF1oz,12",
            "not_utf8",
            "first_name is not UTF-8; last_name is not UTF-8",
        ),
        (
            b"4,x,Ann \"Al,Lee,7145550123",
            "stray_quote",
            "first_name contains a quote",
        ),
        (
            b"4,x,\"Ann\" B,Lee,7145550123",
            "stray_quote",
            "first_name contains a quote",
        ),
        (b"4,x,Ann,\"Lee,7145550123", "stray_quote", "opens a quote"),
        (
            b"4,x,\"Ann\nMarie\",Lee,7145550123",
            "control_character",
            "first_name",
        ),
        (
            b"4,x,A\0nn,Lee,7145550123",
            "control_character",
            "first_name",
        ),
        (
            b"4,x,A\tnn,Lee,7145550123",
            "control_character",
            "first_name",
        ),
        (
            b"4,x\0,Ann,Lee,7145550123",
            "invalid_client_member_id",
            "client_member_id",
        ),
        (b"4,x,Ann,Lee,=1+1", "invalid_phone", "phone_number"),
        (
            b"4,x,Ann,Lee,0000000000",
            "placeholder_phone",
            "phone_number",
        ),
        (b"4,x,Ann,Lee, ", "required", "phone_number is required"),
    ] {
        let shown = String::from_utf8_lossy(bad);
        let (before, after) = (row("4", 0), row("4", 1));
        let parts = [
            HEADER.as_bytes(),
            before.as_bytes(),
            bad,
            b"\n",
            after.as_bytes(),
        ];
        let options = json!({"mode": "overwrite"});
        let batch = stack.upload_with(&options, parts.concat()).await;
        let rows = Rows {
            updated: 2,
            rejected: 1,
            ..Rows::default()
        };
        rows.check(&batch);
        let report = report(&stack, &batch).await;
        assert_eq!(codes(&report)[0], code, "{shown}: {report}");
        let line = report.lines().nth(1).expect("a reject");
        assert!(
            line.starts_with("3,") && line.contains(said),
            "{shown}: {line}"
        );
    }
    assert_eq!(stack.ids("aid=4").await, roster_ids("4", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_only_resembles_a_defect_is_accepted() {
    let stack = Stack::start().await;
    let file = "account_id,client_member_id,first_name,last_name,phone_number,notes,\r\n\
                4,007, =cmd|' /C calc'!A0 ,+Lee,(714) 555-0123,\"two\r\nlines, and a comma\",\r\n\
                \r\n\
                4,7,\"Ann \"\"Al\"\"\",\"Lee\" ,714.555.0124,5\" pipe,\r\n\
                4,8,@Bo,-,7145550125,Jos\u{FFFD},\r\n";
    // Bytes that are not UTF-8 in an ignored column are accepted.
    let file: Vec<u8> = file.as_bytes().to_vec();
    let at = file
        .windows(3)
        .position(|w| w == "\u{FFFD}".as_bytes())
        .expect("it is there");
    let file = [&file[..at], b"\xE9", &file[at + 3..]].concat();
    let batch = stack.upload(file).await;
    Rows::created(3).check(&batch);
    assert_eq!(batch["ignored_columns"], json!(["notes"]));
    let zeros = stack.get("/api/members/4~007").await.json();
    assert_eq!(
        zeros["client_member_id"], "007",
        "zeros are kept: an id is text"
    );
    assert_eq!(
        zeros["first_name"], "=cmd|' /C calc'!A0",
        "a formula is text, too"
    );
    assert_eq!(zeros["last_name"], "+Lee");
    let quoted = stack.get("/api/members/4~7").await.json();
    assert_eq!(quoted["first_name"], "Ann \"Al\"");
    assert_eq!(quoted["last_name"], "Lee");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_rejected_rows_only_of_sizes_around_a_request_are_exact() {
    let stack = Stack::start().await;
    for rows in [1, 24, 25, 26, 99, 100, 101] {
        let header = "line,code,message,account_id,client_member_id,first_name,last_name,\
                      phone_number,raw\r\n";
        let (mut file, mut wanted) = (HEADER.to_owned(), header.to_owned());
        for index in 0..rows {
            let line = index + 2;
            writeln!(file, "4,{index},Ann,Lee,").expect("a string");
            let reject =
                format!("{line},required,phone_number is required,4,{index},Ann,Lee,,\r\n");
            wanted.push_str(&reject);
        }
        let batch = stack.upload(file).await;
        let counted = Rows {
            rejected: rows,
            ..Rows::default()
        };
        counted.check(&batch);
        assert_eq!(report(&stack, &batch).await, wanted);
    }
    assert_eq!(stack.ids("").await, [""; 0]);
}
