//! A file of 300 MB, in parts: after a broken connection, a pause or a reload, parts that have
//! arrived are not sent again.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use mpulse_tests::{Stack, count, phone};

use crate::browser::Browser;

/// The approximate size of the file in bytes.
const BYTES: usize = 300_000_000;
/// Bytes of a row, most of them in a column that is ignored: the upload is tested, not the
/// processing.
const ROW: usize = 60_000;

/// The bandwidth of the browser in bytes per second.
const LINE: u32 = 40_000_000;

/// Parts in flight.
const AT_ONCE: u64 = 4;

/// The requests of this page that sent a part, or began to.
const PARTS_SENT: &str = "return performance.getEntriesByType('resource')
    .filter(({ name }) => name.includes('partNumber=')).length";

/// Creates a file of about this size.
pub fn write(path: &Path, bytes: usize) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let filling = "x".repeat(ROW - 60);
    writeln!(
        file,
        "account_id,client_member_id,first_name,last_name,phone_number,notes"
    )
    .expect("room");
    for number in 0..bytes / ROW {
        writeln!(
            file,
            "4,c{number},Ann,Lee,{},{filling}",
            phone(number as u64)
        )
        .expect("room");
    }
    file.flush().expect("room");
}

/// Waits until a number of megabytes have been sent.
async fn sent(browser: &Browser, megabytes: u32) {
    let bar = "document.querySelector('progress[aria-label=Sent]')?.value";
    browser
        .holds(&format!("return {bar} > {megabytes}e6"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_megabytes_survive_a_broken_connection_a_pause_and_a_reload() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.csv");
    write(&path, BYTES);
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.line(LINE).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("notes ignored").await;
    browser.press("Send").await;

    sent(&browser, 50).await;
    browser.shows("per second").await;
    browser.line(0).await;
    browser.shows("This computer is offline. Waiting.").await;
    browser.line(LINE).await;
    sent(&browser, 90).await;

    browser.press("Pause").await;
    browser.shows("paused").await;
    browser.press("Resume").await;
    sent(&browser, 150).await;
    let before = browser.run(PARTS_SENT).await.as_u64().expect("a number");

    browser.reload().await;
    browser.shows("large.csv was not sent completely").await;
    let other = folder.path().join("other.csv");
    std::fs::write(&other, "a,b\n").expect("a file");
    browser.give("The same file", &[&other]).await;
    browser.shows("This is not the same file").await;
    browser.give("The same file", &[&path]).await;
    browser.status("completed").await;
    let after = browser.run(PARTS_SENT).await.as_u64().expect("a number");

    let list = stack.get("/api/members/batch").await.json();
    let batches = list["results"].as_array().expect("a list");
    let [batch] = &batches[..] else {
        panic!("one batch, not {}", batches.len());
    };
    assert_eq!(count(&batch["rows"]["created"]), (BYTES / ROW) as u64);
    // Parts in flight at the break, at the pause and at the reload were sent twice, and no others.
    let size = path.metadata().expect("a size").len();
    let parts = size.div_ceil(8 * 1024 * 1024);
    assert!(
        after < parts * 2 / 3,
        "{after} of {parts} parts after the reload"
    );
    let (most, story) = (
        parts + 3 * AT_ONCE,
        format!("{before} and {after} requests for {parts} parts"),
    );
    assert!(before + after <= most, "{story}");
    // Requests that the reload interrupted are not among those that the page reports.
    assert!(
        before > 0 && after > 0 && before + after + AT_ONCE >= parts,
        "{story}"
    );
    browser.end().await;
}
