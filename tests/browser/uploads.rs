//! Uploads with failures: a lost response, a rejected URL, a cancellation, another tab. The page
//! must show what really happened.

use std::fs;
use std::path::Path;

use mpulse_tests::{Stack, count, roster, text};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::{large, newest};

/// The bandwidth in bytes per second at which a small file takes long enough to be stopped.
const SLOW: u32 = 20_000;

/// Rows of the small file, about 45 bytes each.
const ROWS: u64 = 20_000;

/// Bytes of a file that is sent in parts.
const IN_PARTS: usize = 110_000_000;

/// The PUTs that this page started.
const PUTS: &str = "return performance.getEntriesByType('resource')
    .filter(({ name }) => name.includes('X-Amz-Signature')).length";

/// Makes S3 reject the URLs of uploads.
const SPOIL: &str = "const { open } = XMLHttpRequest.prototype;
    globalThis.spoilt = true;
    XMLHttpRequest.prototype.open = function (method, url) {
      const other = (all, digit) => 'Signature=' + (digit === '0' ? '1' : '0');
      open.call(this, method, globalThis.spoilt ? url.replace(/Signature=(.)/, other) : url);
    };";

/// Loses the response of the next upload, as a broken connection would.
const LOSE_AN_ANSWER: &str = "const { addEventListener: listen } = XMLHttpRequest.prototype;
    let lost = false;
    XMLHttpRequest.prototype.addEventListener = function (name, act) {
      listen.call(this, name, name !== 'load' ? act : (event) => {
        if (lost) return act(event);
        lost = true;
        this.dispatchEvent(new Event('error'));
      });
    };";

/// A browser that is about to send a small file.
async fn about_to_send(stack: &Stack) -> (Browser, TempDir) {
    let write = |path: &Path| fs::write(path, roster("4", ROWS)).expect("a file");
    chosen(stack, "people.csv", write).await
}

/// A browser that is about to send a file in parts.
async fn about_to_send_parts(stack: &Stack) -> (Browser, TempDir) {
    chosen(stack, "large.csv", |path| large::write(path, IN_PARTS)).await
}

async fn chosen(stack: &Stack, name: &str, write: impl FnOnce(&Path)) -> (Browser, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    write(&path);
    let browser = Browser::signed_in(stack, &stack.writer).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("Existing members").await;
    (browser, folder)
}

/// Removes the file from the page.
async fn put_away(browser: &Browser) {
    browser.press("Remove").await;
    browser
        .holds("return !document.querySelector('section.card[aria-label]')")
        .await;
}

/// Cancels the newest batch by another client.
async fn cancel_elsewhere(stack: &Stack) {
    let batch = newest(stack).await;
    let path = format!("/api/members/batch/{}", text(&batch["batch_id"]));
    stack.delete(&path).await.expect(200);
}

/// Checks that there are this many batches, and that all of them are cancelled.
async fn all_are_cancelled(stack: &Stack, batches: usize) {
    let list = stack.get("/api/members/batch").await.json();
    let statuses: Vec<&Value> = list["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|batch| &batch["status"])
        .collect();
    assert_eq!(statuses, vec!["cancelled"; batches]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_response_is_lost_is_not_sent_twice() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send(&stack).await;
    browser.run(LOSE_AN_ANSWER).await;
    browser.press("Send").await;
    browser.status("completed").await;
    assert_eq!(browser.run(PUTS).await, 1);
    assert_eq!(count(&newest(&stack).await["rows"]["created"]), ROWS);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_url_is_reported_and_the_file_can_be_removed() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send(&stack).await;
    browser.run(SPOIL).await;
    browser.listen().await;
    browser.press("Send").await;
    browser.shows("S3 rejected the upload").await;
    browser.hears("people.csv: failed.").await;
    browser.control("Remove").await;
    let again = "return [...document.querySelectorAll('button')]
        .find(({ textContent }) => textContent === 'Retry').hidden";
    assert_eq!(browser.run(again).await, true, "the URL would be the same");
    put_away(&browser).await;
    assert_eq!(newest(&stack).await["status"], "awaiting_upload");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_another_client_cancelled_is_not_reported_as_sent() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send_parts(&stack).await;
    browser.line(50 * SLOW).await;
    browser.press("Send").await;
    browser.shows("per second").await;
    cancel_elsewhere(&stack).await;
    browser.line(2000 * SLOW).await;
    browser.shows("The batch is cancelled.").await;
    put_away(&browser).await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_cancelled() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send(&stack).await;
    browser.line(SLOW).await;
    browser.press("Send").await;
    browser.shows("per second").await;
    browser.listen().await;
    browser.press("Cancel").await;
    browser.shows("The parts that were sent are deleted.").await;
    browser.press("Cancel the upload").await;
    browser.shows(" · cancelled").await;
    browser.hears("people.csv: cancelled.").await;
    put_away(&browser).await;
    all_are_cancelled(&stack, 1).await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_at_the_end_loses_nothing() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send_parts(&stack).await;
    browser.hold_answers("/complete").await;
    browser.listen().await;
    browser.press("Send").await;
    browser.holds_an_answer().await;
    browser.press("Pause").await;
    browser.hears("large.csv: paused.").await;
    browser.release().await;
    browser.press("Resume").await;
    browser.status("completed").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_parts_are_sent_after_a_retry() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send_parts(&stack).await;
    browser.run(SPOIL).await;
    browser.press("Send").await;
    browser.shows("S3 rejected the upload").await;
    // After its own retries.
    browser.control("Retry").await;
    browser.run("globalThis.spoilt = false").await;
    browser.line(100 * SLOW).await;
    browser.enter("Retry").await;
    // That button is gone now, and the next possible action has the focus.
    browser
        .holds("return document.activeElement.textContent === 'Pause'")
        .await;
    browser.line(2000 * SLOW).await;
    browser.status("completed").await;
    // When the file is sent, that button is gone as well: the file's name has the focus.
    let focused = browser.focused().await;
    assert_eq!(focused, "large.csv");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_in_flight_are_cancelled() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send_parts(&stack).await;
    browser.line(50 * SLOW).await;
    browser.press("Send").await;
    browser.shows("per second").await;
    browser.press("Cancel").await;
    browser.press("Cancel the upload").await;
    browser.shows(" · cancelled").await;
    all_are_cancelled(&stack, 1).await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_given_up_after_a_reload_but_not_by_another_tab() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send_parts(&stack).await;
    browser.line(50 * SLOW).await;
    browser.press("Send").await;
    browser.shows("per second").await;

    browser.other_tab().await;
    browser.sign_in(&stack.writer).await;
    // An upload that no tab is sending is offered, below the first.
    let stale = json!({"file_name": "stale.csv", "multipart": true, "size": IN_PARTS});
    let stale = stack.open_batch(&stale).await;
    let stale = text(&stale["batch_id"]);
    let note = format!(
        "const all = JSON.parse(localStorage.getItem('mpulse-uploads'));
         all['{stale}'] = {{ name: 'stale.csv', size: 1, modified: 1, begun: Date.now() }};
         localStorage.setItem('mpulse-uploads', JSON.stringify(all));
         return Object.keys(all).at(-1) === '{stale}'"
    );
    assert_eq!(browser.run(&note).await, true);
    browser.press("Send a file").await;
    browser.shows("stale.csv was not sent completely").await;
    assert!(!browser.text().await.contains("large.csv"));
    browser.press("Discard the upload").await;
    browser.shows_no("stale.csv").await;
    browser.close_tab().await;

    browser.reload().await;
    browser.shows("large.csv was not sent completely").await;
    browser.press("Discard the upload").await;
    browser.shows_no("large.csv").await;
    all_are_cancelled(&stack, 2).await;
    let notes = "return localStorage.getItem('mpulse-uploads')";
    assert_eq!(browser.run(notes).await, json!("{}"));
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_whose_response_is_lost_is_reported_correctly() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send(&stack).await;
    browser.line(SLOW).await;
    browser.press("Send").await;
    browser.shows("per second").await;
    browser.press("Cancel").await;
    // The first of two: by then the batch has already ended.
    cancel_elsewhere(&stack).await;
    browser.press("Cancel the upload").await;
    browser.shows(" · cancelled").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_connection_is_replaced() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send_parts(&stack).await;
    // A minute passes in the page within half a second.
    let hurry = "const { setTimeout: real } = globalThis;
        globalThis.setTimeout = (act, millis) => real(act, millis === 60000 ? 500 : millis);";
    browser.run(hurry).await;
    browser.line(50 * SLOW).await;
    browser.press("Send").await;
    browser.shows("per second").await;
    browser.line(1).await;
    browser.shows("stalled. Retrying.").await;
    browser.line(2000 * SLOW).await;
    browser.status("completed").await;
    browser.end().await;
}
