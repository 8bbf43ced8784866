//! Signing in and out, and invalid or revoked keys.

use mpulse_tests::{Login, Stack, send};
use reqwest::Method;

use crate::browser::Browser;

/// Returns whether a text is stored anywhere in the browser, except in the tab's own storage.
fn is_kept(text: &str) -> String {
    format!(
        "const asked = performance.getEntriesByType('resource').map(({{ name }}) => name);
         return [location.href, document.title, document.documentElement.outerHTML, document.cookie,
           JSON.stringify(localStorage), ...asked].some((place) => place.includes('{text}'))"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_keeps_the_secret_in_the_tab() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.admin).await;
    browser.shows("Members").await;
    browser.shows("There are no members yet").await;
    assert_eq!(browser.run(&is_kept(&stack.admin.secret)).await, false);

    browser.reload().await;
    browser.shows("admin (admin)").await;
    browser.press("Sign out").await;
    browser.shows("Sign in").await;
    let kept = browser.run("return JSON.stringify(sessionStorage)").await;
    assert_eq!(kept, "{}");
    browser.reload().await;
    browser.shows("Sign in").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_key_shows_the_server_s_message() {
    let stack = Stack::start().await;
    let browser = Browser::start(&stack).await;
    browser.press("Sign in").await;
    browser.shows("Enter the id and the secret").await;
    for (id, secret) in [
        ("admin", "wrong-secret"),
        ("no one:", "x"),
        ("unknown", "x"),
    ] {
        browser.fill("Key id", id).await;
        browser.fill("Secret", secret).await;
        browser.press("Sign in").await;
        browser
            .shows("The key is unknown or revoked, or the secret is wrong.")
            .await;
    }
    assert_eq!(browser.run(&is_kept("wrong-secret")).await, false);
    // It can be corrected in place.
    browser.sign_in(&stack.writer).await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_its_session_with_a_message() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.shows("There are no members yet").await;
    let revoked = stack.request_as(&stack.admin, Method::DELETE, "/api/keys/writer");
    send(revoked).await.expect(200);
    browser.press("Batches").await;
    browser.shows("The key is unknown or revoked").await;
    browser.field("Key id").await;
    // The next user finds nothing of the previous one.
    browser.run("globalThis.kept = 'by the page'").await;
    browser.sign_in(&stack.admin).await;
    browser.holds("return globalThis.kept === undefined").await;
    browser.shows("admin (admin)").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_what_it_may_do() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.reader).await;
    browser.shows("There are no members yet").await;
    for name in ["New member", "Send a file", "Keys"] {
        assert!(!browser.has(name).await, "{name}");
    }
    browser.go("/admin/#/keys").await;
    browser
        .shows("This page needs a key with the role admin.")
        .await;
    browser.press("Sign out").await;
    browser.shows("Sign in").await;

    browser.sign_in(&stack.writer).await;
    browser.control("New member").await;
    assert!(browser.has("Send a file").await && !browser.has("Keys").await);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_may_contain_any_characters() {
    let stack = Stack::start().await;
    let login = Login {
        id: "odd".into(),
        secret: "Zoë: “é”+/=".into(),
    };
    let role = mpulse_shared::key::Role::Reader;
    stack.fixed_key(&login.id, &login.secret, role).await;
    let browser = Browser::signed_in(&stack, &login).await;
    browser.shows("odd (reader)").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_closes_the_page_before_it_is_left() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.shows("There are no members yet").await;
    // While a file is sent, the browser asks, and the user may stay on the page.
    let script = "document.getElementById('sign-out').click();
        return [document.getElementById('sign-in').hidden, document.getElementById('who').hidden,
          document.getElementById('view').textContent]";
    let seen = browser.run(script).await;
    assert_eq!(seen, serde_json::json!([false, true, ""]));
    browser.shows("Sign in with the access key").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_registry_does_not_end_the_session() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.writer).await;
    browser.shows("There are no members yet").await;
    let block = |urls: &'static [&str]| {
        browser.cdp("Network.setBlockedURLs", serde_json::json!({"urls": urls}))
    };
    browser.cdp("Network.enable", serde_json::json!({})).await;
    block(&["*/api/*"]).await;
    browser.reload().await;
    browser.shows("The registry cannot be reached.").await;
    browser
        .run("document.querySelector('#view .alert').remove()")
        .await;
    browser.press("Retry").await;
    browser.shows("The registry cannot be reached.").await;
    block(&[]).await;
    browser.press("Retry").await;
    browser.shows("There are no members yet").await;

    block(&["*/assets/batches.js"]).await;
    browser.press("Batches").await;
    browser.shows("This page could not be loaded").await;
    // An invalid address leads to the first page.
    browser.go("/admin/#/members/50%").await;
    browser.shows("There are no members yet").await;
    browser.end().await;
}
