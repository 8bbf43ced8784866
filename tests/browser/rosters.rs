//! Rosters: previewed, applied, looked at and reverted; on a narrow screen, by keyboard.

use std::fs;

use fantoccini::key::Key;
use mpulse_tests::{Stack, roster, roster_ids, row_of, text};
use serde_json::json;

use crate::browser::Browser;
use crate::newest;
use crate::screen::{Look, NARROW, pictures};

/// A narrow screen.
const PHONE: Look = Look {
    screen: NARROW,
    dark: false,
};

/// The people of the account, and those in the next file.
const PEOPLE: u64 = 20;
const STAYING: u64 = 19;

/// A file without the last person, with another name of the first one, and with one more.
fn next_file() -> String {
    let (first, new) = (row_of("4", 0, "Ada"), row_of("4", 100, "Grace"));
    let all = roster("4", STAYING);
    let mut lines: Vec<&str> = all.split_inclusive('\n').collect();
    lines[1] = &first;
    lines.push(&new);
    lines.concat()
}

/// Checks that the page can be used by everyone, and that it fits its screen.
async fn is_usable(browser: &Browser, what: &str) {
    let barriers = browser.barriers().await;
    assert!(barriers.is_empty(), "{what}: {barriers:#?}");
    let overhang = browser.overhang().await;
    assert!(overhang <= 0, "{what}: {overhang} pixels too wide");
    let path = pictures().join(format!("rosters-{what}.png"));
    fs::write(path, browser.picture("png").await).expect("a picture");
}

/// Presses Tab until an element has the focus, and then Enter.
async fn enter(browser: &Browser, name: &str) {
    browser.control(name).await;
    for _ in 0..60 {
        let script = "const at = document.activeElement;
            return [at.textContent.trim(), getComputedStyle(at).outlineStyle]";
        let focused = browser.run(script).await;
        if focused[0] == name {
            assert_ne!(focused[1], "none", "the focus on {name} is seen");
            browser.key(Key::Enter).await;
            return;
        }
        browser.key(Key::Tab).await;
    }
    panic!("Tab leads to no {name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_is_previewed_applied_and_reverted_on_a_phone_by_keyboard() {
    let stack = Stack::start().await;
    stack.upload(roster("4", PEOPLE)).await;
    let ids = roster_ids("4", PEOPLE);
    let (first, last) = (&ids[0], ids.last().expect("people"));
    let before = stack.get(&format!("/api/members/{first}")).await.json();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("july.csv");
    fs::write(&path, next_file()).expect("a file");

    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.look(PHONE).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.shows("Preview sends the file too").await;
    assert!(!browser.text().await.contains("Remove at most"));
    browser.choose("Existing members", "replace").await;
    browser.shows("Remove at most").await;
    is_usable(&browser, "settings").await;
    enter(&browser, "Preview").await;
    let fault = browser.fault("Account").await;
    assert!(fault.contains("is required in mode replace"), "{fault}");
    browser.fill("Account", "4").await;
    enter(&browser, "Preview").await;

    // The plan is shown where the file was sent, and on its own page.
    browser.shows("Members who would be removed").await;
    browser.shows(last).await;
    browser.press("open the batch").await;
    browser.shows("july.csv (dry run)").await;
    browser.shows("Cost if applied").await;
    browser.shows("Members who would be removed").await;
    let seen = browser.text().await;
    for part in [
        "+ 1\ncreated",
        "~ 1\nupdated",
        "− 1\nremoved",
        "= 18\nunchanged",
        "! 0\nrejected",
        "− removed",
        "1 member: about 5% of the account’s members",
        last,
        " → Ada",
        "Grace",
    ] {
        assert!(seen.contains(part), "no {part:?}: {seen}");
    }
    is_usable(&browser, "plan").await;
    let dry_run = newest(&stack).await;
    let dry_run = text(&dry_run["batch_id"]);
    stack.get(&format!("/api/members/{last}")).await.expect(200);

    enter(&browser, "Apply").await;
    browser
        .shows("1 member is removed: about 5% of the account’s members")
        .await;
    browser.shows("1 member is created").await;
    browser.shows("1 member is updated").await;
    is_usable(&browser, "apply").await;
    browser.key(Key::Escape).await;
    browser.no_dialog().await;
    let focused = browser.focused().await;
    assert_eq!(focused, "Apply");
    enter(&browser, "Apply").await;
    browser.shows("Apply this plan?").await;
    enter(&browser, "Apply").await;
    browser.shows("Applies").await;
    browser.shows("Removed members").await;
    browser.shows("All of them").await;
    is_usable(&browser, "changes").await;
    let applied = newest(&stack).await;
    let applied = text(&applied["batch_id"]);
    stack.get(&format!("/api/members/{last}")).await.expect(404);

    // The plan knows who applied it, and a member what the batch changed.
    browser.press(dry_run).await;
    browser.shows("This plan was applied by").await;
    assert!(!browser.has("Apply").await);
    browser.go(&format!("/admin/#/members/{first}")).await;
    browser.shows("~ updated by july.csv").await;
    browser.shows(" → Ada").await;
    is_usable(&browser, "member").await;
    browser.press("july.csv").await;
    browser.shows("Applies").await;

    enter(&browser, "Revert").await;
    browser.shows("1 created member is removed").await;
    browser.shows("1 updated member gets its old values").await;
    browser
        .shows("1 removed member is created again, with the old values")
        .await;
    is_usable(&browser, "revert").await;
    enter(&browser, "Revert").await;
    browser.shows("(revert)").await;
    browser.shows("Reverts").await;
    browser.shows("Removed members").await;
    let after = stack.get(&format!("/api/members/{first}")).await.json();
    assert_eq!(after["first_name"], before["first_name"]);
    stack.get(&format!("/api/members/{last}")).await.expect(200);
    browser.press(applied).await;
    browser.shows("Reverted by").await;
    browser.press("Batches").await;
    browser.shows("dry run").await;
    browser.shows("revert").await;
    browser.shows("1 removed").await;
    is_usable(&browser, "list").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_an_incomplete_file_shows_why_it_would_fail() {
    let stack = Stack::start().await;
    stack.upload(roster("4", PEOPLE)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.csv");
    fs::write(&path, roster("4", 5)).expect("a file");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("Send a file").await;
    browser.give("Choose CSV files", &[&path]).await;
    browser.choose("Existing members", "replace").await;
    browser.fill("Account", "4").await;
    browser.fill("Remove at most", "many").await;
    browser.press("Preview").await;
    browser.fault("Remove at most").await;
    browser.fill("Remove at most", "3").await;
    browser.press("Preview").await;
    browser.status("failed").await;
    browser
        .shows("15 of 20 members of account 4 are not in the file")
        .await;
    assert!(!browser.has("Apply").await);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_members_at_the_end_of_a_large_report_are_shown_first() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 8000)).await;
    // Everyone has another name, but the last 150 people are not in the file.
    let mut file = mpulse_tests::HEADER.to_owned();
    for index in 0..7850 {
        file.push_str(&row_of("4", index, "Nell"));
    }
    let request = json!({
        "mode": "replace", "account_id": "4", "dry_run": true, "file_name": "large.csv",
    });
    let batch = stack.upload_with(&request, file).await;
    assert_eq!(batch["rows"]["removed"], 150, "{batch}");
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    let id = text(&batch["batch_id"]);
    browser.go(&format!("/admin/#/batches/{id}")).await;
    browser.shows("Members who would be removed").await;
    browser.shows("100 of 150:").await;
    browser.shows("100 of 7,850:").await;
    browser
        .shows("150 members: about 1.9% of the account’s members")
        .await;
    let first =
        "return document.querySelector('.gone tbody tr').textContent.startsWith('− removed')";
    assert_eq!(browser.run(first).await, true);

    // Without its end, the report would seem to remove nobody.
    let script = "const before = window.fetch;
        window.fetch = (url, options) => (options?.headers?.range?.startsWith('bytes=-')
            ? Promise.reject(new TypeError('cut')) : before(url, options));";
    browser.run(script).await;
    browser.press("All batches").await;
    browser.press("large.csv").await;
    browser.shows("The report cannot be shown here").await;
    assert!(!browser.text().await.contains("100 of 7,850:"));
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_in_the_middle_of_a_large_report_leads_to_its_changes() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 8000)).await;
    let mut file = mpulse_tests::HEADER.to_owned();
    for index in 0..8000 {
        file.push_str(&row_of("4", index, "Nell"));
    }
    let request = json!({"file_name": "large.csv"});
    let batch = stack.upload_with(&request, file).await;
    assert_eq!(batch["rows"]["updated"], 8000, "{batch}");
    let ids = roster_ids("4", 8000);
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.look(PHONE).await;
    for id in [&ids[0], ids.last().expect("people")] {
        browser.go(&format!("/admin/#/members/{id}")).await;
        browser.shows("~ updated by large.csv").await;
    }
    browser.go(&format!("/admin/#/members/{}", ids[4000])).await;
    browser
        .shows("To see what the batch did to this member, download the changes of large.csv")
        .await;
    is_usable(&browser, "member-in-the-middle").await;
    browser.press("large.csv").await;
    browser.shows("Download the changes").await;
    browser.end().await;
}
