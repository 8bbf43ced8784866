//! Runs one target by libFuzzer: `FUZZ_TARGET=records fuzz-… [OPTION …] [FOLDER …]`. `tests/fuzz/run` builds and calls it.

#![no_main]

use std::panic;
use std::sync::OnceLock;

use mpulse_fuzz::{Target, find};

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, which is no target"))
    })
}

/// The library of workbooks panics on some files, such as one with a row number beyond 32 bits. The code that calls it makes that an
/// error of the file; other panics are findings, which end the program.
fn let_workbooks_panic() {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let is_known = |place: &panic::Location<'_>| place.file().contains("/calamine-");
        if !panic.location().is_some_and(is_known) {
            end(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: let_workbooks_panic(), |bytes| (chosen().run)(bytes));
