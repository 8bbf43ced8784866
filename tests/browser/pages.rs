//! Every page as everybody meets it: with a screen reader, on a narrow screen, in light and dark,
//! and over a slow line.

use mpulse_tests::Stack;
use serde_json::json;

use crate::browser::{Browser, NARROW, WIDE};
use crate::pictures;

#[tokio::test(flavor = "multi_thread")]
async fn no_page_shuts_anybody_out_or_is_wider_than_its_screen() {
    let stack = Stack::with_faults(pictures::SLOW).await;
    let scene = pictures::Scene::new(&stack).await;
    let browser = Browser::start(&stack).await;
    for page in pictures::PAGES {
        for (screen, dark) in [(WIDE, false), (NARROW, true)] {
            browser.screen(screen).await;
            browser.dark(dark).await;
            scene.open(&browser, page).await;
            let barriers = browser.barriers().await;
            assert!(barriers.is_empty(), "{page}: {barriers:#?}");
            let overhang = browser.overhang().await;
            assert!(overhang <= 0, "{page} is {overhang} pixels too wide");
        }
    }
    // And two that no picture is made of.
    scene.open(&browser, "members").await;
    browser.press("New member").await;
    browser.press("Create").await;
    browser.fault("Client id").await;
    assert_eq!(browser.barriers().await.len(), 0);
    scene.open(&browser, "keys").await;
    browser.fill("Key id", "shown-once").await;
    browser.press("Create").await;
    browser.shows("never shown again").await;
    assert_eq!(browser.barriers().await.len(), 0);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_paint_takes_the_page_and_four_more_requests() {
    let stack = Stack::start().await;
    let browser = Browser::start(&stack).await;
    browser.field("Key id").await;
    let script = "const paint = performance.getEntriesByName('first-contentful-paint')[0].startTime;
        const files = performance.getEntriesByType('resource').map(({ name }) => name.split('/').pop());
        return [paint, files.sort()]";
    let seen = browser.run(script).await;
    assert!(
        seen[0].as_f64().is_some_and(|millis| millis > 0.0),
        "{seen}"
    );
    assert_eq!(
        seen[1],
        json!(["api.js", "app.js", "console.css", "dom.js"])
    );
    browser.end().await;
}
