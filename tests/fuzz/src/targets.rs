//! The list of targets.

mod bodies;
mod engine;
mod events;
mod files;
mod ids;
mod records;
mod rows;
mod workbooks;

/// A target.
#[derive(Debug)]
pub struct Target {
    /// Its name, which is also that of its folder in `corpus`, and of its file in `words`.
    pub name: &'static str,
    /// Runs it on an input.
    pub run: fn(&[u8]),
    /// Whether the files in `tests/cases` are inputs too.
    pub reads_cases: bool,
    /// How many mutations `cargo test` runs: what it does in a second or two.
    pub mutations: usize,
}

const fn target(name: &'static str, run: fn(&[u8]), mutations: usize) -> Target {
    Target {
        name,
        run,
        reads_cases: false,
        mutations,
    }
}

const fn of_files(name: &'static str, run: fn(&[u8]), mutations: usize) -> Target {
    Target {
        reads_cases: true,
        ..target(name, run, mutations)
    }
}

/// All targets.
pub static TARGETS: &[Target] = &[
    of_files("records", records::records, 5_000),
    of_files("long_records", records::long_records, 200),
    of_files("header", files::header, 5_000),
    of_files("text", files::text, 5_000),
    of_files("file", files::file, 5_000),
    target("workbook", workbooks::workbook, 1_000),
    target("row", rows::row, 5_000),
    target("id", ids::id, 20_000),
    target("cursor", ids::cursor, 20_000),
    target("credentials", ids::credentials, 20_000),
    target("event", events::event, 10_000),
    target("form", bodies::form, 10_000),
    target("batch_request", bodies::batch_request, 10_000),
    target("expression", engine::expression, 20_000),
    target("statement", engine::statement, 20_000),
    target("number", engine::number, 20_000),
    target("item", engine::item, 20_000),
    target("calls", engine::calls, 2_000),
];

/// Returns the target of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
