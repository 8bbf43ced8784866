//! Each target on its corpus, and on mutations of it that are the same in each run. `FUZZ_MUTATIONS` sets their number.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mpulse_fuzz::mutate::Mutator;
use mpulse_fuzz::{TARGETS, Target, corpus, find};

/// Runs a target on an input. If it panics, says which input it was.
fn run(target: &Target, name: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        eprintln!(
            "{} fails on {name}: \"{}\"",
            target.name,
            input.escape_ascii()
        );
        resume_unwind(panic);
    }
}

fn check(name: &str) {
    let target = find(name).expect("a target");
    let inputs = target.inputs();
    assert!(!inputs.is_empty(), "corpus/{name} has no inputs");
    for (file, input) in &inputs {
        run(target, file, input);
    }
    let inputs: Vec<Vec<u8>> = inputs.into_iter().map(|(_, input)| input).collect();
    let words = target.words();
    let mut mutator = Mutator::new(&inputs, &words, 2026);
    let asked = std::env::var("FUZZ_MUTATIONS").ok();
    let mutations = asked.map_or(target.mutations, |count| count.parse().expect("a number"));
    for _ in 0..mutations {
        run(target, "a mutation", &mutator.next_input());
    }
}

macro_rules! tests {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                check(stringify!($target));
            }
        )*

        #[test]
        fn every_target_is_tested_and_every_folder_is_of_a_target() {
            let tested = [$(stringify!($target)),*];
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), tested);
            for kind in ["corpus", "words"] {
                for entry in corpus::folder().join(kind).read_dir().expect("a folder") {
                    let name = entry.expect("an entry").file_name();
                    assert!(name.to_str().is_some_and(|name| tested.contains(&name)), "{kind}/{name:?}");
                }
            }
        }
    };
}

tests! {
    records long_records header text file workbook row id cursor credentials event form batch_request expression statement
    number item calls
}
