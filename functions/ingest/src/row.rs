//! Turns a record into a member or a rejected row, by the layout and the rules.

use std::fmt::Write;

use mpulse_shared::batch::{Layout, WarningCode};
use mpulse_shared::member::{
    ACCOUNT_NOT_ALLOWED, AccountId, ClientMemberId, Field, FieldError, Profile, RawProfile, Rules,
};
use mpulse_shared::scope::Scope;

use crate::decode::charset;
use crate::parse::{MAX_RECORD, Record};
use crate::report_form;
use crate::suspicion;

/// Characters of a row that does not fit the columns, kept for the report.
const RAW_SHOWN: usize = 1000;

/// A rejected row, as written to the report.
#[derive(Debug, PartialEq, Eq)]
pub struct Reject {
    /// The line at which the row begins.
    pub line: u64,
    /// The stable code of the first error.
    pub code: &'static str,
    /// A description of every error.
    pub message: String,
    /// The row itself.
    pub original: Original,
    /// The member that the row is about.
    pub key: RejectedKey,
}

/// The member that a rejected row is about: a `replace` must not remove it.
#[derive(Debug, PartialEq, Eq)]
pub enum RejectedKey {
    /// The member of this id.
    Read(ClientMemberId),
    /// A member of another account.
    OtherAccount,
    /// It cannot be read.
    Unreadable,
}

/// The content of a rejected row.
#[derive(Debug, PartialEq, Eq)]
pub enum Original {
    /// Its fields, as many as the header has columns.
    Fields(Vec<String>),
    /// Its text, if it does not fit the columns.
    Raw(String),
}

/// The result of validating a record.
#[derive(Debug)]
pub enum Row {
    /// A row without information: blank, or the header again. It is not counted.
    Skip,
    /// A valid row, to compare with the existing member, and what looks wrong in it.
    Member(Profile, Option<WarningCode>),
    /// A rejected row.
    Reject(Reject),
    /// A quote swallowed line ends: only the record's first line is rejected, and the lines after
    /// it have to be parsed again.
    FirstLineOnly(Reject),
}

/// Validates records.
#[derive(Debug)]
pub struct RowValidator<'a> {
    /// The file's columns.
    pub layout: &'a Layout,
    /// The validation rules.
    pub rules: Rules,
    /// The account of rows, if the file has no such column.
    pub account_id: Option<&'a str>,
    /// The accounts that rows may write to.
    pub accounts: &'a Scope,
    /// The columns that each row must have: all up to the last one that is used.
    pub least: usize,
    /// Whether the file is a report, in which fields may be escaped.
    pub is_report: bool,
    /// The account that the file replaces, in mode `replace`.
    pub replaces: Option<&'a str>,
}

impl<'a> RowValidator<'a> {
    /// Creates a validator of the rows of a file.
    pub fn new(
        layout: &'a Layout,
        rules: Rules,
        account_id: Option<&'a str>,
        accounts: &'a Scope,
    ) -> Self {
        let columns = layout.fields.iter().map(|&(_, column)| column + 1);
        Self {
            layout,
            rules,
            account_id,
            accounts,
            least: columns.max().unwrap_or_default(),
            is_report: report_form::is_report(&layout.names),
            replaces: None,
        }
    }

    /// Rejects rows of other accounts than this one.
    pub fn replacing(self, account: Option<&'a str>) -> Self {
        Self {
            replaces: account,
            ..self
        }
    }
}

impl RowValidator<'_> {
    /// Validates a record.
    pub fn validate(&self, record: &Record<'_>) -> Row {
        if record.long_line {
            let message = format!("is longer than {MAX_RECORD} bytes");
            return Row::Reject(refuse(record, "row_too_long", message));
        }
        if record.unbounded {
            let message = format!("opens a quote that is not closed within {MAX_RECORD} bytes");
            return stray(record, message);
        }
        let (count, columns) = (record.fields().len(), self.layout.names.len());
        if is_blank(record) {
            return Row::Skip;
        }
        let surplus_is_blank = || record.fields().skip(columns).all(is_blank_field);
        if count < self.least || (count > columns && !surplus_is_blank()) {
            if self.is_header(record) {
                return Row::Skip;
            }
            if record.spans_lines() {
                return stray(record, SWALLOWS.to_owned());
            }
            let message = format!("has {count} fields; the header has {columns}");
            return Row::Reject(refuse(record, "wrong_field_count", message));
        }
        let strays = stray_quotes(record.raw, self.layout.delimiter);
        if let Some((field, _)) = self.layout.fields.iter().find(|(_, c)| strays.contains(c)) {
            let name = field.name();
            let message = format!(
                "{name} contains a quote in a wrong place. Enclose the field in quotes and double each quote inside it"
            );
            return stray(record, message);
        }
        let errors = match self.profile(record) {
            Ok(profile) => {
                let warning = suspicion::of(&profile);
                return Row::Member(profile, warning);
            }
            Err(errors) => errors,
        };
        if self.is_header(record) {
            return Row::Skip;
        }
        if self.swallows_rows(record) {
            return stray(record, SWALLOWS.to_owned());
        }
        let code = errors.first().map_or("invalid", |error| error.code);
        let originals: Result<Vec<String>, _> = record
            .fields()
            .take(self.layout.names.len())
            .map(|field| std::str::from_utf8(field).map(|text| self.unescaped(text).to_owned()))
            .collect();
        let key = self.key(record);
        Row::Reject(match originals {
            Ok(fields) => Reject {
                line: record.start.line,
                code,
                message: message(&errors),
                original: Original::Fields(fields),
                key,
            },
            Err(_) => Reject {
                key,
                ..refuse(record, code, message(&errors))
            },
        })
    }

    /// Returns the member that a rejected row is about, in mode `replace`.
    fn key(&self, record: &Record<'_>) -> RejectedKey {
        let Some(account) = self.replaces else {
            return RejectedKey::Unreadable;
        };
        let text = |field: Field| {
            let &(_, column) = self
                .layout
                .fields
                .iter()
                .find(|(known, _)| *known == field)?;
            let text = std::str::from_utf8(record.field(column)?).ok()?;
            Some(as_text(self.unescaped(text)))
        };
        let other = text(Field::AccountId).and_then(|text| AccountId::parse(text).ok());
        if other.is_some_and(|other| other.as_str() != account) {
            return RejectedKey::OtherAccount;
        }
        text(Field::ClientMemberId)
            .and_then(|text| ClientMemberId::parse(text).ok())
            .map_or(RejectedKey::Unreadable, RejectedKey::Read)
    }

    /// Returns whether a field seems to contain a row: a line end and a delimiter.
    fn swallows_rows(&self, record: &Record<'_>) -> bool {
        self.layout.fields.iter().any(|&(_, column)| {
            let field = record.field(column).unwrap_or_default();
            field.contains(&self.layout.delimiter)
                && (field.contains(&b'\n') || field.contains(&b'\r'))
        })
    }

    /// Returns whether the record is the header again, as in files that were joined.
    fn is_header(&self, record: &Record<'_>) -> bool {
        let names = &self.layout.names;
        let plain = |field: &[u8]| {
            let text = String::from_utf8_lossy(field);
            text.trim_start_matches('\u{FEFF}').trim().to_owned()
        };
        record.fields().len() >= names.len()
            && record.fields().skip(names.len()).all(is_blank_field)
            && record
                .fields()
                .zip(names)
                .all(|(field, name)| plain(field) == *name)
    }

    /// Returns a field without what a report adds to it.
    fn unescaped<'t>(&self, text: &'t str) -> &'t str {
        if self.is_report {
            report_form::unescape(text)
        } else {
            text
        }
    }

    /// Returns the member of a record that has the right number of fields.
    fn profile(&self, record: &Record<'_>) -> Result<Profile, Vec<FieldError>> {
        let mut raw = RawProfile::default();
        let mut errors = Vec::new();
        if let Some(account) = self.account_id {
            raw.set(Field::AccountId, account);
        }
        for &(field, column) in &self.layout.fields {
            match std::str::from_utf8(record.field(column).unwrap_or_default()) {
                Ok(text) => raw.set(field, as_text(self.unescaped(text))),
                Err(_) => errors.push(FieldError::new(
                    field.name(),
                    "not_utf8",
                    self.undecodable(),
                )),
            }
        }
        if let (Some(last), None) = (errors.last_mut(), &self.layout.charset) {
            let charset = charset::guess(record.raw);
            let _ = write!(
                last.message,
                " (probably {charset}: create the batch with \"encoding\": \"{charset}\", or save the file as UTF-8)"
            );
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let profile = self.rules.check(&raw)?;
        if let Some(account) = self.replaces
            && profile.id.account_id.as_str() != account
        {
            return Err(vec![FieldError::new(
                Field::AccountId.name(),
                "other_account",
                format!("is not {account}, the account that the batch replaces"),
            )]);
        }
        if self.accounts.covers(&profile.id.account_id) {
            return Ok(profile);
        }
        Err(vec![FieldError::new(
            Field::AccountId.name(),
            ACCOUNT_NOT_ALLOWED,
            "is not an account of the key that created the batch",
        )])
    }
}

impl RowValidator<'_> {
    /// Returns the message about bytes that are not text.
    fn undecodable(&self) -> String {
        match &self.layout.charset {
            Some(charset) => format!("contains bytes that are not {charset}"),
            None => "is not UTF-8".to_owned(),
        }
    }
}

/// Returns whether a record has no information: its fields are blank.
fn is_blank(record: &Record<'_>) -> bool {
    // Most records begin with an id.
    record
        .raw
        .first()
        .is_none_or(|&byte| !byte.is_ascii_alphanumeric())
        && record.fields().all(is_blank_field)
}

fn is_blank_field(field: &[u8]) -> bool {
    match std::str::from_utf8(field) {
        Ok(text) => text.trim().is_empty(),
        Err(_) => false,
    }
}

/// Returns the text of a formula that only quotes a text, as programs write it to keep leading zeros: `="00123"`.
fn as_text(text: &str) -> &str {
    let quoted = text
        .trim()
        .strip_prefix("=\"")
        .and_then(|rest| rest.strip_suffix('"'));
    quoted.filter(|inner| !inner.contains('"')).unwrap_or(text)
}

/// The message about a quote that swallows rows.
const SWALLOWS: &str = "opens a quote that is not closed on its line";

/// Rejects a row with a quote in a wrong place. If the quote swallowed line ends, only its own line
/// is rejected, and the lines after it are parsed again.
fn stray(record: &Record<'_>, message: String) -> Row {
    let reject = refuse(record, "stray_quote", message);
    if record.spans_lines() {
        Row::FirstLineOnly(reject)
    } else {
        Row::Reject(reject)
    }
}

/// Returns the columns of a record that contain a quote in a wrong place: inside a field that does
/// not begin with one, or before the end of one that does (RFC 4180). Blanks around the quotes are
/// accepted.
fn stray_quotes(raw: &[u8], delimiter: u8) -> Vec<usize> {
    #[derive(Clone, Copy)]
    enum At {
        Start,
        Plain,
        Quoted,
        /// After a quote that closes the field, or is the first of two.
        Closed,
    }
    let (mut strays, mut column, mut at) = (Vec::new(), 0, At::Start);
    if !raw.contains(&b'"') {
        return strays;
    }
    for &byte in raw {
        at = match (at, byte) {
            (At::Start, b' ' | b'\t') if byte != delimiter => At::Start,
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

/// Rejects a row that cannot be returned field by field: the report contains its first line as
/// text.
fn refuse(record: &Record<'_>, code: &'static str, message: String) -> Reject {
    let line = record
        .raw
        .split(|&b| b == b'\n' || b == b'\r')
        .next()
        .unwrap_or_default();
    // A character is at most four bytes, so no character that is shown is cut.
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
        key: RejectedKey::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpulse_shared::batch::FileFormat;

    use crate::layout::{Head, Settings, read};
    use crate::parse::Parser;

    const HEADER: &str = "account_id,client_member_id,first_name,last_name,phone_number,notes\n";

    /// Validates the rows of a file. Returns the ids of members, and (line, code) of rejected rows.
    fn validate(rows: &[u8]) -> (Vec<String>, Vec<(u64, &'static str)>) {
        let text = [HEADER.as_bytes(), rows].concat();
        let settings = Settings {
            format: &FileFormat::default(),
            has_account: false,
        };
        let Head::Read(layout, at) = read(&text, true, settings) else {
            panic!("the header is valid");
        };
        let rules = Rules {
            region: "US".parse().unwrap(),
        };
        let validate = RowValidator::new(&layout, rules, None, &Scope::ALL);
        let mut parser = Parser::new(layout.delimiter, at);
        parser.push(&text[HEADER.len()..]);
        parser.finish();
        let (mut members, mut rejects) = (Vec::new(), Vec::new());
        while let Some(record) = parser.next() {
            match validate.validate(&record) {
                Row::Skip => {}
                Row::Member(profile, _) => members.push(profile.id.to_string()),
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
    fn a_line_break_in_an_ignored_column_is_accepted() {
        let (members, rejects) = validate(b"4,1,Ann,Lee,7145550123,\"two\nlines\"\n");
        assert_eq!(members, ["4~1"]);
        assert_eq!(rejects, []);
    }

    #[test]
    fn each_kind_of_invalid_row_is_rejected_once() {
        let (members, rejects) = validate(
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
    fn a_quote_that_swallows_a_line_and_invalid_bytes_rejects_its_own_line_only() {
        let (members, rejects) = validate(
            b"4,1,\"Ann,Lee,7145550123,x\n4,2,Jos\xE9\",Lee,7145550124,x\n4,3,Bo,Li,7145550123,x\n",
        );
        assert_eq!(members, ["4~3"]);
        let lines: Vec<u64> = rejects.iter().map(|reject| reject.0).collect();
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn a_quote_inside_a_used_field_is_rejected() {
        let (members, rejects) = validate(
            b"4,1,Ann \"Al,Lee,7145550123,x\n4,2,\"Ann\" B,Lee,7145550123,x\n\
              4,3, \"Ann\",Lee,7145550123,x\n4,4,\"Ann\" ,Lee,7145550123,x\n\
              4,5,\"Ann \"\"Al\"\"\",Lee,7145550123,5\"6\n4,6,Ann,Lee,7145550123,\"\"\n",
        );
        assert_eq!(members, ["4~3", "4~4", "4~5", "4~6"]);
        assert_eq!(rejects, [2, 3].map(|line| (line, "stray_quote")));
    }

    #[test]
    fn what_carries_no_information_is_skipped() {
        let (members, rejects) = validate(
            format!(
                ",,,,,\n \t \n\u{A0},\n4,1,Ann,Lee,7145550123,x,, \n4,2,Ann,Lee,7145550123\n{HEADER}\u{FEFF}{HEADER}\
                 \"\",\"\"\n4,3,Ann,Lee\n"
            )
            .as_bytes(),
        );
        assert_eq!(members, ["4~1", "4~2"]);
        assert_eq!(rejects, [(10, "wrong_field_count")]);
    }

    #[test]
    fn a_formula_that_quotes_a_text_is_the_text() {
        let (members, _) =
            validate(b"4,\"=\"\"0017\"\"\",Ann,Lee,7145550123,x\n4,=0018,Ann,Lee,7145550123,x\n");
        assert_eq!(members, ["4~0017", "4~%3D0018"]);
    }

    #[test]
    fn a_line_break_in_a_name_rejects_one_row() {
        let (members, rejects) =
            validate(b"4,1,\"Ann\nMarie\",Lee,7145550123,x\n4,2,Ann,Lee,7145550123,x\n");
        assert_eq!(members, ["4~2"]);
        assert_eq!(rejects, [(2, "control_character")]);
    }

    #[test]
    fn a_stray_quote_rejects_its_own_line_only() {
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
            let (members, rejects) = validate(&rows);
            assert_eq!(members, ["4~2", "4~3", "4~4"], "{stray:?}");
            assert_eq!(rejects, [(2, "stray_quote")]);
        }
    }
}
