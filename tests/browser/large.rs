//! A file of 300 MB, in parts: what is cut, paused, or lost with the page is not sent again.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use mpulse_tests::{Stack, count, phone};
use serde_json::json;

use crate::browser::Browser;

/// Bytes of the file, about.
const BYTES: usize = 300_000_000;
/// Bytes of a row, most of them in a column that is ignored: what is tried is the upload.
const ROW: usize = 60_000;
const ROWS: usize = BYTES / ROW;

/// Bytes a second that the browser's line takes.
const LINE: u32 = 40_000_000;

/// Parts on their way at once.
const AT_ONCE: usize = 4;

/// The requests of this page that sent a part, or began to.
const PARTS_SENT: &str = "return performance.getEntriesByType('resource')
    .filter(({ name }) => name.includes('partNumber=')).length";

fn write(path: &Path) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let filling = "x".repeat(ROW - 60);
    writeln!(
        file,
        "account_id,client_member_id,first_name,last_name,phone_number,notes"
    )
    .expect("room");
    for number in 0..ROWS {
        writeln!(
            file,
            "4,c{number},Ann,Lee,{},{filling}",
            phone(number as u64)
        )
        .expect("room");
    }
    file.flush().expect("room");
}

async fn line(browser: &Browser, offline: bool) {
    let line = json!({
        "offline": offline, "latency": 0, "downloadThroughput": LINE, "uploadThroughput": LINE,
    });
    browser.cdp("Network.emulateNetworkConditions", line).await;
}

/// Waits until so many megabytes have left.
async fn sent(browser: &Browser, megabytes: u32) {
    let bar = "document.querySelector('progress[aria-label=Sent]')?.value";
    browser
        .holds(&format!("return {bar} > {megabytes}e6"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_megabytes_survive_a_cut_a_pause_and_a_reload() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.csv");
    write(&path);
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.cdp("Network.enable", json!({})).await;
    line(&browser, false).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("notes ignored").await;
    browser.press("Send").await;

    sent(&browser, 50).await;
    browser.shows("per second").await;
    line(&browser, true).await;
    browser.shows("offline; waiting").await;
    line(&browser, false).await;
    sent(&browser, 90).await;

    browser.press("Pause").await;
    browser.shows("paused").await;
    browser.press("Resume").await;
    sent(&browser, 150).await;
    let before = browser.run(PARTS_SENT).await.as_u64().expect("a number");

    browser.reload().await;
    browser.shows("large.csv was not sent to its end").await;
    let other = folder.path().join("other.csv");
    std::fs::write(&other, "a,b\n").expect("a file");
    browser.give("The same file", &[&other]).await;
    browser.shows("That is not the file that was begun").await;
    browser.give("The same file", &[&path]).await;
    browser.status("completed").await;
    let after = browser.run(PARTS_SENT).await.as_u64().expect("a number");

    let list = stack.get("/api/members/batch").await.json();
    let batches = list["results"].as_array().expect("a list");
    let [batch] = &batches[..] else {
        panic!("one batch, not {}", batches.len());
    };
    assert_eq!(count(&batch["rows"]["created"]), ROWS as u64);
    // What was under way at the cut, at the pause and at the reload was sent twice, and no more.
    let size = path.metadata().expect("a size").len();
    let parts = size.div_ceil(8 * 1024 * 1024);
    assert!(
        after < parts * 2 / 3,
        "{after} of {parts} parts after the reload"
    );
    let most = parts + 3 * AT_ONCE as u64;
    assert!(
        before + after <= most,
        "{before} and {after} requests for {parts} parts"
    );
    browser.end().await;
}
