//! Access keys: created, shown once, listed, revoked.

use mpulse_tests::{Login, Stack, send};
use reqwest::Method;

use crate::browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_shown_once_and_revoked() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.admin).await;
    browser.press("Keys").await;
    browser.fill("Key id", "night job").await;
    browser.press("Create").await;
    browser.fault("Key id").await;
    browser.fill("Key id", "night-job").await;
    browser.choose("Role", "writer").await;
    browser.fill("Accounts", "4, 5").await;
    browser.press("Create").await;
    browser.shows("never shown again").await;
    let field = browser.field("Key id and secret").await;
    let both = field.prop("value").await.expect("a value").expect("a text");
    let (id, secret) = both.split_once(':').expect("an id and a secret");
    let login = Login {
        id: id.to_owned(),
        secret: secret.to_owned(),
    };
    let look = || stack.request_as(&login, Method::GET, "/api/keys/night-job");
    let key = send(look()).await.json();
    assert_eq!(key["role"], "writer");
    assert_eq!(key["accounts"], serde_json::json!(["4", "5"]));
    browser.press("Copy").await;
    browser
        .until("the message after copying", async || {
            let text = browser.text().await;
            (text.contains("Copied.") || text.contains("copy it by hand")).then_some(())
        })
        .await;
    browser.press("Close").await;
    browser.shows("4, 5").await;
    browser.no_dialog().await;
    let kept = browser
        .run("return document.documentElement.outerHTML")
        .await;
    assert!(!kept.as_str().expect("a page").contains(secret));

    browser.listen().await;
    browser.press("Revoke night-job").await;
    browser.shows("You cannot undo this.").await;
    browser.press("Revoke").await;
    let row = "return [...document.querySelectorAll('tbody tr')]
        .some(({ textContent }) => /^night-job.*revoked /.test(textContent))";
    browser.holds(row).await;
    browser.hears("night-job was revoked.").await;
    let focused = browser.focused().await;
    assert_eq!(
        focused, "Keys",
        "the button is gone, so the title has the focus"
    );
    send(look()).await.problem(401, "wrong-key");
    assert!(
        !browser.has("Revoke admin").await,
        "the own key cannot be revoked"
    );
    browser.end().await;
}
