//! Running batches: found again, followed, and cancelled.

use std::fs;

use mpulse_tests::{Stack, roster, text};
use serde_json::json;

use crate::browser::Browser;

/// Shown while the registry is unreachable.
const OUT_OF_REACH: &str = "The registry cannot be reached. Retrying.";

/// Write units per second that make a roster take long enough to be watched.
const SLOW: &str = "wcu=600,seed=7";

#[tokio::test(flavor = "multi_thread")]
async fn a_running_batch_is_left_found_again_and_cancelled() {
    let stack = Stack::with_faults(SLOW).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("slow.csv");
    fs::write(&path, roster("4", 20_000)).expect("a file");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.press("Send").await;
    browser.status("processing").await;
    browser.shows("rows per second").await;

    // After visiting another page it is still shown; after a reload, through a link.
    browser.press("Members").await;
    browser.shows("Find a member").await;
    browser.press("Send a file").await;
    browser.status("processing").await;
    browser
        .holds("return !document.querySelector('.chart').hidden")
        .await;
    browser.reload().await;
    browser.shows("slow.csv is being processed").await;
    browser.press("open the batch").await;
    browser.shows("Throttled requests").await;
    browser.until("refusal by the table", async || {
        let terms = "return [...document.querySelectorAll('dt')].find(({ textContent }) => textContent.startsWith('Throttled'))?.nextSibling.textContent";
        let thrown = browser.run(terms).await;
        thrown.as_str().is_some_and(|n| n != "0").then_some(())
    })
    .await;
    browser.press("Cancel the batch").await;
    browser.shows("Rows that were applied stay.").await;
    browser.press("Cancel the batch").await;
    browser.status("cancelled").await;
    browser.shows("Cancelled after").await;
    browser.press("Batches").await;
    browser.shows("slow.csv").await;
    browser.status("cancelled").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_listed_newest_first_and_the_list_is_live() {
    let stack = Stack::with_faults(SLOW).await;
    for number in 0..30 {
        stack
            .open_batch(&json!({"file_name": format!("file-{number}.csv")}))
            .await;
    }
    let failed = json!({"file_name": "failed.csv"});
    let failed = stack.upload_with(&failed, "a,b\n1,2\n").await;
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Batches").await;
    browser.status("failed").await;
    let first = browser
        .run("return document.querySelector('tbody a').textContent")
        .await;
    assert_eq!(first, "failed.csv");
    assert!(!browser.text().await.contains("file-0.csv"));
    // Another batch is created while the registry is unreachable, and is followed to its end.
    browser.line(0).await;
    browser.shows(OUT_OF_REACH).await;
    let slow = stack.open_batch(&json!({"file_name": "slow.csv"})).await;
    stack.put_file(&slow, roster("4", 3000)).await.expect(200);
    browser.line(1_000_000).await;
    browser.shows_no(OUT_OF_REACH).await;
    browser.shows("slow.csv").await;
    browser.status("processing").await;
    browser.enter("More").await;
    browser.shows("file-0.csv").await;
    assert!(
        browser.text().await.contains("file-8.csv"),
        "no batch is lost between two pages"
    );
    let focused = "return document.activeElement !== document.body";
    assert_eq!(browser.run(focused).await, true);
    browser.status("completed").await;
    browser.shows("3,000 created").await;
    browser.press("failed.csv").await;
    browser.shows("The header has no column for").await;
    browser.shows(text(&failed["problem"]["message"])).await;
    browser
        .go("/admin/#/batches/01ARZ3NDEKTSV4RRFFQ69G5FAV")
        .await;
    browser
        .shows("The batch 01ARZ3NDEKTSV4RRFFQ69G5FAV does not exist.")
        .await;
    browser.end().await;
}
