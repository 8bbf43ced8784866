//! A record becomes a member or a reject, by the layout and the rules.

use mpulse_shared::batch::Layout;
use mpulse_shared::member::{ACCOUNT_NOT_ALLOWED, Field, FieldError, Profile, RawProfile, Rules};
use mpulse_shared::scope::Scope;

use crate::parse::{MAX_RECORD, Record};

/// Characters of a row that doesn't fit the columns, kept for the report.
const RAW_SHOWN: usize = 1000;

/// A refused row, as the report tells it.
#[derive(Debug, PartialEq, Eq)]
pub struct Reject {
    /// The line that the row begins on.
    pub line: u64,
    /// A stable word for the first fault.
    pub code: &'static str,
    /// Every fault, in words.
    pub message: String,
    /// The row itself.
    pub original: Original,
}

/// What the report repeats of a refused row.
#[derive(Debug, PartialEq, Eq)]
pub enum Original {
    /// Its fields, as many as the header has columns.
    Fields(Vec<String>),
    /// Its text, where it doesn't fit the columns.
    Raw(String),
}

/// What a record comes to.
#[derive(Debug)]
pub enum Row {
    /// A member to compare with what is stored.
    Member(Profile),
    /// A row for the report.
    Reject(Reject),
    /// Nothing yet: a quote swallowed line ends, so only the record's first line is
    /// refused, and the lines after it are to be parsed anew.
    FirstLineOnly(Reject),
}

/// Judges records.
#[derive(Debug)]
pub struct Judge<'a> {
    /// The file's columns.
    pub layout: &'a Layout,
    /// The rules for a member.
    pub rules: Rules,
    /// The account of rows that have no such column.
    pub account_id: Option<&'a str>,
    /// The accounts that rows may write to.
    pub accounts: &'a Scope,
}

impl Judge<'_> {
    /// Judges one record.
    pub fn judge(&self, record: &Record<'_>) -> Row {
        if record.long_line {
            let message = format!("is longer than {MAX_RECORD} bytes");
            return Row::Reject(refuse(record, "row_too_long", message));
        }
        if record.unbounded {
            let message = format!("opens a quote that is not closed within {MAX_RECORD} bytes");
            return stray(record, message);
        }
        let (count, columns) = (record.fields().len(), self.layout.names.len());
        if count != columns {
            if record.spans_lines() {
                return stray(record, SWALLOWS.to_owned());
            }
            let message = format!("has {count} fields; the header has {columns}");
            return Row::Reject(refuse(record, "wrong_field_count", message));
        }
        let strays = stray_quotes(record.raw, self.layout.delimiter);
        if let Some((field, _)) = self.layout.fields.iter().find(|(_, c)| strays.contains(c)) {
            let name = field.name();
            let message = format!("{name} holds a quote that neither opens nor closes it");
            return stray(record, message);
        }
        let errors = match self.profile(record) {
            Ok(profile) => return Row::Member(profile),
            Err(errors) => errors,
        };
        if self.swallows_rows(record) {
            return stray(record, SWALLOWS.to_owned());
        }
        let code = errors.first().map_or("invalid", |error| error.code);
        let originals: Result<Vec<String>, _> = record
            .fields()
            .map(|field| std::str::from_utf8(field).map(str::to_owned))
            .collect();
        Row::Reject(match originals {
            Ok(fields) => Reject {
                line: record.start.line,
                code,
                message: message(&errors),
                original: Original::Fields(fields),
            },
            Err(_) => refuse(record, code, message(&errors)),
        })
    }

    /// Whether a field holds what looks like a row: a line end, and what separates fields.
    fn swallows_rows(&self, record: &Record<'_>) -> bool {
        self.layout.fields.iter().any(|&(_, column)| {
            let field = record.field(column).unwrap_or_default();
            field.contains(&self.layout.delimiter)
                && (field.contains(&b'\n') || field.contains(&b'\r'))
        })
    }

    /// The member that a record of the right number of fields tells of.
    fn profile(&self, record: &Record<'_>) -> Result<Profile, Vec<FieldError>> {
        let mut raw = RawProfile::default();
        let mut errors = Vec::new();
        if let Some(account) = self.account_id {
            raw.set(Field::AccountId, account);
        }
        for &(field, column) in &self.layout.fields {
            match std::str::from_utf8(record.field(column).unwrap_or_default()) {
                Ok(text) => raw.set(field, text),
                Err(_) => errors.push(FieldError::new(field.name(), "not_utf8", "is not UTF-8")),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let profile = self.rules.check(&raw)?;
        if self.accounts.covers(&profile.id.account_id) {
            return Ok(profile);
        }
        Err(vec![FieldError::new(
            Field::AccountId.name(),
            ACCOUNT_NOT_ALLOWED,
            "is no account of the key that made the batch",
        )])
    }
}

/// What is said of a quote that swallows rows.
const SWALLOWS: &str = "opens a quote that swallows a line end";

/// A row with a quote that is out of place. Where it swallowed line ends, it costs the line
/// that it stands in, and the lines after it are parsed anew.
fn stray(record: &Record<'_>, message: String) -> Row {
    let reject = refuse(record, "stray_quote", message);
    if record.spans_lines() {
        Row::FirstLineOnly(reject)
    } else {
        Row::Reject(reject)
    }
}

/// The columns of a record that hold a quote where none may be: inside a field that doesn't
/// begin with one, or before the end of one that does (RFC 4180). Blanks behind the closing
/// quote do no harm.
fn stray_quotes(raw: &[u8], delimiter: u8) -> Vec<usize> {
    #[derive(Clone, Copy)]
    enum At {
        Start,
        Plain,
        Quoted,
        /// Behind a quote that closes the field, or is the first of two.
        Closed,
    }
    let (mut strays, mut column, mut at) = (Vec::new(), 0, At::Start);
    if !raw.contains(&b'"') {
        return strays;
    }
    for &byte in raw {
        at = match (at, byte) {
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) | (At::Start | At::Closed, b'"') => At::Quoted,
            (_, byte) if byte == delimiter => {
                column += 1;
                At::Start
            }
            (At::Closed, b' ' | b'\t' | b'\r' | b'\n') => At::Closed,
            (At::Plain, b'"') | (At::Closed, _) => {
                strays.push(column);
                At::Plain
            }
            (At::Start | At::Plain, _) => At::Plain,
        };
    }
    strays
}

fn message(errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors
        .iter()
        .map(|error| format!("{} {}", error.field, error.message))
        .collect();
    texts.join("; ")
}

/// A reject of a row that can't be given back field by field: its first line, as text.
fn refuse(record: &Record<'_>, code: &'static str, message: String) -> Reject {
    let line = record
        .raw
        .split(|&b| b == b'\n' || b == b'\r')
        .next()
        .unwrap_or_default();
    // A character is at most four bytes, so this cuts no character that is shown.
    let cut = &line[..line.len().min(RAW_SHOWN * 4)];
    Reject {
        line: record.start.line,
        code,
        message,
        original: Original::Raw(
            String::from_utf8_lossy(cut)
                .chars()
                .take(RAW_SHOWN)
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Head, read};
    use crate::parse::Parser;

    const HEADER: &str = "account_id,client_member_id,first_name,last_name,phone_number,notes\n";

    /// Judges the rows of a file: the ids of members, and (line, code) of rejects.
    fn judge(rows: &[u8]) -> (Vec<String>, Vec<(u64, &'static str)>) {
        let text = [HEADER.as_bytes(), rows].concat();
        let Head::Read(layout, at) = read(&text, true, false) else {
            panic!("the header is good");
        };
        let judge = Judge {
            layout: &layout,
            rules: Rules {
                region: "US".parse().unwrap(),
            },
            account_id: None,
            accounts: &Scope::ALL,
        };
        let mut parser = Parser::new(layout.delimiter, at);
        parser.push(&text[HEADER.len()..]);
        parser.finish();
        let (mut members, mut rejects) = (Vec::new(), Vec::new());
        while let Some(record) = parser.next() {
            match judge.judge(&record) {
                Row::Member(profile) => members.push(profile.id.to_string()),
                Row::Reject(reject) => rejects.push((reject.line, reject.code)),
                Row::FirstLineOnly(reject) => {
                    rejects.push((reject.line, reject.code));
                    parser.keep_first_line();
                }
            }
        }
        (members, rejects)
    }

    #[test]
    fn a_line_break_in_a_column_that_is_ignored_is_no_fault() {
        let (members, rejects) = judge(b"4,1,Ann,Lee,7145550123,\"two\nlines\"\n");
        assert_eq!(members, ["4~1"]);
        assert_eq!(rejects, []);
    }

    #[test]
    fn each_kind_of_bad_row_is_one_reject() {
        let (members, rejects) = judge(
            b"4,1,Ann,Lee,,x\n\
              4,2,Ann\n\
              4,3,Ann,Lee,7145550123,x,y,z\n\
              4,4,Ann\xFF,Lee,7145550123,x\n\
              4,5,Ann,Lee,7145550123,x\n",
        );
        assert_eq!(members, ["4~5"]);
        assert_eq!(
            rejects,
            [
                (2, "required"),
                (3, "wrong_field_count"),
                (4, "wrong_field_count"),
                (5, "not_utf8")
            ]
        );
    }

    #[test]
    fn a_quote_that_swallows_a_line_and_bad_bytes_costs_its_own_line_only() {
        let (members, rejects) = judge(
            b"4,1,\"Ann,Lee,7145550123,x\n4,2,Jos\xE9\",Lee,7145550124,x\n4,3,Bo,Li,7145550123,x\n",
        );
        assert_eq!(members, ["4~3"]);
        let lines: Vec<u64> = rejects.iter().map(|reject| reject.0).collect();
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn a_quote_inside_a_field_is_out_of_place_where_the_field_is_used() {
        let (members, rejects) = judge(
            b"4,1,Ann \"Al,Lee,7145550123,x\n4,2,\"Ann\" B,Lee,7145550123,x\n\
              4,3, \"Ann\",Lee,7145550123,x\n4,4,\"Ann\" ,Lee,7145550123,x\n\
              4,5,\"Ann \"\"Al\"\"\",Lee,7145550123,5\"6\n4,6,Ann,Lee,7145550123,\"\"\n",
        );
        assert_eq!(members, ["4~4", "4~5", "4~6"]);
        assert_eq!(rejects, [2, 3, 4].map(|line| (line, "stray_quote")));
    }

    #[test]
    fn a_line_break_in_a_name_is_one_reject() {
        let (members, rejects) =
            judge(b"4,1,\"Ann\nMarie\",Lee,7145550123,x\n4,2,Ann,Lee,7145550123,x\n");
        assert_eq!(members, ["4~2"]);
        assert_eq!(rejects, [(2, "control_character")]);
    }

    #[test]
    fn a_stray_quote_costs_its_own_line_only() {
        for stray in [
            b"4,1,\"Ann,Lee,7145550123,x\n".as_slice(),
            b"4,1,Ann,Lee,\"7145550123,x\n",
            b"4,1,Ann,Lee,7145550123,\"x\n",
        ] {
            let rows = [
                stray,
                b"4,2,Ann,Lee,7145550123,x\n4,3,Ann,\"Lee\",7145550123,x\n4,4,Bo,Li,7145550123,x\n",
            ]
            .concat();
            let (members, rejects) = judge(&rows);
            assert_eq!(members, ["4~2", "4~3", "4~4"], "{stray:?}");
            assert_eq!(rejects, [(2, "stray_quote")]);
        }
    }
}
