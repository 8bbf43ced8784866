//! The header: what separates the fields, and which column is which.

use mpulse_shared::batch::{BatchProblem, Layout, Position};
use mpulse_shared::columns::{self, DELIMITERS};
use mpulse_shared::member::Field;

use crate::parse::{MAX_RECORD, Parser};

/// The byte order mark of a UTF-8 file.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What the first bytes of a file tell.
#[derive(Debug)]
pub enum Head {
    /// The header is not whole yet: more bytes are needed.
    Partial,
    /// The header, and the place of the first row.
    Read(Layout, Position),
    /// The file can't be read.
    Failed(BatchProblem),
}

/// Reads the header from the first bytes of a file. `whole` says that there are no more.
/// `has_account` says that the batch names the account of rows that don't.
pub fn read(bytes: &[u8], whole: bool, has_account: bool) -> Head {
    if bytes.len() < BOM.len() && !whole {
        return Head::Partial;
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return failed(
            "utf16_file",
            "The file is UTF-16. Save it as UTF-8 and send it again.",
        );
    }
    if bytes.starts_with(b"\x1F\x8B") || bytes.starts_with(b"PK\x03\x04") {
        return failed(
            "not_csv",
            "The file is compressed or a spreadsheet, not CSV text.",
        );
    }
    let skipped = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    let text = &bytes[skipped..];
    let start = Position {
        offset: skipped as u64,
        line: 1,
    };
    let delimiter = delimiter_of(text);
    let mut parser = Parser::new(delimiter, start);
    parser.push(text);
    if whole {
        parser.finish();
    }
    let Some(record) = parser.next() else {
        return match whole {
            true => failed("empty_file", "The file is empty: it has not even a header."),
            false if text.len() > MAX_RECORD => failed(
                "header_too_long",
                format!("The header is longer than {MAX_RECORD} bytes."),
            ),
            false => Head::Partial,
        };
    };
    if record.unbounded {
        return failed(
            "header_too_long",
            format!(
                "The header is longer than {MAX_RECORD} bytes, or a quote in it is never closed."
            ),
        );
    }
    if record.raw.contains(&0) {
        return failed(
            "not_text",
            "The header holds NUL bytes: the file is UTF-16 or no text at all.",
        );
    }
    let names: Result<Vec<String>, _> = record
        .fields()
        .map(|name| std::str::from_utf8(name).map(|name| name.trim().to_owned()))
        .collect();
    let Ok(names) = names else {
        return failed(
            "not_utf8",
            "The header is not UTF-8 (Latin-1, perhaps). Save the file as UTF-8.",
        );
    };
    match map(&names, has_account) {
        Ok(fields) => Head::Read(
            Layout {
                delimiter,
                names,
                fields,
            },
            parser.position(),
        ),
        Err(problem) => Head::Failed(problem),
    }
}

/// The delimiter that stands most often in the first line, outside quotes.
fn delimiter_of(text: &[u8]) -> u8 {
    let mut counts = [0usize; DELIMITERS.len()];
    let mut quoted = false;
    for &byte in text {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted && counts.iter().any(|&n| n > 0) => break,
            _ if !quoted => {
                if let Some(at) = DELIMITERS.iter().position(|&d| d == byte) {
                    counts[at] += 1;
                }
            }
            _ => {}
        }
    }
    let mut best = 0;
    for at in 1..counts.len() {
        if counts[at] > counts[best] {
            best = at;
        }
    }
    DELIMITERS[best]
}

fn map(names: &[String], has_account: bool) -> Result<Vec<(Field, usize)>, BatchProblem> {
    let mut fields: Vec<(Field, usize)> = Vec::new();
    for (column, name) in names.iter().enumerate() {
        let Some(field) = columns::field(name) else {
            continue;
        };
        if let Some(&(_, first)) = fields.iter().find(|(known, _)| *known == field) {
            return Err(problem(
                "duplicate_column",
                format!(
                    "The columns {:?} and {:?} both mean {}. Rename or remove one.",
                    names[first],
                    name,
                    field.name()
                ),
            ));
        }
        fields.push((field, column));
    }
    let missing: Vec<&str> = Field::ALL
        .into_iter()
        .filter(|field| !fields.iter().any(|(known, _)| known == field))
        .filter(|field| !(has_account && *field == Field::AccountId))
        .map(Field::name)
        .collect();
    if missing.is_empty() {
        return Ok(fields);
    }
    Err(problem(
        "missing_column",
        format!(
            "The header lacks {}. It has: {}.",
            missing.join(", "),
            names.join(", ")
        ),
    ))
}

fn failed(code: &str, message: impl Into<String>) -> Head {
    Head::Failed(problem(code, message))
}

fn problem(code: &str, message: impl Into<String>) -> BatchProblem {
    BatchProblem {
        code: code.to_owned(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &[u8]) -> Result<(Layout, Position), String> {
        match read(text, true, false) {
            Head::Read(layout, at) => Ok((layout, at)),
            Head::Failed(problem) => Err(problem.code),
            Head::Partial => Err("partial".into()),
        }
    }

    #[test]
    fn columns_are_found_in_any_order_and_spelling() {
        let (layout, at) =
            layout(b"\xEF\xBB\xBFPhone;Last Name;FIRST_NAME;Member ID;account-id;id\r\n1").unwrap();
        assert_eq!(layout.delimiter, b';');
        assert_eq!(
            layout.fields,
            [
                (Field::PhoneNumber, 0),
                (Field::LastName, 1),
                (Field::FirstName, 2),
                (Field::ClientMemberId, 3),
                (Field::AccountId, 4)
            ]
        );
        assert_eq!(layout.ignored(), ["id"]);
        assert_eq!(
            at,
            Position {
                offset: 55,
                line: 2
            }
        );
    }

    #[test]
    fn tabs_and_pipes_separate_too() {
        for delimiter in ["\t", "|"] {
            let header = ["aid", "cmid", "first", "last", "ph"].join(delimiter);
            let (layout, _) = layout(header.as_bytes()).unwrap();
            assert_eq!(layout.fields.len(), 5);
        }
    }

    #[test]
    fn what_is_no_roster_is_said() {
        for (text, code) in [
            (b"".as_slice(), "empty_file"),
            (b"\n\r\n", "empty_file"),
            (b"\xFF\xFEa\0", "utf16_file"),
            (b"a\0c\0c\0", "not_text"),
            (b"PK\x03\x04", "not_csv"),
            (b"Pr\xE9nom,phone", "not_utf8"),
            (
                b"account_id,client_member_id,first_name,last_name",
                "missing_column",
            ),
            (b"aid,cmid,first,last,ph,phone", "duplicate_column"),
        ] {
            assert_eq!(layout(text).unwrap_err(), code, "{text:?}");
        }
    }

    #[test]
    fn a_batch_with_an_account_needs_no_such_column() {
        let header = b"cmid,first,last,ph\n";
        assert!(matches!(read(header, true, true), Head::Read(..)));
        assert!(matches!(read(header, true, false), Head::Failed(_)));
    }

    #[test]
    fn half_a_header_waits_for_more() {
        assert!(matches!(read(b"aid,cm", false, false), Head::Partial));
    }
}
