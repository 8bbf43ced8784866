//! The form of a report: the columns that it adds to those of the file, and how it escapes texts that a spreadsheet
//! may take for formulas. Reading a report undoes it.

use std::borrow::Cow;

pub use mpulse_shared::csv::{BOM, push_quoted};

/// The columns that the report adds before the file's own.
pub const OWN: [&str; 3] = ["line", "code", "message"];

/// The column that it adds after them.
pub const RAW: &str = "raw";

/// Returns whether the columns are those of a report.
pub fn is_report(names: &[String]) -> bool {
    names.len() >= OWN.len() && OWN.iter().zip(names).all(|(own, name)| own == name)
}

/// Returns whether a spreadsheet may take a text for a formula, or whether it looks as if it had been escaped.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches(ESCAPE)
        .starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// What is put before a text that a spreadsheet may take for a formula.
const ESCAPE: char = '\'';

/// Returns a field of the file as the report has it.
pub fn escape(text: &str) -> Cow<'_, str> {
    if is_formula(text) {
        Cow::Owned(format!("{ESCAPE}{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Appends a field of the file to a line of a report, quoted if need be (RFC 4180).
pub fn push_field(out: &mut String, text: &str) {
    if is_formula(text) {
        push_quoted(out, &format!("{ESCAPE}{text}"));
    } else {
        push_quoted(out, text);
    }
}

/// Returns a field of a report as it was in the file.
pub fn unescape(text: &str) -> &str {
    match text.strip_prefix(ESCAPE) {
        Some(rest) if is_formula(rest) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_escaped_and_read_as_they_were() {
        for text in [
            "=1+2",
            "+17145550123",
            "-1",
            "@x",
            "'=1",
            "''=1",
            "'t Hooft",
            "'",
            "",
        ] {
            assert_eq!(unescape(&escape(text)), text);
            assert!(!escape(text).starts_with(['=', '+', '-', '@']), "{text}");
        }
        assert_eq!(escape("'t Hooft"), "'t Hooft");
    }
}
