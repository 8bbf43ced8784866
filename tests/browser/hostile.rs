//! Markup, scripts and text in the other direction, in everything that the console shows, and the policy that the page is
//! served with.

use mpulse_tests::{HEADER, Stack, text};
use serde_json::{Value, json};

use crate::browser::Browser;

/// Markup that runs a script in three ways if it becomes a part of the page.
const MARKUP: &str = "<img src=x onerror=\"globalThis.ran=1\"><script>globalThis.ran=1</script><a href=javascript:ran=1>";

/// Right-to-left override, which turns the text after it around.
const TURNED: &str = "Ann\u{202E}eeL";

/// Whether a script has run, and the elements that the markup would have made.
const HARM: &str = "return globalThis.ran === undefined
    && !document.querySelector('img, a[href^=javascript]')
    && [...document.scripts].every(({ src }) => new URL(src).origin === location.origin)";

/// Records violations of the policy.
const WATCH: &str = "globalThis.violations = [];
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => violations.push(effectiveDirective));";

/// Tries what an injected element would try. The driver allows `eval` in its own script, so that is called later.
const INJECT: &str = "const script = document.createElement('script');
    script.textContent = 'globalThis.ran = 1';
    const button = document.createElement('button');
    button.setAttribute('onclick', 'globalThis.ran = 1');
    const frame = document.createElement('iframe');
    frame.src = '/';
    const form = document.createElement('form');
    form.action = 'http://localhost:9/';
    document.body.append(script, button, frame, form);
    button.click();
    form.submit();
    fetch('http://localhost:9/?' + sessionStorage.length).catch(() => {});
    new Image().src = 'http://localhost:9/';
    setTimeout(() => { try { eval('globalThis.ran = 1'); } catch {} });";

#[tokio::test(flavor = "multi_thread")]
async fn names_are_shown_as_text_and_no_injected_script_runs() {
    let stack = Stack::start().await;
    let member = json!({"account_id": "4", "client_member_id": "1", "first_name": MARKUP, "last_name": TURNED,
                        "phone_number": "7145550123"});
    stack.post("/api/members", &member).await.expect(201);
    let named = |name: &str| json!({"file_name": name});
    let rejected = format!(
        "{HEADER}4,2,\"{}\",{TURNED},{MARKUP}\n",
        MARKUP.replace('"', "\"\"")
    );
    let rejects = stack.upload_with(&named(MARKUP), rejected).await;
    let header = format!("\"{}\",b\n1,2\n", MARKUP.replace('"', "\"\""));
    let failed = stack.upload_with(&named(TURNED), header).await;
    assert_eq!(failed["problem"]["code"], "missing_column", "{failed:#}");

    let browser = Browser::signed_in(&stack, &stack.admin).await;
    for (page, shown) in [
        ("members?aid=4".to_owned(), &MARKUP[..40]),
        ("members/4~1".to_owned(), &MARKUP[..40]),
        ("batches".to_owned(), MARKUP),
        (format!("batches/{}", text(&rejects["batch_id"])), MARKUP),
        (
            format!("batches/{}", text(&failed["batch_id"])),
            "<img src=x",
        ),
    ] {
        browser.go(&format!("/admin/#/{page}")).await;
        browser.reload().await;
        browser.run(WATCH).await;
        browser.shows(shown).await;
        assert_eq!(browser.run(HARM).await, true, "{page}");
        assert_eq!(browser.run("return violations").await, json!([]), "{page}");
    }
    browser.go(&format!("/admin/#/members/{MARKUP}")).await;
    browser.reload().await;
    browser.shows("Members").await;
    assert_eq!(browser.run(HARM).await, true);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_stops_what_an_injected_element_tries() {
    let stack = Stack::start().await;
    let browser = Browser::signed_in(&stack, &stack.admin).await;
    browser.run(WATCH).await;
    browser.run(INJECT).await;
    browser.holds("return new Set(violations).size >= 7").await;
    let mut violated: Vec<Value> = browser
        .run("return violations")
        .await
        .as_array()
        .expect("a list")
        .clone();
    violated.sort_by_key(Value::to_string);
    violated.dedup();
    let directives = [
        "connect-src",
        "form-action",
        "frame-src",
        "img-src",
        "script-src",
        "script-src-attr",
        "script-src-elem",
    ];
    for directive in directives {
        assert!(
            violated.contains(&json!(directive)),
            "{directive}: {violated:?}"
        );
    }
    assert_eq!(
        browser.run("return globalThis.ran === undefined").await,
        true
    );
    // The browser has logged the violations, so its log is not empty: it is not closed by `end`.
}
