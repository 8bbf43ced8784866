//! Files: previewed, sent, followed to the end, corrected and sent again.

use std::fmt::Write;
use std::fs;

use mpulse_tests::{HEADER, Stack, count, row, text};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::newest;

/// Rows of the large file, and how many of them are invalid.
const ROWS: usize = 20_000;
const BAD: usize = 100;

/// A roster in which one row in a fixed number has no phone.
fn with_bad_rows() -> String {
    let mut file = HEADER.to_owned();
    for number in 0..ROWS {
        if number % (ROWS / BAD) == 0 {
            writeln!(file, "4,c{number},Ann,Lee {number},").expect("it is written");
        } else {
            file += &row("4", number as u64);
        }
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_and_its_rejected_rows_are_corrected_and_sent_again() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("people.csv");
    fs::write(&path, with_bad_rows()).expect("a file");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("separated by commas").await;
    browser.shows("5 of 5 columns used").await;
    browser.shows("phone_number → Phone").await;
    assert_eq!(
        newest(&stack).await,
        Value::Null,
        "nothing is sent before the button is pressed"
    );

    browser.press("Send").await;
    browser.status("completed_with_rejects").await;
    browser.shows("19,900").await;
    let counts = "return ['created', 'rejected'].map((name) => document.querySelector(`.outcomes .${name} b`).textContent)";
    let shown = browser.run(counts).await;
    assert_eq!(shown, serde_json::json!(["19,900", "100"]));
    let parent = newest(&stack).await;
    assert_eq!(count(&parent["rows"]["read"]), ROWS as u64);
    assert_eq!(count(&parent["rows"]["rejected"]), BAD as u64);

    // The first rejected rows are on the page; the report is behind the button.
    browser.press("open the batch").await;
    browser.shows("The first 25 of 100").await;
    browser.shows("phone_number is required").await;
    browser.shows("Lee 200").await;
    let lines = "return [...document.querySelectorAll('table[aria-label=\"Rejected rows\"] td:first-child')].map((cell) => cell.textContent)";
    let lines = browser.run(lines).await;
    assert_eq!(lines[1], "202", "the header is line 1");

    let downloads = folder.path().join("downloads");
    browser.downloads_to(&downloads).await;
    browser.press("Download the report").await;
    let report = browser
        .until("the report", async || {
            let file = fs::read_dir(&downloads).ok()?.next()?.ok()?.path();
            let is_whole = file.extension()? == "csv";
            is_whole.then(|| fs::read_to_string(file).ok())?
        })
        .await;
    assert_eq!(report.lines().count(), BAD + 1);
    browser.shows("Send the corrected report").await;
    let corrected: String = report
        .lines()
        .enumerate()
        .map(|(at, line)| match at {
            0 => format!("{line}\n"),
            // Only the phone is wrong: it is empty. The column `raw` follows.
            _ => line.replace(",,", &format!(",{},\n", mpulse_tests::phone(at as u64))),
        })
        .collect();
    let path = folder.path().join("corrected.csv");
    fs::write(&path, corrected).expect("a file");
    browser.press("Send the corrected report").await;
    browser.shows("sent as the corrected report of").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("line ignored").await;
    browser.press("Send").await;
    browser.status("completed").await;
    let child = newest(&stack).await;
    assert_eq!(child["parent_batch_id"], parent["batch_id"]);
    assert_eq!(count(&child["rows"]["created"]), BAD as u64);
    browser
        .go(&format!("/admin/#/batches/{}", text(&parent["batch_id"])))
        .await;
    browser.shows("Corrected by").await;
    browser.press(text(&child["batch_id"])).await;
    browser.shows("Corrects").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defects_of_a_file_are_shown_before_it_is_sent() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Send a file").await;
    let endless = format!("\"aid,cmid\n{}", "x".repeat(70_000)).into_bytes();
    let files: [(&str, &[u8], &str); 10] = [
        (
            "no-phone.csv",
            b"aid,cmid,first,last\n4,1,A,B\n",
            "it has no column for phone",
        ),
        (
            "none.csv",
            b"a,b\n1,2\n",
            "no column for client id and first name",
        ),
        ("empty.csv", b"", "The file is empty."),
        (
            "old.xls",
            b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1",
            "The file is an old Excel workbook (.xls).",
        ),
        (
            "cut.zip",
            b"PK\x03\x04....",
            "The zip file is damaged or ends early.",
        ),
        (
            "twice.csv",
            b"phone,mobile,cmid,first,last\n",
            "Two columns have the meaning Phone.",
        ),
        (
            "latin1.csv",
            b"aid,cmid,first,last,ph\n4,1,Zo\xeb,B,7145550100\n",
            "The file is not UTF-8",
        ),
        (
            "latin1-header.csv",
            b"aid,cmid,first,last,ph,caf\xe9\n",
            "The header is not UTF-8",
        ),
        ("nul.csv", b"a\0,b\n", "The header contains NUL bytes"),
        ("endless.csv", &endless, "a quote in it is never closed"),
    ];
    for (name, content, message) in files {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        browser.give("Choose CSV files", &[&path]).await;
        browser.shows(message).await;
        browser.press("Remove").await;
        browser.shows_no(message).await;
    }
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_can_be_given_for_a_file_without_one() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("human.csv");
    let file =
        "Member ID;First Name;Last Name;Mobile Phone;Notes\n1;Al;\"O;rr\";(714) 555-0100;x\n";
    fs::write(&path, file).expect("a file");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("separated by semicolons").await;
    browser.shows("O;rr").await;
    browser.shows("Mobile Phone → Phone").await;
    browser.shows("Notes ignored").await;
    browser.press("Send").await;
    let fault = browser.fault("Account").await;
    assert!(fault.contains("is required"), "{fault}");
    browser.fill("Account", "a b").await;
    browser.press("Send").await;
    browser
        .until("the server's message", async || {
            browser
                .fault("Account")
                .await
                .contains("must be 1 to 64")
                .then_some(())
        })
        .await;
    browser.fill("Account", "acme").await;
    browser.choose("Existing members", "create").await;
    browser.press("Send").await;
    browser.status("completed").await;
    assert_eq!(stack.ids("aid=acme").await, ["acme~1"]);
    assert_eq!(newest(&stack).await["mode"], "create");
    browser.shows("Ignored columns").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_of_a_row_does_not_stop_a_file() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.csv");
    let long = "x".repeat(70_000);
    let file = format!("{HEADER}4,1,A\0,B,7145550100\n4,2,{long},B,7145550100\n");
    fs::write(&path, file + &row("4", 3)).expect("a file");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("Existing members").await;
    // The second row is cut where the preview ends, and is not shown.
    let rows = "return document.querySelectorAll('.scroll tbody tr').length";
    assert_eq!(browser.run(rows).await, 1);
    browser.press("Send").await;
    browser.status("completed_with_rejects").await;
    let rows = &newest(&stack).await["rows"];
    assert_eq!((count(&rows["created"]), count(&rows["rejected"])), (1, 2));
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_report_has_the_account_of_its_parent() {
    let stack = Stack::start().await;
    let asked = json!({"account_id": "acme"});
    let parent = stack
        .upload_with(&asked, "cmid,first,last,ph\n1,Ann,Lee,12\n")
        .await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("corrected.csv");
    fs::write(&path, "cmid,first,last,ph\n1,Ann,Lee,7145550100\n").expect("a file");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    let parent = text(&parent["batch_id"]);
    browser.go(&format!("/admin/#/batches/{parent}")).await;
    browser.press("Send the corrected report").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.press("Send").await;
    browser.status("completed").await;
    assert_eq!(stack.ids("aid=acme").await, ["acme~1"]);
    assert_eq!(newest(&stack).await["parent_batch_id"], parent);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_can_be_dropped_and_other_things_are_rejected() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dropped.csv");
    fs::write(&path, HEADER.to_owned() + &row("4", 1)).expect("a file");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Send a file").await;
    browser.shows("or drag them here").await;
    // Beside the drop area, nothing happens.
    browser.drop_files("h1", &[&path]).await;
    browser.drop_files(".drop", &[&path]).await;
    browser.shows("5 of 5 columns used").await;
    browser.press("Send").await;
    browser.status("completed").await;

    browser.drop_files(".drop", &[folder.path()]).await;
    browser.shows("This cannot be read: it is a folder").await;
    browser.press("Remove").await;
    browser.shows_no("it is a folder").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_can_be_downloaded_and_sent() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.downloads_to(folder.path()).await;
    browser.press("Send a file").await;
    browser.press("File format").await;
    browser.press("Download a template").await;
    let path = folder.path().join("members.csv");
    browser
        .until("the template", async || path.exists().then_some(()))
        .await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("5 of 5 columns used").await;
    browser.end().await;
}
