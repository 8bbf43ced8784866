//! Files: looked at before they are sent, sent, followed to the end, corrected and sent again.

use std::fmt::Write;
use std::fs;

use mpulse_tests::{HEADER, Stack, count, row, text};
use serde_json::Value;

use crate::browser::Browser;

/// Rows of the large file, and how many of them are bad.
const ROWS: usize = 20_000;
const BAD: usize = 100;

/// A roster in which every so many rows one has no phone.
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

/// The newest batch of the stack.
async fn newest(stack: &Stack) -> Value {
    let list = stack.get("/api/members/batch?limit=1").await.json();
    list["results"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_its_rejects_are_read_corrected_and_sent_again() {
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
        "nothing is sent before it is wished"
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

    // The first rejects stand in place; the report is where the button leads.
    browser.press("open the batch").await;
    browser.shows("The first 25 of 100").await;
    browser.shows("phone_number is required").await;
    browser.shows("Lee 200").await;
    let lines = browser.run("return [...document.querySelectorAll('td:first-child')].map((cell) => cell.textContent)").await;
    assert_eq!(lines[1], "202", "the header is line 1");

    let report = stack.get(text(&parent["links"]["rejects"])).await;
    let report =
        mpulse_tests::send(stack.anonymous(reqwest::Method::GET, report.header("location"))).await;
    let corrected: String = report
        .text()
        .lines()
        .enumerate()
        .map(|(at, line)| match at {
            0 => format!("{line}\n"),
            // Only the phone is wrong, which is empty; what follows is the column `raw`.
            _ => line.replace(",,", &format!(",{},\n", mpulse_tests::phone(at as u64))),
        })
        .collect();
    let path = folder.path().join("corrected.csv");
    fs::write(&path, corrected).expect("a file");
    browser.press("Send the corrected report").await;
    browser.shows("taken for the corrected report of").await;
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
async fn what_is_wrong_with_a_file_is_said_before_it_is_sent() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Send a file").await;
    let files: [(&str, &[u8], &str); 7] = [
        (
            "no-phone.csv",
            b"aid,cmid,first,last\n4,1,A,B\n",
            "it has no column for phone",
        ),
        (
            "none.csv",
            b"a,b\n1,2\n",
            "no column for client id, nor for first name",
        ),
        ("empty.csv", b"", "The file is empty."),
        ("utf16.csv", b"\xff\xfea\0,\0", "The file is UTF-16."),
        (
            "sheet.csv",
            b"PK\x03\x04....",
            "compressed or a spreadsheet",
        ),
        (
            "twice.csv",
            b"phone,mobile,cmid,first,last\n",
            "Two columns mean Phone.",
        ),
        (
            "latin1.csv",
            b"aid,cmid,first,last,ph\n4,1,Zo\xeb,B,7145550100\n",
            "The file is not UTF-8",
        ),
    ];
    for (name, content, told) in files {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        browser.give("Choose CSV files", &[&path]).await;
        browser.shows(told).await;
        browser.press("Remove").await;
        browser.shows_no(told).await;
    }
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_an_account_is_given_one() {
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
    assert!(fault.contains("is needed"), "{fault}");
    browser.fill("Account", "a b").await;
    browser.press("Send").await;
    browser
        .until("the server's word", async || {
            browser
                .fault("Account")
                .await
                .contains("must be 1 to 64")
                .then_some(())
        })
        .await;
    browser.fill("Account", "acme").await;
    browser.choose("What to do with the rows", "create").await;
    browser.press("Send").await;
    browser.status("completed").await;
    assert_eq!(stack.ids("aid=acme").await, ["acme~1"]);
    assert_eq!(newest(&stack).await["mode"], "create");
    browser.shows("Columns that were ignored").await;
    browser.end().await;
}
