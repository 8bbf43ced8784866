//! `/api/members/batch/{id}/rejects`: the report of rejected rows.

use std::fmt::Write;

use mpulse_shared::batch::{Batch, BatchRequest, Status};
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::batches::Batches;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{HEADER, Rows, Stack, roster_ids, row, send, text};
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

fn path(batch: &Value) -> String {
    format!("/api/members/batch/{}/rejects", text(&batch["batch_id"]))
}

/// Downloads the report of a batch as a browser would: by a redirect, and without the key.
async fn report(stack: &Stack, batch: &Value) -> String {
    let answer = stack.get(&path(batch)).await;
    answer.expect(302);
    let location = answer.header("location").to_owned();
    let file = send(stack.anonymous(Method::GET, &location)).await;
    file.expect(200);
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    let name = format!(
        "attachment; filename=\"rejects-{}.csv\"",
        text(&batch["batch_id"])
    );
    assert_eq!(file.header("content-disposition"), name);
    let text = file.text().strip_prefix('\u{FEFF}');
    text.expect("the mark of UTF-8").to_owned()
}

fn rejects(rejected: u64) -> Rows {
    Rows {
        rejected,
        ..Rows::default()
    }
}

/// Valid rows, so many that an invalid one is among others.
fn good(from: u64, to: u64) -> String {
    (from..to).map(|index| row("4", index)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_invalid_row_is_rejected_with_its_line_and_code() {
    let stack = Stack::start().await;
    let long_name = "x".repeat(101);
    let long_row = format!("4,x,{},Lee,7145550123", "x".repeat(64 * 1024));
    let long_id = format!("4,{},Ann,Lee,7145550123", "1".repeat(65));
    let long = format!("4,x,{long_name},Lee,7145550123");
    for (bad, code) in [
        ("4,x,Ann,Lee".as_bytes(), "wrong_field_count"),
        (b"4,x,Ann,Lee,7145550123,more", "wrong_field_count"),
        (b"just some words", "wrong_field_count"),
        (b"4,x,Ann\xFF,Lee,7145550123", "not_utf8"),
        (b"4,x,Ann,Lee,\xE9", "not_utf8"),
        (long_row.as_bytes(), "row_too_long"),
        (b",x,Ann,Lee,7145550123", "required"),
        (b"4 4,x,Ann,Lee,7145550123", "invalid_account_id"),
        (b"4,,Ann,Lee,7145550123", "required"),
        (b"4,x\x7Fy,Ann,Lee,7145550123", "invalid_client_member_id"),
        (long_id.as_bytes(), "invalid_client_member_id"),
        (b"4,x, ,Lee,7145550123", "required"),
        (b"4,x,A\x07,Lee,7145550123", "control_character"),
        (long.as_bytes(), "too_long"),
        (b"4,x,Ann,Lee,", "required"),
        (b"4,x,Ann,Lee,12", "invalid_phone"),
        (b"4,x,Ann,Lee,0000000000", "placeholder_phone"),
    ] {
        let shown = String::from_utf8_lossy(&bad[..bad.len().min(60)]).into_owned();
        // Half of the rows are before it and half after.
        let (before, after) = (good(0, 3), good(3, 6));
        let file = [
            HEADER.as_bytes(),
            before.as_bytes(),
            bad,
            b"\n",
            after.as_bytes(),
        ]
        .concat();
        let batch = stack.upload_with(&json!({"mode": "overwrite"}), file).await;
        let rows = Rows {
            updated: 6,
            rejected: 1,
            ..Rows::default()
        };
        rows.check(&batch);
        let report = report(&stack, &batch).await;
        let mut lines = report.lines();
        let header = format!("line,code,message,{},raw", HEADER.trim_end());
        assert_eq!(lines.next(), Some(header.as_str()), "{shown}");
        let line = lines.next().expect("a reject");
        assert!(
            line.starts_with(&format!("5,{code},")),
            "{shown}: {line:.200}"
        );
        assert_eq!(lines.next(), None, "{shown}");
    }
    assert_eq!(stack.ids("aid=4").await, roster_ids("4", 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_has_line_code_message_and_the_file_s_own_columns() {
    let stack = Stack::start().await;
    let file = "Phone;Member ID;notes;First Name;Last Name;Account\r\n\
                12;1;\"a \"\"b\"\", c\";Ann;Lee;4\r\n\
                7145550123;2;;Bob;Lee;4\r\n\
                \r\n\
                7145550123;3;\"two\r\nlines\";;;4\r\n\
                7145550123;4\r\n";
    let batch = stack.upload(file).await;
    let rows = Rows {
        created: 1,
        rejected: 3,
        ..Rows::default()
    };
    rows.check(&batch);
    assert_eq!(batch["ignored_columns"], json!(["notes"]));
    let link = format!("{}{}", stack.local_stack.api_url(), path(&batch));
    assert_eq!(batch["links"]["rejects"], link);
    assert_eq!(
        report(&stack, &batch).await,
        "line,code,message,Phone,Member ID,notes,First Name,Last Name,Account,raw\r\n\
         2,invalid_phone,phone_number is too short for its country,12,1,\"a \"\"b\"\", c\",Ann,Lee,4,\r\n\
         5,required,first_name is required; last_name is required,7145550123,3,\"two\r\nlines\",,,4,\r\n\
         7,wrong_field_count,has 2 fields; the header has 6,,,,,,,7145550123;4\r\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_fit_is_shown_up_to_a_thousand_characters() {
    let stack = Stack::start().await;
    let long = "é".repeat(3000);
    let batch = stack.upload(format!("{HEADER}{long}\n")).await;
    rejects(1).check(&batch);
    let report = report(&stack, &batch).await;
    let shown = "é".repeat(1000);
    assert!(
        report.ends_with(&format!(",,,,,{shown}\r\n")),
        "{report:.200}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_quote_rejects_its_own_line_only() {
    let stack = Stack::start().await;
    let people = 3000;
    for stray in [
        "4,x,\"Ann,Lee,7145550123",
        "4,x,Ann,\"Lee,7145550123",
        "4,x,Ann,Lee,\"7145550123",
        "\"",
    ] {
        // Few rows follow, or more than a row may be long.
        for after in [5, people] {
            let file = format!("{HEADER}{}{stray}\n{}", good(0, 2), good(2, after));
            let batch = stack.upload_with(&json!({"mode": "overwrite"}), file).await;
            let rows = Rows {
                updated: after,
                rejected: 1,
                ..Rows::default()
            };
            rows.check(&batch);
            let report = report(&stack, &batch).await;
            let line = report.lines().nth(1).expect("a reject");
            let shown = format!(",,,,,,\"{}\"", stray.replace('"', "\"\""));
            assert!(
                line.starts_with("4,") && line.ends_with(&shown),
                "{stray}: {line}"
            );
        }
    }
    assert_eq!(stack.ids("aid=4&limit=1000").await, roster_ids("4", people));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_report_can_be_uploaded() {
    let stack = Stack::start().await;
    let file = format!(
        "{HEADER}{}4,a,Ann,Lee,12\n4,b,,Lee,7145550123\n4,c,Cid,Lee,7145550124\n",
        good(0, 3)
    );
    let batch = stack.upload(file).await;
    let rows = Rows {
        created: 4,
        rejected: 2,
        ..Rows::default()
    };
    rows.check(&batch);
    let first = report(&stack, &batch).await;

    // Partly corrected: rows that are still invalid are in a report with the same columns.
    let halfway = stack.upload(first.replace(",12,", ",714 555 0125,")).await;
    let rows = Rows {
        created: 1,
        rejected: 1,
        ..Rows::default()
    };
    rows.check(&halfway);
    assert_eq!(
        halfway["ignored_columns"],
        json!(["line", "code", "message", "raw"])
    );
    let second = report(&stack, &halfway).await;
    assert_eq!(second.lines().next(), first.lines().next());
    assert_eq!(second.lines().count(), 2);

    let corrected = stack.upload(second.replace(",b,,", ",b,Bob,")).await;
    Rows::created(1).check(&corrected);
    assert_eq!(
        stack.get("/api/members/4~a").await.json()["phone_number"],
        "+17145550125"
    );
    assert_eq!(
        stack.get("/api/members/4~b").await.json()["first_name"],
        "Bob"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_finished_by_its_corrected_report() {
    let stack = Stack::start().await;
    // The batch names the account, so neither the file nor the report has it.
    let file = "Member ID,First Name,Last Name,Phone\n\
                c0,Ann,Lee,7145550123\n\
                c1,,Lee,7145550124\n\
                c2,Cid,Lee,12\n\
                c3;Dan;Lee;7145550126\n";
    let parent = stack.upload_with(&json!({"account_id": "4"}), file).await;
    let rows = Rows {
        created: 1,
        rejected: 3,
        ..Rows::default()
    };
    rows.check(&parent);
    let first = report(&stack, &parent).await;
    let named = json!({"parent_batch_id": parent["batch_id"]});
    // Sent back unchanged, it results in the same report, except for line numbers and the error of
    // the row that fits now: its text is kept.
    let untouched = stack.upload_with(&named, first.clone()).await;
    rejects(3).check(&untouched);
    let second = report(&stack, &untouched).await;
    assert_eq!(second.lines().next(), first.lines().next());
    assert!(second.contains(",c3;Dan;Lee;7145550126\r\n"), "{second}");

    let corrected = second
        .replace(",c1,,", ",c1,Bob,")
        .replace(",12,", ",7145550125,")
        .replace(",,,,,c3;", ",c3,Dan,Lee,7145550126,c3;");
    assert_ne!(corrected, second);
    let child = stack.upload_with(&named, corrected).await;
    Rows::created(3).check(&child);
    assert_eq!(child["parent_batch_id"], parent["batch_id"]);
    assert_eq!(
        child["ignored_columns"],
        json!(["line", "code", "message", "raw"])
    );
    assert_eq!(stack.ids("aid=4").await, ["4~c0", "4~c1", "4~c2", "4~c3"]);
    let shown = stack.batch(text(&parent["batch_id"])).await;
    let children = json!([untouched["batch_id"], child["batch_id"]]);
    assert_eq!(shown["child_batch_ids"], children);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_batches_and_reports_are_reported_as_such() {
    let stack = Stack::start().await;
    let batches = Batches::from_setup(&stack.local_stack.setup()).expect("the template names it");
    let day = 24 * 3600 * 1000;
    let ended = |days: i64| {
        let at = Timestamp::now().plus_millis(-days * day);
        let mut batch = Batch::new(
            BatchRequest::default(),
            "key:writer".to_owned(),
            Scope::ALL,
            at,
        );
        batch.status = Status::CompletedWithRejects;
        batch.finished_at = Some(at);
        batch.has_report = true;
        batch
    };
    let (kept, gone) = (ended(29), ended(31));
    let at = Timestamp::now().plus_millis(-day);
    let unused = Batch::new(
        BatchRequest::default(),
        "key:writer".to_owned(),
        Scope::ALL,
        at,
    );
    for batch in [&kept, &gone, &unused] {
        batches.create(batch).await.expect("the record is stored");
    }
    let shown = async |batch: &Batch| stack.batch(batch.batch_id.as_str()).await;
    let kept = shown(&kept).await;
    assert_eq!(kept["links"]["rejects"], {
        let link = path(&kept);
        format!("{}{link}", stack.local_stack.api_url())
    });
    stack.get(&path(&kept)).await.expect(302);
    let gone = shown(&gone).await;
    assert_eq!(gone["links"]["rejects"], Value::Null);
    let problem = stack.get(&path(&gone)).await.problem(404, "not-found");
    assert!(text(&problem["detail"]).contains("30 days"), "{problem}");

    let unused = shown(&unused).await;
    assert_eq!(unused["status"], "expired");
    stack.get(&path(&unused)).await.problem(404, "not-found");
    let this = format!("/api/members/batch/{}", text(&unused["batch_id"]));
    stack.delete(&this).await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_a_report_is_returned_as_json_on_request() {
    let stack = Stack::start().await;
    let batch = stack.upload(format!("{HEADER}4,1,Ann,Lee,12\n")).await;
    rejects(1).check(&batch);
    for login in [&stack.reader, &stack.writer] {
        let request = stack.request_as(login, Method::GET, &path(&batch));
        let answer = send(request.header(ACCEPT, "application/json")).await;
        answer.expect(200);
        assert_eq!(answer.header("content-type"), "application/json");
        let way = answer.json();
        assert!(
            text(&way["expires_at"]) > text(&batch["finished_at"]),
            "{way}"
        );
        let file = send(stack.anonymous(Method::GET, text(&way["url"]))).await;
        file.expect(200);
        let plain = file.text().trim_start_matches('\u{FEFF}');
        assert_eq!(plain, report(&stack, &batch).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_a_report_is_read_only() {
    let stack = Stack::start().await;
    let batch = stack.upload(format!("{HEADER}4,1,Ann,Lee,12\n")).await;
    let answer = stack.get(&path(&batch)).await;
    answer.expect(302);
    let url = answer.header("location").to_owned();
    send(stack.anonymous(Method::DELETE, &url))
        .await
        .expect(403);
    send(stack.anonymous(Method::PUT, &url).body("x"))
        .await
        .expect(403);
    let (unsigned, _) = url.split_once('?').expect("a signature");
    send(stack.anonymous(Method::GET, unsigned))
        .await
        .expect(403);
    // S3 rejects a request with a key and a signature, which is why the JSON form exists.
    send(stack.request(Method::GET, &url)).await.expect(400);
    send(stack.anonymous(Method::GET, &url)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_report_before_the_end() {
    let stack = Stack::start().await;
    let batch = stack.open_batch(&json!({})).await;
    stack.get(&path(&batch)).await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_rejected_rows_has_no_report() {
    let stack = Stack::start().await;
    let completed = stack.upload(format!("{HEADER}{}", good(0, 1))).await;
    let failed = stack.upload("phone\n").await;
    let cancelled = stack.open_batch(&json!({})).await;
    let batch = format!("/api/members/batch/{}", text(&cancelled["batch_id"]));
    stack.delete(&batch).await.expect(200);
    for batch in [completed, failed, cancelled] {
        stack.get(&path(&batch)).await.problem(404, "not-found");
        assert_eq!(batch["links"]["rejects"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_invalid_rows_only_becomes_a_complete_report_in_order() {
    let stack = Stack::start().await;
    let people = 5000;
    let mut file = HEADER.to_owned();
    for index in 0..people {
        writeln!(file, "4,{index},Ann,Lee,").unwrap();
    }
    let options = json!({"stop_early": false});
    let batch = stack.upload_with(&options, file).await;
    rejects(people).check(&batch);
    let report = report(&stack, &batch).await;
    let lines: Vec<String> = report.lines().skip(1).map(str::to_owned).collect();
    let wanted: Vec<String> = (0..people)
        .map(|index| {
            format!(
                "{},required,phone_number is required,4,{index},Ann,Lee,,",
                index + 2
            )
        })
        .collect();
    assert_eq!(lines, wanted);
    assert_eq!(stack.ids("").await, [""; 0]);
}
