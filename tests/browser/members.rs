//! Members: created, found, changed, removed; by mouse and by keyboard alone.

use fantoccini::key::Key;
use mpulse_tests::{Stack, roster, send, text};
use reqwest::Method;
use serde_json::json;

use crate::browser::Browser;

async fn find(browser: &Browser, text: &str) {
    browser.fill("Find a member", text).await;
    browser.press("Find").await;
}

/// Fills the form of a new member.
async fn fill(browser: &Browser, fields: [(&str, &str); 5]) {
    for (label, value) in fields {
        browser.fill(label, value).await;
    }
}

const ZOE: [(&str, &str); 5] = [
    ("Account", "4"),
    ("Client id", "5622780"),
    ("First name", "Zoë"),
    ("Last name", "Brien"),
    ("Phone", "(714) 555-0123"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_created_and_found_by_every_field() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("New member").await;
    fill(&browser, ZOE).await;
    browser.press("Create").await;
    browser.shows("Member 4~5622780").await;
    browser.shows("Created.").await;
    browser.shows("+17145550123").await;
    browser.shows("by key writer").await;
    browser.press("Close").await;

    for known in [
        "7145550123",
        "+1 714-555-0123",
        "(714) 555 0123",
        "5622780",
        "4~5622780",
    ] {
        find(&browser, "no-such-id").await;
        browser.shows("No members found.").await;
        find(&browser, known).await;
        browser.shows("Zoë Brien").await;
    }
    browser.fill("Account", "5").await;
    browser.press("Find").await;
    browser.shows("No members found.").await;
    browser.fill("Account", "4").await;
    browser.press("Find").await;
    browser.shows("Zoë Brien").await;
    find(&browser, "1.5E+05").await;
    let fault = browser.fault("Find a member").await;
    assert!(fault.contains("is in scientific notation"), "{fault}");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_of_a_search_is_exported() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 3)).await;
    let browser = Browser::signed_in(&stack, &stack.reader).await;
    browser.fill("Account", "4").await;
    browser.press("Find").await;
    browser.press("Export as CSV").await;
    browser.shows("3 members exported: members-4-").await;
    let exports = stack.get("/api/exports").await.json();
    assert_eq!(exports["results"][0]["created_by"], "key:reader");
    let script = "return document.querySelector('#results .actions a').href";
    let url = browser.run(script).await;
    let file = send(stack.anonymous(Method::GET, text(&url))).await;
    assert_eq!(file.text().lines().count(), 4);
    browser.press("Export as a workbook").await;
    browser.shows(".xlsx").await;
    let exports = stack.get("/api/exports?limit=1").await.json();
    assert_eq!(exports["results"][0]["format"], "xlsx");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_shown_at_their_fields_with_the_server_s_messages() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.press("New member").await;
    fill(&browser, ZOE).await;
    browser.fill("Client id", "1.5E+05").await;
    browser.fill("Phone", "12").await;
    browser.fill("First name", " ").await;
    browser.press("Create").await;
    let body = json!({"account_id": "4", "client_member_id": "1.5E+05", "first_name": " ",
                      "last_name": "Brien", "phone_number": "12"});
    let shown = stack.post("/api/members/", &body).await.json();
    for (field, label) in [
        ("client_member_id", "Client id"),
        ("first_name", "First name"),
        ("phone_number", "Phone"),
    ] {
        let errors = shown["errors"].as_array().expect("errors");
        let error = errors.iter().find(|error| error["field"] == field);
        let message = &error.expect("the field has an error")["message"];
        assert_eq!(browser.fault(label).await, *message, "{label}");
    }
    let focused = browser.run("return document.activeElement.name").await;
    assert_eq!(
        focused, "client_member_id",
        "the first invalid field has the focus"
    );

    fill(&browser, ZOE).await;
    browser.press("Create").await;
    browser.shows("Member 4~5622780").await;
    browser.press("Close").await;
    browser.press("New member").await;
    fill(&browser, ZOE).await;
    browser.press("Create").await;
    browser.shows("The member 4~5622780 already exists.").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_after_a_concurrent_change_is_rejected() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 1)).await;
    let [id] = &stack.ids("aid=4").await[..] else {
        panic!("one member");
    };
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.go(&format!("/admin/#/members/{id}")).await;
    browser.press("Change").await;
    let path = format!("/api/members/{id}");
    let other = stack
        .request(Method::PATCH, &path)
        .json(&json!({"last_name": "Else"}));
    mpulse_tests::send(other).await.expect(200);
    browser.fill("Last name", "Mine").await;
    browser.press("Save").await;
    let shown = stack
        .request(Method::PATCH, &path)
        .header("if-match", "\"old\"")
        .json(&json!({"last_name": "Mine"}));
    let shown = mpulse_tests::send(shown)
        .await
        .problem(412, "precondition-failed");
    browser.shows(mpulse_tests::text(&shown["detail"])).await;

    browser.press("Cancel").await;
    browser.go("/admin/#/batches").await;
    browser.go(&format!("/admin/#/members/{id}")).await;
    browser.shows("Else").await;
    browser.press("Change").await;
    browser.fill("Last name", "Mine").await;
    browser.press("Save").await;
    browser.shows(" Mine").await;
    assert_eq!(stack.get(&path).await.json()["last_name"], "Mine");
    browser.press("Close").await;
    browser.no_dialog().await;
    browser
        .holds("return document.activeElement !== document.body")
        .await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_links_to_the_batch_that_wrote_it_and_can_be_removed() {
    let stack = Stack::start().await;
    let batch = stack
        .upload_with(&json!({"file_name": "people.csv"}), roster("4", 60))
        .await;
    let batch = mpulse_tests::text(&batch["batch_id"]);
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.shows("50 members so far").await;
    browser.press("More").await;
    browser.shows("60 members").await;
    // There are no more members: the focus is at the title, and not lost.
    let focused = browser.focused().await;
    assert_eq!(focused, "Members");

    let id = &stack.ids("aid=4").await[0];
    find(&browser, id).await;
    browser.shows("1 member").await;
    let name = browser
        .run("return document.querySelector('td .link').textContent")
        .await;
    browser.press(mpulse_tests::text(&name)).await;
    browser.press(&format!("batch {batch}")).await;
    browser.shows("people.csv").await;
    browser.shows("60 rows").await;

    // The search is still there.
    browser.press("Members").await;
    browser.press(mpulse_tests::text(&name)).await;
    browser.press("Remove").await;
    browser
        .shows("A file that contains the person creates the member again.")
        .await;
    browser.press("Keep it as it is").await;
    browser.press("Remove").await;
    browser.shows("creates the member again").await;
    browser.press("Remove").await;
    browser.shows("No members found.").await;
    assert_eq!(stack.get(&format!("/api/members/{id}")).await.status, 404);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_used_by_keyboard() {
    let stack = Stack::start().await;
    let browser = Browser::start(&stack).await;
    browser.field("Key id").await;
    // The first field has the focus when the page opens.
    browser.types(&stack.writer.id).await;
    browser.key(Key::Tab).await;
    browser.types(&stack.writer.secret).await;
    browser.key(Key::Enter).await;
    browser.shows("There are no members yet").await;

    // Presses Tab until an element has the focus, which must be visible.
    let reach = async |name: &str| {
        for _ in 0..30 {
            let script = "const at = document.activeElement;
                return [at.textContent.trim() || at.labels?.[0]?.textContent, getComputedStyle(at).outlineStyle]";
            let focused = browser.run(script).await;
            if focused[0] == name {
                assert_ne!(focused[1], "none", "the focus on {name} is seen");
                return;
            }
            browser.key(Key::Tab).await;
        }
        panic!("Tab leads to no {name}");
    };
    reach("New member").await;
    browser.key(Key::Enter).await;
    for (label, value) in ZOE {
        reach(label).await;
        browser.types(value).await;
    }
    browser.key(Key::Enter).await;
    browser.shows("Member 4~5622780").await;
    browser.key(Key::Escape).await;
    browser.shows("1 member").await;
    reach("Zoë Brien").await;
    browser.key(Key::Enter).await;
    browser.shows("Member 4~5622780").await;
    browser.key(Key::Escape).await;
    browser.no_dialog().await;
    let focused = browser.focused().await;
    assert_eq!(focused, "Zoë Brien", "the focus is back on the link");

    reach("Batches").await;
    browser.key(Key::Enter).await;
    browser.shows("No file has been sent yet.").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_response_of_a_search_does_not_replace_a_later_one() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.shows("There are no members yet").await;
    browser.hold_answers("cmid=5622780").await;
    find(&browser, "id-5622780").await;
    browser.shows("No members found.").await;
    find(&browser, "5622780").await;
    browser.holds_an_answer().await;
    // The delayed response has no members.
    browser
        .run("globalThis.first = release; globalThis.release = null")
        .await;
    browser.press("New member").await;
    fill(&browser, ZOE).await;
    browser.press("Create").await;
    browser.shows("Member 4~5622780").await;
    browser.press("Close").await;
    browser.shows("1 member").await;
    browser.run("first()").await;
    browser
        .holds("return !document.querySelector('form[role=search] .primary').disabled")
        .await;
    assert!(browser.text().await.contains("Zoë Brien"));
    browser.end().await;
}
