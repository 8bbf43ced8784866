//! Compressed files, workbooks and charsets: what is read, and what is refused with which problem.

use std::io::Write;

use mpulse_tests::packed::{Packing, gzip, utf16, workbook, zip};
use mpulse_tests::{HEADER, Rows, Stack, roster, row, text};
use reqwest::Method;
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_is_read_however_it_is_packed() {
    let stack = Stack::start().await;
    let plain = roster("4", 5000);
    for (at, packing) in Packing::ALL.into_iter().enumerate() {
        let file = packing.pack(&plain);
        let size = file.len();
        let batch = stack.upload(file).await;
        if at == 0 {
            Rows::created(5000).check(&batch);
        } else {
            Rows::unchanged(5000).check(&batch);
        }
        let bytes = json!({"total": size, "done": size, "percent": 100.0});
        assert_eq!(batch["bytes"], bytes, "{packing:?}");
    }
    let big = utf16(&plain, true);
    Rows::unchanged(5000).check(&stack.upload(big.clone()).await);
    Rows::unchanged(5000).check(&stack.upload(big[2..].to_vec()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operating_system_adds_to_an_archive_is_ignored() {
    let stack = Stack::start().await;
    let plain = roster("4", 3);
    let archive = zip(&[
        ("export/", b""),
        ("__MACOSX/export/._roster.csv", b"x"),
        ("export/.DS_Store", b"x"),
        ("export/roster.txt", plain.as_bytes()),
    ]);
    Rows::created(3).check(&stack.upload(archive).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_body_may_be_packed() {
    let stack = Stack::start().await;
    let plain = roster("4", 3);
    let xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    for (media_type, file) in [
        ("application/gzip", gzip(plain.as_bytes())),
        ("application/zip", Packing::Zip.pack(&plain)),
        (xlsx, workbook(&plain)),
    ] {
        let request = stack
            .request(Method::POST, "/api/members/batch?mode=upsert")
            .header("content-type", media_type)
            .body(file);
        let answer = mpulse_tests::send(request).await;
        answer.expect(202);
        let id = text(&answer.json()["batch_id"]).to_owned();
        let batch = stack.wait_for_batch(&id).await;
        assert_eq!(batch["status"], "completed", "{media_type} {batch:#}");
        assert_eq!(batch["rows"]["read"], 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_visible_sheet_is_read_or_the_one_that_is_named() {
    let stack = Stack::start().await;
    let mut book = Workbook::new();
    let notes = book.add_worksheet();
    notes.set_name("Notes").expect("a name");
    notes.set_hidden(true);
    notes.write_string(0, 0, "not a roster").expect("a cell");
    let members = book.add_worksheet();
    members
        .set_name("Members")
        .expect("a name")
        .set_active(true);
    let header = HEADER.trim().split(',').chain(["Since", "Active"]);
    for (column, name) in (0..).zip(header) {
        members.write_string(3, column, name).expect("a cell");
    }
    members
        .write_string(0, 0, "Members of 2026")
        .expect("a cell");
    let date = Format::new().set_num_format("yyyy-mm-dd");
    for row in [4, 6] {
        members.write_number(row, 0, 4).expect("a cell");
        members.write_number(row, 1, 1000 + row).expect("a cell");
        members.write_string(row, 2, "Ann, \"A\"").expect("a cell");
        members.write_string(row, 3, "Lee").expect("a cell");
        members
            .write_number(row, 4, 7_145_550_100.0 + f64::from(row))
            .expect("a cell");
        let day = ExcelDateTime::from_ymd(2026, 11, 26).expect("a date");
        members
            .write_datetime_with_format(row, 5, &day, &date)
            .expect("a cell");
        members.write_boolean(row, 6, true).expect("a cell");
    }
    // A number that has lost digits, and a phone that is a date.
    members.write_number(7, 0, 4).expect("a cell");
    members
        .write_number(7, 1, 1_234_567_890_123_456_789_f64)
        .expect("a cell");
    for column in 2..4 {
        members.write_string(7, column, "Bo").expect("a cell");
    }
    members.write_string(7, 4, "7145550199").expect("a cell");
    let other = book.add_worksheet();
    other.set_name("Other").expect("a name");
    for (row, line) in (0..).zip(roster("5", 2).lines()) {
        for (column, field) in (0..).zip(line.split(',')) {
            other.write_string(row, column, field).expect("a cell");
        }
    }
    let file = book.save_to_buffer().expect("a workbook");

    let batch = stack.upload(file.clone()).await;
    assert_eq!(batch["rows"]["created"], 2, "{batch:#}");
    assert_eq!(batch["rows"]["rejected"], 1);
    let member = stack.get("/api/members/4~1006").await.json();
    assert_eq!(member["first_name"], "Ann, \"A\"");
    assert_eq!(member["phone_number"], "+17145550106");
    let report = report(&stack, &batch, "csv").await;
    let report = String::from_utf8(report).expect("UTF-8");
    // The line is the number of the row.
    assert!(report.contains("\n8,spreadsheet_number,"), "{report}");

    let named = stack
        .upload_with(&json!({"sheet": "other"}), file.clone())
        .await;
    Rows::created(2).check(&named);
    let unknown = stack.upload_with(&json!({"sheet": "x"}), file).await;
    assert_eq!(unknown["problem"]["code"], "unknown_sheet");
    assert!(text(&unknown["problem"]["message"]).contains("Members"));
}

async fn report(stack: &Stack, batch: &Value, format: &str) -> Vec<u8> {
    let id = text(&batch["batch_id"]);
    let answer = stack
        .get(&format!("/api/members/batch/{id}/rejects?format={format}"))
        .await;
    answer.expect(302);
    let url = answer.header("location").to_owned();
    let file = stack
        .anonymous(Method::GET, &url)
        .send()
        .await
        .expect("an answer");
    file.bytes().await.expect("the report").to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_foreign_file_fails_with_its_own_problem() {
    let stack = Stack::start().await;
    let plain = roster("4", 3000);
    let packed = gzip(plain.as_bytes());
    let mut corrupt = packed.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle..middle + 64].fill(0x55);
    let archive = Packing::Zip.pack(&plain);
    let two = zip(&[("a.csv", b"x"), ("b.csv", b"y")]);
    let book = workbook(&plain);
    for (name, file, code, found) in [
        (
            "cut gzip",
            packed[..packed.len() / 2].to_vec(),
            "truncated_file",
            "early",
        ),
        (
            "a gzip header alone",
            packed[..9].to_vec(),
            "truncated_file",
            "early",
        ),
        ("corrupt gzip", corrupt, "corrupt_file", "damaged"),
        (
            "cut zip",
            archive[..archive.len() / 2].to_vec(),
            "truncated_file",
            "early",
        ),
        ("two files", two, "several_files", "a.csv, b.csv"),
        ("no file", zip(&[("a/", b"")]), "no_file", "no file"),
        (
            "cut workbook",
            book[..book.len() / 2].to_vec(),
            "truncated_file",
            "early",
        ),
        (
            "an old workbook",
            b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and so on".to_vec(),
            "not_csv",
            ".xlsx",
        ),
        ("a gzip in a gzip", gzip(&packed), "not_text", "text"),
    ] {
        let batch = stack.upload(file).await;
        assert_eq!(batch["status"], "failed", "{name}: {batch:#}");
        let problem = &batch["problem"];
        assert_eq!(problem["code"], code, "{name}: {problem}");
        assert!(
            text(&problem["message"]).contains(found),
            "{name}: {problem}"
        );
        stack.wait_for_deletion(&batch).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_ends_in_a_problem() {
    let stack = Stack::start().await;
    let zeros = vec![b'0'; 1024 * 1024];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(HEADER.as_bytes()).expect("memory");
    encoder.write_all(row("4", 1).as_bytes()).expect("memory");
    for _ in 0..512 {
        encoder.write_all(&zeros).expect("memory");
    }
    let bomb = encoder.finish().expect("memory");
    let batch = stack.upload(bomb).await;
    assert_eq!(batch["problem"]["code"], "expands_too_much", "{batch:#}");

    // A workbook that announces a billion cells, and as many texts.
    let sheet = format!(
        "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><dimension ref=\"A1:XFD1048576\"/>\
         <sheetData>{}</sheetData></worksheet>",
        "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c></row>"
    );
    let parts = |strings: &str| {
        let strings = format!(
            "<sst xmlns=\"x\" count=\"{strings}\" uniqueCount=\"{strings}\"><si><t>aid</t></si></sst>"
        );
        zip(&[
            ("[Content_Types].xml", b"<Types/>".as_slice()),
            ("_rels/.rels", b"<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"),
            ("xl/workbook.xml", b"<workbook xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets><sheet name=\"A\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"),
            ("xl/_rels/workbook.xml.rels", b"<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"),
            ("xl/sharedStrings.xml", strings.as_bytes()),
            ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
        ])
    };
    let batch = stack.upload(parts("1")).await;
    assert_eq!(batch["problem"]["code"], "missing_column", "{batch:#}");
    let batch = stack.upload(parts("4000000000")).await;
    assert_eq!(batch["problem"]["code"], "corrupt_file", "{batch:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_comes_back_whole_in_both_forms() {
    let stack = Stack::start().await;
    let file = format!("{HEADER}4,0017,=HYPERLINK,Lee,12\n4,0018,José,'=Lee,+171455\n");
    let batch = stack.upload(file).await;
    assert_eq!(batch["rows"]["rejected"], 2, "{batch:#}");
    assert!(text(&batch["links"]["rejects_xlsx"]).ends_with("/rejects?format=xlsx"));
    let csv = report(&stack, &batch, "csv").await;
    assert!(csv.starts_with(b"\xEF\xBB\xBF"));
    let csv = String::from_utf8(csv).expect("UTF-8");
    assert!(
        csv.contains(",'=HYPERLINK,") && csv.contains(",'+171455,"),
        "{csv}"
    );
    let xlsx = report(&stack, &batch, "xlsx").await;
    // Neither form changes what it repeats.
    let options = json!({"parent_batch_id": batch["batch_id"]});
    let mut reports = Vec::new();
    for form in [csv.clone().into_bytes(), xlsx] {
        let again = stack.upload_with(&options, form).await;
        assert_eq!(again["rows"]["rejected"], 2, "{again:#}");
        let again = report(&stack, &again, "csv").await;
        reports.push(String::from_utf8(again).expect("UTF-8"));
    }
    assert_eq!(reports[0], csv);
    assert_eq!(reports[1], csv);
    // Corrected, it is accepted with its zeros.
    let corrected = csv
        .replace(",12,", ",7145550123,")
        .replace("'+171455,", "7145550124,");
    let done = stack.upload_with(&options, corrected).await;
    Rows::created(2).check(&done);
    let member = stack.get("/api/members/4~0017").await.json();
    assert_eq!(member["first_name"], "=HYPERLINK");
    let member = stack.get("/api/members/4~0018").await.json();
    assert_eq!(member["last_name"], "'=Lee");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_wrong_is_listed_as_a_warning() {
    let stack = Stack::start().await;
    let file = format!(
        "{HEADER}4,1.0,Ann,Lee,7145550123\n4,2,JosÃ©,Lee,7145550123\n4,2,José,#N/A,7145550123\n4,3,7145550123,Lee,7145550124\n"
    );
    let batch = stack.upload(file.clone()).await;
    assert_eq!(batch["status"], "completed", "{batch:#}");
    let warnings = batch["warnings"].as_array().expect("a list").iter();
    let warnings: Vec<Value> = warnings
        .map(|warning| json!([warning["code"], warning["count"], warning["line"]]))
        .collect();
    assert_eq!(
        json!(warnings),
        json!([
            ["decimal_id", 1, 2],
            ["repeated_key", 1, 4],
            ["phone_in_name", 1, 5],
            ["garbled_text", 1, 3],
            ["spreadsheet_error", 1, 4]
        ])
    );
    // The corrected file, sent to the old URL.
    let opened = stack.open_batch(&json!({})).await;
    stack.put_file(&opened, file.clone()).await.expect(200);
    let id = text(&opened["batch_id"]);
    stack.wait_for_batch(id).await;
    stack.put_file(&opened, file.clone()).await.expect(200);
    let late = |batch: &Value| {
        let warnings = batch["warnings"].as_array().expect("a list");
        warnings.iter().any(|warning| {
            let message = warning["message"].as_str().unwrap_or_default();
            warning["code"] == "late_upload" && message.contains(&file.len().to_string())
        })
    };
    let batch = stack.wait_until(id, late).await;
    assert_eq!(batch["rows"]["read"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_stops_if_nearly_all_of_its_first_rows_are_rejected() {
    let stack = Stack::start().await;
    let mut file = HEADER.to_owned();
    for _ in 0..60_000 {
        file.push_str("4,1,Ann,Lee,12\n");
    }
    let batch = stack.upload(file.clone()).await;
    assert_eq!(batch["problem"]["code"], "nearly_all_rejected", "{batch:#}");
    let read = batch["rows"]["read"].as_u64().expect("a number");
    assert!((2_000..60_000).contains(&read), "{read}");
    assert_ne!(batch["links"]["rejects"], Value::Null);
    let batch = stack.upload_with(&json!({"stop_early": false}), file).await;
    assert_eq!(batch["rows"]["rejected"], 60_000, "{batch:#}");
}
