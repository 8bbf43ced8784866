//! Runs one target by libFuzzer: `FUZZ_TARGET=records fuzz-… [OPTION …] [FOLDER …]`. `tests/fuzz/run` builds and calls it.

#![no_main]

use std::sync::OnceLock;

use mpulse_fuzz::{Target, find};

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, which is no target"))
    })
}

libfuzzer_sys::fuzz_target!(|bytes| (chosen().run)(bytes));
