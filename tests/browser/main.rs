//! The console in a real browser: headless Chromium, driven by `WebDriver`, against a running
//! stack.
//!
//! It needs the programs `chromium` and `chromedriver` (`CHROMIUM` and `CHROMEDRIVER` name others)
//! and the script of axe-core (from `.ci/run`, or `AXE` names it): `cargo test --workspace
//! --features mpulse-tests/browser --test browser`.

mod batches;
mod browser;
mod driver;
mod files;
mod formats;
mod hostile;
mod keys;
mod large;
mod members;
mod pages;
mod rosters;
mod screen;
mod session;
mod uploads;

/// The newest batch of a stack.
async fn newest(stack: &mpulse_tests::Stack) -> serde_json::Value {
    let list = stack.get("/api/members/batch?limit=1").await.json();
    list["results"][0].clone()
}
