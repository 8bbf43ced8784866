//! Files as people have them: with other columns, in another encoding, without a header, compressed.

use std::fs;
use std::path::PathBuf;

use mpulse_tests::{HEADER, Stack, row, text};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::newest;

/// The fields, in the order of the files below.
const FIELDS: [&str; 5] = [
    "account_id",
    "client_member_id",
    "first_name",
    "last_name",
    "phone_number",
];

/// A header and one row, compressed by gzip.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03KLN\xce/\xcd+\x89\xcfL\xd1I\xce\xc9L\x05\xb2rSs\
    \x93R\x8b@\x02i\x99E\xc5%\xf1y\x89\xb9\xa9:9\x890VAF~^j|^)H\x11\x97\x89\x8e\xa1\x8ec^\x9e\x8eOj\xaa\x8e\xb9\
    \xa1\x89\xa9\xa9\xa9\x81\xa1\x81\x01\x17\x00[\xe6\xabLU\x00\x00\x00";

/// Whether the file can be sent.
const MAY_BE_SENT: &str =
    "return !document.querySelector('section.card[aria-label] button.primary').disabled";

/// A browser in which a file is chosen.
async fn chosen(stack: &Stack, name: &str, content: &[u8]) -> (Browser, TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a file");
    let browser = Browser::signed_in(stack, &stack.writer).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows(name).await;
    (browser, folder, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_chosen_and_remembered() {
    let stack = Stack::start().await;
    let file = b"Kd;Nr;Vorname;Name;Handy;Notiz\n4;1;Ann;Lee;7145550100;x\n";
    let (browser, _folder, path) = chosen(&stack, "kunden.csv", file).await;
    browser.shows("it has no column for client id").await;
    assert_eq!(browser.run(MAY_BE_SENT).await, false);
    for (name, field) in ["Kd", "Nr", "Vorname", "Name", "Handy"].iter().zip(FIELDS) {
        browser.choose(&format!("Field of {name}"), field).await;
    }
    browser.shows("Handy → Phone").await;
    browser.shows("5 of 6 columns used").await;
    browser.shows_no("it has no column for").await;
    browser.choose("Field of Notiz", "phone_number").await;
    browser.shows("Two columns have the meaning Phone.").await;
    assert_eq!(browser.run(MAY_BE_SENT).await, false);
    browser.choose("Field of Notiz", "").await;
    browser.shows("Notiz ignored").await;
    browser.press("Send").await;
    browser.status("completed").await;
    assert_eq!(stack.ids("aid=4").await, ["4~1"]);
    let columns = json!({
        "Kd": "account_id", "Nr": "client_member_id", "Vorname": "first_name", "Name": "last_name",
        "Handy": "phone_number",
    });
    assert_eq!(newest(&stack).await["columns"], columns);

    browser.reload().await;
    browser.give("Choose CSV files", &[&path]).await;
    browser
        .shows("The columns are set as for the last file with this header.")
        .await;
    assert_eq!(browser.run(MAY_BE_SENT).await, true);
    browser.press("Use the usual columns").await;
    browser.shows("it has no column for client id").await;
    browser.shows_no("The columns are set as").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_whose_name_is_known_can_be_ignored() {
    let stack = Stack::start().await;
    let file = b"account;member id;first;last;phone;mobile\n4;1;Ann;Lee;x;7145550100\n";
    let (browser, _folder, _path) = chosen(&stack, "two-phones.csv", file).await;
    browser.shows("Two columns have the meaning Phone.").await;
    browser.choose("Field of phone", "").await;
    browser.shows("phone ignored").await;
    browser.press("Send").await;
    browser.status("completed").await;
    assert_eq!(newest(&stack).await["columns"], json!({"phone": null}));
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_encoding_is_chosen() {
    let stack = Stack::start().await;
    let file = b"aid,cmid,first,last,ph\n4,1,Jos\xe9,Lee,7145550100\n";
    let (browser, _folder, _path) = chosen(&stack, "western.csv", file).await;
    browser.shows("The file is not UTF-8.").await;
    browser.choose("Encoding", "windows-1252").await;
    browser.shows("José").await;
    browser.shows_no("The file is not UTF-8.").await;
    browser.press("Send").await;
    browser.status("completed").await;
    assert_eq!(newest(&stack).await["encoding"], "windows-1252");
    let member = stack.get("/api/members/4~1").await.json();
    assert_eq!(member["first_name"], "José");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_in_another_encoding_is_read_once_that_is_chosen() {
    let stack = Stack::start().await;
    let file = b"aid,cmid,first,last,ph,Stra\xdfe\n4,1,Ann,Lee,7145550100,x\n";
    let (browser, _folder, _path) = chosen(&stack, "header.csv", file).await;
    browser.shows("The header is not UTF-8").await;
    browser.choose("Encoding", "windows-1252").await;
    browser.shows("Straße ignored").await;
    browser.press("Send").await;
    browser.status("completed").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_file_is_previewed_and_sent() {
    let stack = Stack::start().await;
    let (browser, _folder, _path) = chosen(&stack, "people.csv.gz", GZIP).await;
    browser.shows("compressed by gzip").await;
    browser.shows("5 of 5 columns used").await;
    browser.press("Send").await;
    browser.status("completed").await;
    assert_eq!(stack.ids("aid=4").await, ["4~1"]);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_header_and_with_foreign_numbers_is_sent() {
    let stack = Stack::start().await;
    let file = b"4,1,Ann,Lee,020 7946 0958\n";
    let (browser, _folder, _path) = chosen(&stack, "rows.csv", file).await;
    browser.shows("it has no column for").await;
    let headless = browser.field("The file has no header").await;
    headless.click().await.expect("it is checked");
    for (at, field) in FIELDS.iter().enumerate() {
        let label = format!("Field of Column {}", at + 1);
        browser.choose(&label, field).await;
    }
    let country = "Country of phone numbers without country code";
    browser.fill(country, "gb").await;
    browser.press("Send").await;
    browser.status("completed").await;
    let batch = newest(&stack).await;
    assert_eq!(batch["header"], false);
    assert_eq!(batch["columns"], json!(FIELDS));
    assert_eq!(batch["default_region"], "GB");
    let member = stack.get("/api/members/4~1").await.json();
    assert_eq!(member["phone_number"], "+442079460958");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_and_the_report_as_a_workbook_are_on_the_page_of_the_batch() {
    let stack = Stack::start().await;
    let file = format!("{HEADER}{}{}4,9,Ann,Lee,\n", row("4", 1), row("4", 1));
    let batch = stack.upload(file).await;
    assert_ne!(batch["links"]["rejects_xlsx"], Value::Null);
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    let id = text(&batch["batch_id"]);
    browser.go(&format!("/admin/#/batches/{id}")).await;
    browser.shows("occur in an earlier row of the file").await;
    let link = browser.control("Report as Excel workbook").await;
    let url = browser
        .until("the signed URL", async || link.attr("href").await.ok()?)
        .await;
    let report = mpulse_tests::client().get(url).send().await;
    let report = report.expect("an answer").bytes().await.expect("a body");
    assert!(report.starts_with(b"PK\x03\x04"));
    browser.end().await;
}

/// Returns the preview of a file by the page's own code.
async fn preview(browser: &Browser, file: &[u8], settings: &Value) -> Value {
    let script = format!(
        "const bytes = new Uint8Array({file:?});
         return import('/assets/preview.js')
           .then(({{ preview }}) => preview(new File([bytes], 'roster'), {settings}))
           .then(({{ problem, header, fields, rows }}) => ({{ problem, header, rows, fields: fields?.map((f) => f && f.name) }}));"
    );
    browser.run(&script).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_is_shown_as_it_is_read() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
    let cases = fs::read_to_string(folder.join("cases.json")).expect("the cases");
    let cases: Vec<Value> = serde_json::from_str(&cases).expect("a list");
    let mut different = Vec::new();
    for case in cases {
        let name = text(&case["file"]);
        let file = fs::read(folder.join(name)).expect("the file");
        let shown = preview(&browser, &file, &case["request"]).await;
        let read = stack.upload_with(&case["request"], file).await;
        if !shown["problem"].is_null() || read["rows"]["read"] == 0 {
            different.push(format!("{name}: {}", shown["problem"]));
            continue;
        }
        let rows = shown["rows"].as_array().map_or(0, Vec::len);
        if json!(rows) != read["rows"]["read"] {
            different.push(format!("{name}: {rows} rows are shown"));
        }
        let columns = shown["header"].as_array().into_iter().flatten();
        let fields = shown["fields"].as_array().into_iter().flatten();
        let ignored: Vec<&Value> = columns
            .zip(fields.clone())
            .filter(|(_, field)| field.is_null())
            .map(|(column, _)| column)
            .collect();
        if json!(ignored) != read["ignored_columns"] {
            different.push(format!("{name}: {ignored:?} are shown as ignored"));
        }
        if fields.filter(|field| !field.is_null()).count() < FIELDS.len() {
            different.push(format!("{name}: {}", shown["fields"]));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    browser.end().await;
}
