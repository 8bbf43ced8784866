//! The console in a real browser: Chromium without a window, driven by `WebDriver`, against a
//! running stack.
//!
//! It needs the programs `chromium` and `chromedriver` (`CHROMIUM` and `CHROMEDRIVER` name others)
//! and the script of axe-core, where `.ci/run` puts it or `AXE` says:
//! `cargo test --workspace --features mpulse-tests/browser --test browser`.

mod batches;
mod browser;
mod files;
mod keys;
mod large;
mod members;
mod pages;
mod session;
