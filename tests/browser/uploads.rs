//! Uploads that don't go as they should: an answer that is lost, a URL that is refused, a change
//! of mind, another tab. What is told must be what is so.

use std::fs;
use std::path::Path;

use mpulse_tests::{Stack, count, roster, text};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::{large, newest};

/// Bytes a second at which a small file takes long enough to be stopped.
const SLOW: u32 = 20_000;

/// Rows of the small file, which has about 45 bytes in each.
const ROWS: u64 = 20_000;

/// Bytes of a file that goes in parts.
const IN_PARTS: usize = 110_000_000;

/// The PUTs that this page began.
const PUTS: &str = "return performance.getEntriesByType('resource')
    .filter(({ name }) => name.includes('X-Amz-Signature')).length";

/// From now on the file store finds the URLs of uploads wrong.
const SPOIL: &str = "const { open } = XMLHttpRequest.prototype;
    globalThis.spoilt = true;
    XMLHttpRequest.prototype.open = function (method, url) {
      const other = (all, digit) => 'Signature=' + (digit === '0' ? '1' : '0');
      open.call(this, method, globalThis.spoilt ? url.replace(/Signature=(.)/, other) : url);
    };";

/// The answer of the next upload is lost, as by a line that is cut in that moment.
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

/// The same for a file that goes in parts.
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
    browser.shows("What to do with the rows").await;
    (browser, folder)
}

/// Takes the file off the page.
async fn put_away(browser: &Browser) {
    browser.press("Remove").await;
    browser
        .holds("return !document.querySelector('section.card[aria-label]')")
        .await;
}

/// Cancels the newest batch as somebody else would.
async fn cancel_elsewhere(stack: &Stack) {
    let batch = newest(stack).await;
    let path = format!("/api/members/batch/{}", text(&batch["batch_id"]));
    stack.delete(&path).await.expect(200);
}

/// There are so many batches, and all of them are cancelled.
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
async fn a_file_whose_answer_is_lost_is_not_sent_twice() {
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
async fn a_url_that_is_refused_is_told_and_the_file_can_be_put_away() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send(&stack).await;
    browser.run(SPOIL).await;
    browser.listen().await;
    browser.press("Send").await;
    browser.shows("The file store refused the upload").await;
    browser.hears("people.csv: failed.").await;
    browser.control("Remove").await;
    let again = "return [...document.querySelectorAll('button')]
        .find(({ textContent }) => textContent === 'Try again').hidden";
    assert_eq!(browser.run(again).await, true, "the URL would be the same");
    put_away(&browser).await;
    assert_eq!(newest(&stack).await["status"], "awaiting_upload");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_cancelled_elsewhere_is_not_called_sent() {
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
    browser.shows("What was sent is thrown away.").await;
    browser.press("Cancel the upload").await;
    browser.shows(" · cancelled").await;
    browser.hears("people.csv: cancelled.").await;
    put_away(&browser).await;
    all_are_cancelled(&stack, 1).await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_at_the_very_end_loses_nothing() {
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
async fn parts_that_are_refused_are_sent_at_another_try() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send_parts(&stack).await;
    browser.run(SPOIL).await;
    browser.press("Send").await;
    browser.shows("The file store refused the upload").await;
    // After some tries of its own.
    browser.control("Try again").await;
    browser.run("globalThis.spoilt = false").await;
    browser.line(100 * SLOW).await;
    browser.enter("Try again").await;
    // That button is gone now, and what can be done instead has the focus.
    browser
        .holds("return document.activeElement.textContent === 'Pause'")
        .await;
    browser.line(2000 * SLOW).await;
    browser.status("completed").await;
    // Nor is there a button any more when it is sent: the file's name has the focus.
    let focused = browser.focused().await;
    assert_eq!(focused, "large.csv");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_cancelled_while_they_are_on_their_way() {
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
async fn an_upload_is_given_up_after_a_reload_but_not_by_another_tab_that_sends_nothing() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send_parts(&stack).await;
    browser.line(50 * SLOW).await;
    browser.press("Send").await;
    browser.shows("per second").await;

    browser.other_tab().await;
    browser.sign_in(&stack.writer).await;
    // One that no tab has in its hands is offered; it stands behind the first.
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
    browser.shows("stale.csv was not sent to its end").await;
    assert!(!browser.text().await.contains("large.csv"));
    browser.press("Give it up").await;
    browser.shows_no("stale.csv").await;
    browser.close_tab().await;

    browser.reload().await;
    browser.shows("large.csv was not sent to its end").await;
    browser.press("Give it up").await;
    browser.shows_no("large.csv").await;
    all_are_cancelled(&stack, 2).await;
    let notes = "return localStorage.getItem('mpulse-uploads')";
    assert_eq!(browser.run(notes).await, json!("{}"));
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_whose_answer_was_lost_is_told_as_it_is() {
    let stack = Stack::start().await;
    let (browser, _folder) = about_to_send(&stack).await;
    browser.line(SLOW).await;
    browser.press("Send").await;
    browser.shows("per second").await;
    browser.press("Cancel").await;
    // The first of two: now it has ended already.
    cancel_elsewhere(&stack).await;
    browser.press("Cancel the upload").await;
    browser.shows(" · cancelled").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stands_still_is_given_up_for_another() {
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
    browser.shows("stood still. Trying again.").await;
    browser.line(2000 * SLOW).await;
    browser.status("completed").await;
    browser.end().await;
}
