//! The header: finds it, the delimiter and the columns.

use mpulse_shared::batch::{BatchProblem, Columns, Container, FileFormat, Layout, Position};
use mpulse_shared::columns::{self, DELIMITERS, MAX_LINES_ABOVE};
use mpulse_shared::member::Field;
use mpulse_shared::readable;

use crate::decode::charset;
use crate::parse::{MAX_RECORD, Parser, first_line};

/// The byte order mark of a UTF-8 file.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Text files that are not rosters, by their first characters.
const FOREIGN: [(&str, &str); 8] = [
    ("BEGIN:VCARD", "a list of contacts (vCard)"),
    ("<!DOCTYPE", "a web page, whatever its name ends with"),
    ("<html", "a web page, whatever its name ends with"),
    ("<table", "a web page, whatever its name ends with"),
    ("<?xml", "XML"),
    ("{\"", "JSON"),
    ("[{", "JSON"),
    ("%PDF", "a PDF document"),
];

/// The length of the longest of them.
const FOREIGN_START: usize = 11;

/// The longest line that may name the delimiter.
const SEPARATOR_LINE: usize = 16;

/// The most columns that a message lists.
const COLUMNS_SHOWN: usize = 50;

/// The result of reading the first bytes of a file.
#[derive(Debug)]
pub enum Head {
    /// The header is incomplete: more bytes are needed.
    Partial,
    /// The layout, and the position of the first row.
    Read(Layout, Position),
    /// The file cannot be read.
    Failed(BatchProblem),
}

/// How to find the header.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// What the client says about the file.
    pub format: &'a FileFormat,
    /// Whether the batch names the account of its rows.
    pub has_account: bool,
}

/// Reads the header from the first bytes of the text of a file. `whole` means that there are no more bytes.
pub fn read(bytes: &[u8], whole: bool, settings: Settings<'_>) -> Head {
    if bytes.len() < BOM.len() && !whole {
        return Head::Partial;
    }
    let mut start = Position { offset: 0, line: 1 };
    if bytes.starts_with(BOM) {
        start.offset = BOM.len() as u64;
    }
    let mut delimiter = None;
    let rest = from(bytes, start);
    let content = rest.trim_ascii_start();
    if content.len() < FOREIGN_START && !whole {
        return Head::Partial;
    }
    let begins = |start: &&(&str, &str)| {
        let head = content.get(..start.0.len()).unwrap_or_default();
        head.eq_ignore_ascii_case(start.0.as_bytes())
    };
    if let Some((_, what)) = FOREIGN.iter().find(begins) {
        return failed(
            "not_csv",
            format!("The file is {what}. Export it as CSV or as an Excel workbook (.xlsx)."),
        );
    }
    let first = first_line(rest);
    if first < rest.len() || whole {
        delimiter = separator(&rest[..first]);
        if delimiter.is_some() {
            start = after(start, first);
        }
    } else if rest.len() <= SEPARATOR_LINE {
        return Head::Partial;
    }
    match (&settings.format.columns, settings.format.header) {
        (Some(Columns::InOrder(fields)), false) => {
            without_header(bytes, whole, start, delimiter, fields)
        }
        _ => find(bytes, whole, start, delimiter, settings),
    }
}

/// Finds the header: the first line that has every needed column.
fn find(
    bytes: &[u8],
    whole: bool,
    mut at: Position,
    delimiter: Option<u8>,
    settings: Settings<'_>,
) -> Head {
    let last = at.line + MAX_LINES_ABOVE;
    // The line that is most like a header: the problem to report if there is none.
    let mut best: Option<(usize, BatchProblem)> = None;
    while at.line <= last {
        let rest = from(bytes, at);
        let line = first_line(rest);
        let delimiters = delimiter.map_or_else(|| delimiters_of(&rest[..line]), |d| vec![d]);
        for delimiter in delimiters {
            match record(rest, whole, delimiter, at) {
                Scan::Partial => return Head::Partial,
                Scan::End => {}
                Scan::Failed(problem) => {
                    best.get_or_insert((0, problem));
                }
                Scan::Names(names, next) => match map(&names, settings) {
                    Ok(fields) => {
                        let names = without_nameless(names, &fields);
                        return Head::Read(layout(delimiter, names, fields), next);
                    }
                    Err((count, problem)) => {
                        if best.as_ref().is_none_or(|(most, _)| count > *most) {
                            best = Some((count, problem));
                        }
                    }
                },
            }
        }
        // Nothing follows, or the line has no end: it cannot be above a header.
        if line == rest.len() && (whole || !rest.ends_with(b"\n") && !rest.ends_with(b"\r")) {
            break;
        }
        at = after(at, line);
    }
    match best {
        Some((_, problem)) => Head::Failed(problem),
        None if whole => failed("empty_file", "The file is empty: it has no header."),
        None => failed(
            "empty_file",
            format!("The first {MAX_LINES_ABOVE} lines of the file are blank: it has no header."),
        ),
    }
}

/// The layout of a file without a header, whose columns the batch lists.
fn without_header(
    bytes: &[u8],
    whole: bool,
    start: Position,
    delimiter: Option<u8>,
    columns: &[Option<Field>],
) -> Head {
    let text = from(bytes, start);
    let blank = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let line = first_line(&text[blank..]);
    if line == text.len() - blank && !whole && text.len() <= MAX_RECORD {
        return Head::Partial;
    }
    if text[blank..].is_empty() {
        return failed("empty_file", "The file is empty: it has no rows.");
    }
    let found = delimiters_of(&text[blank..blank + line]);
    let delimiter = delimiter.unwrap_or(found[0]);
    let name = |(at, field): (usize, &Option<Field>)| match field {
        Some(field) => field.name().to_owned(),
        None => format!("column_{}", at + 1),
    };
    let fields = columns.iter().enumerate();
    let names = fields.clone().map(name).collect();
    let fields = fields.filter_map(|(at, field)| field.map(|field| (field, at)));
    Head::Read(layout(delimiter, names, fields.collect()), start)
}

fn layout(delimiter: u8, names: Vec<String>, fields: Vec<(Field, usize)>) -> Layout {
    Layout {
        delimiter,
        names,
        fields,
        container: Container::Plain,
        charset: None,
    }
}

/// The first record of a text, as a header.
enum Scan {
    Partial,
    End,
    Names(Vec<String>, Position),
    Failed(BatchProblem),
}

fn record(text: &[u8], whole: bool, delimiter: u8, at: Position) -> Scan {
    let window = &text[..text.len().min(2 * MAX_RECORD)];
    let mut parser = Parser::new(delimiter, at);
    parser.push(window);
    if whole && window.len() == text.len() {
        parser.finish();
    }
    let too_long = || {
        Scan::Failed(problem(
            "header_too_long",
            format!(
                "The header is longer than {MAX_RECORD} bytes, or a quote in it is never closed."
            ),
        ))
    };
    let Some(record) = parser.next() else {
        return match whole {
            true if text.trim_ascii().is_empty() => Scan::End,
            _ if text.len() > MAX_RECORD => too_long(),
            true => Scan::End,
            false => Scan::Partial,
        };
    };
    if record.start.line != at.line {
        return Scan::End;
    }
    if record.unbounded {
        return too_long();
    }
    if record.raw.contains(&0) {
        return Scan::Failed(problem(
            "not_text",
            "The header contains NUL bytes: the file is not a text file.",
        ));
    }
    let names: Result<Vec<String>, _> = record
        .fields()
        .map(|name| std::str::from_utf8(name).map(|name| name.trim().to_owned()))
        .collect();
    match names {
        Ok(names) if names.iter().all(String::is_empty) => Scan::End,
        Ok(names) => Scan::Names(names, parser.position()),
        Err(_) => {
            let charset = charset::guess(record.raw);
            Scan::Failed(problem(
                "not_utf8",
                format!(
                    "The header is not UTF-8; it is probably {charset}. Create the batch with \"encoding\": \"{charset}\", \
                     or save the file as UTF-8."
                ),
            ))
        }
    }
}

/// Returns the names without those at the end that are empty and have no field.
fn without_nameless(mut names: Vec<String>, fields: &[(Field, usize)]) -> Vec<String> {
    while names.last().is_some_and(String::is_empty)
        && !fields.iter().any(|&(_, column)| column + 1 == names.len())
    {
        names.pop();
    }
    names
}

/// Returns the delimiter that a spreadsheet's first line names: `sep=;`.
fn separator(line: &[u8]) -> Option<u8> {
    let line = line.trim_ascii_end();
    let line = line
        .strip_prefix(b"\"")
        .and_then(|line| line.strip_suffix(b"\""))
        .unwrap_or(line);
    // The delimiter may be a tab, which is trimmed.
    let (name, delimiter) = line.split_at_checked(4)?;
    if !name.eq_ignore_ascii_case(b"sep=") {
        return None;
    }
    match delimiter {
        [] => Some(b'\t'),
        [delimiter] if delimiter.is_ascii_punctuation() => Some(*delimiter),
        _ => None,
    }
}

/// Returns the delimiters in a line, outside quotes, the most frequent first; the most likely one if there is none.
fn delimiters_of(line: &[u8]) -> Vec<u8> {
    let mut counts = [0usize; DELIMITERS.len()];
    let mut quoted = false;
    for &byte in line {
        match byte {
            b'"' => quoted = !quoted,
            _ if !quoted => {
                if let Some(at) = DELIMITERS.iter().position(|&d| d == byte) {
                    counts[at] += 1;
                }
            }
            _ => {}
        }
    }
    let mut found: Vec<usize> = (0..counts.len()).filter(|&at| counts[at] > 0).collect();
    found.sort_by_key(|&at| std::cmp::Reverse(counts[at]));
    if found.is_empty() {
        found.push(0);
    }
    found.into_iter().map(|at| DELIMITERS[at]).collect()
}

fn from(bytes: &[u8], at: Position) -> &[u8] {
    let offset = usize::try_from(at.offset).unwrap_or(usize::MAX);
    bytes.get(offset..).unwrap_or_default()
}

fn after(at: Position, line: usize) -> Position {
    Position {
        offset: at.offset + line as u64,
        line: at.line + 1,
    }
}

/// Returns the fields of columns. If columns are missing, or two have the same field, returns how many are known and
/// the problem.
fn map(
    names: &[String],
    settings: Settings<'_>,
) -> Result<Vec<(Field, usize)>, (usize, BatchProblem)> {
    let chosen = match &settings.format.columns {
        Some(Columns::ByName(chosen)) => Some(chosen),
        _ => None,
    };
    let choice = |name: &str| {
        let plain = columns::plain(name);
        let same = |key: &&String| {
            key.trim() == name || (!plain.is_empty() && columns::plain(key) == plain)
        };
        let key = chosen?.keys().find(same)?;
        chosen?.get(key)
    };
    let is_chosen = |field: Field| {
        names
            .iter()
            .any(|name| choice(name).is_some_and(|choice| *choice == Some(field)))
    };
    let mut fields: Vec<(Field, usize)> = Vec::new();
    let mut twice = None;
    for (column, name) in names.iter().enumerate() {
        let field = match choice(name) {
            Some(choice) => *choice,
            None => columns::field(name).filter(|&field| !is_chosen(field)),
        };
        let Some(field) = field else {
            continue;
        };
        if let Some(&(_, first)) = fields.iter().find(|(known, _)| *known == field) {
            twice.get_or_insert((first, column, field));
        } else {
            fields.push((field, column));
        }
    }
    let known = fields.len();
    let missing: Vec<&str> = Field::ALL
        .into_iter()
        .filter(|field| !fields.iter().any(|(known, _)| known == field))
        .filter(|field| !(settings.has_account && *field == Field::AccountId))
        .map(Field::name)
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "The header has no column for {}. Its columns are: {}. Rename the columns, or say with \"columns\" which \
             column has which field.",
            missing.join(", "),
            listed(names)
        );
        return Err((known, problem("missing_column", message)));
    }
    if let Some((first, second, field)) = twice {
        let (first, second) = (&names[first], &names[second]);
        let message = format!(
            "The columns {first:?} and {second:?} both mean {}. Rename or remove one, or say with \"columns\": \
             {{{second:?}: null}} that it is not used.",
            field.name()
        );
        return Err((known, problem("duplicate_column", message)));
    }
    let absent = chosen.into_iter().flatten().find(|(key, field)| {
        field.is_some_and(|field| {
            let column = fields.iter().find(|(known, _)| *known == field);
            column.is_none_or(|&(_, column)| choice(&names[column]) != Some(&Some(field)))
        }) && !names.iter().any(|name| name == key.trim())
    });
    if let Some((key, _)) = absent {
        let message = format!(
            "\"columns\" names the column {key:?}, which the header does not have. Its columns are: {}.",
            listed(names)
        );
        return Err((known, problem("unknown_column", message)));
    }
    Ok(fields)
}

/// Returns the columns of a header for a message.
fn listed(names: &[String]) -> String {
    readable::list(names.iter().map(String::as_str), COLUMNS_SHOWN)
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
    use std::collections::BTreeMap;

    use super::*;

    fn read_whole(text: &[u8], format: &FileFormat) -> Result<(Layout, Position), String> {
        let settings = Settings {
            format,
            has_account: false,
        };
        let result = match read(text, true, settings) {
            Head::Read(layout, at) => Ok((layout, at)),
            Head::Failed(problem) => Err(problem.code),
            Head::Partial => Err("partial".into()),
        };
        // The result does not depend on how many bytes are known, once they are enough.
        for size in 0..text.len() {
            match read(&text[..size], false, settings) {
                Head::Partial => {}
                Head::Read(layout, at) => assert_eq!(result, Ok((layout, at)), "{size}"),
                Head::Failed(problem) => assert_eq!(result, Err(problem.code), "{size}"),
            }
        }
        result
    }

    fn layout(text: &[u8]) -> Result<(Layout, Position), String> {
        read_whole(text, &FileFormat::default())
    }

    #[test]
    fn columns_are_found_in_any_order_and_notation() {
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
    fn tabs_and_pipes_are_delimiters() {
        for delimiter in ["\t", "|"] {
            let header = ["aid", "cmid", "first", "last", "ph"].join(delimiter);
            let (layout, _) = layout(header.as_bytes()).unwrap();
            assert_eq!(layout.fields.len(), 5);
        }
    }

    #[test]
    fn the_first_line_may_name_the_delimiter() {
        for first in ["sep=;", "SEP=;\r", "\"sep=;\""] {
            let text = format!("{first}\naid;cmid;first,last;last;ph;first\n");
            let (layout, at) = layout(text.as_bytes()).unwrap();
            assert_eq!((layout.delimiter, at.line), (b';', 3), "{first}");
        }
        let (layout, _) = layout(b"sep=^\naid^cmid^first^last^ph").unwrap();
        assert_eq!(layout.delimiter, b'^');
    }

    #[test]
    fn the_header_may_have_lines_above_it() {
        let header = "aid,cmid,first,last,ph\n";
        let (found, at) = layout(format!("Members; of \"2026\n\n\n{header}").as_bytes()).unwrap();
        assert_eq!((found.delimiter, at.line), (b',', 5));
        let above = "x\n".repeat(20);
        assert_eq!(
            layout(format!("{above}{header}").as_bytes())
                .unwrap()
                .1
                .line,
            22
        );
        let above = "x\n".repeat(21);
        assert_eq!(
            layout(format!("{above}{header}").as_bytes()),
            Err("missing_column".into())
        );
    }

    #[test]
    fn nameless_columns_at_the_end_are_dropped() {
        let (layout, _) = layout(b"aid,,cmid,first,last,ph,, ,\n").unwrap();
        assert_eq!(layout.names, ["aid", "", "cmid", "first", "last", "ph"]);
    }

    #[test]
    fn a_choice_of_columns_wins_over_their_names() {
        let choose = |columns: &[(&str, Option<Field>)]| FileFormat {
            columns: Some(Columns::ByName(
                columns
                    .iter()
                    .map(|&(name, field)| (name.to_owned(), field))
                    .collect::<BTreeMap<_, _>>(),
            )),
            ..FileFormat::default()
        };
        let text = b"aid,cmid,first,last,phone,Handy\n";
        let (layout, _) =
            read_whole(text, &choose(&[("handy ", Some(Field::PhoneNumber))])).unwrap();
        assert!(layout.fields.contains(&(Field::PhoneNumber, 5)));
        let twice = b"aid,cmid,first,last,phone,mobile\n";
        assert_eq!(
            read_whole(twice, &FileFormat::default()).unwrap_err(),
            "duplicate_column"
        );
        assert!(read_whole(twice, &choose(&[("mobile", None)])).is_ok());
        assert_eq!(
            read_whole(text, &choose(&[("Mobil", Some(Field::PhoneNumber))])).unwrap_err(),
            "unknown_column"
        );
    }

    #[test]
    fn a_file_without_a_header_has_the_columns_of_its_batch() {
        let format = FileFormat {
            header: false,
            columns: Some(Columns::InOrder(vec![Some(Field::AccountId), None])),
            ..FileFormat::default()
        };
        let (layout, at) = read_whole(b"4;x\n5;y\n", &format).unwrap();
        assert_eq!((layout.delimiter, at.line), (b';', 1));
        assert_eq!(layout.names, ["account_id", "column_2"]);
        assert_eq!(layout.fields, [(Field::AccountId, 0)]);
        assert_eq!(read_whole(b"\n", &format).unwrap_err(), "empty_file");
    }

    #[test]
    fn files_that_are_not_rosters_are_described() {
        for (text, code) in [
            (b"".as_slice(), "empty_file"),
            (b"\n\r\n", "empty_file"),
            (b"a\0c\0c\0", "not_text"),
            (b"Pr\xE9nom,phone", "not_utf8"),
            (b"BEGIN:VCARD\nVERSION:3.0\n", "not_csv"),
            (b" <html><table><tr><td>account_id", "not_csv"),
            (b"[{\"account_id\": 4}]", "not_csv"),
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
    fn a_line_without_end_is_no_header() {
        let text = vec![0; 3 * MAX_RECORD];
        let format = FileFormat::default();
        let settings = Settings {
            format: &format,
            has_account: false,
        };
        let Head::Failed(problem) = read(&text, false, settings) else {
            panic!("more bytes would not help");
        };
        assert_eq!(problem.code, "header_too_long");
    }

    #[test]
    fn a_batch_with_an_account_needs_no_account_column() {
        let header = b"cmid,first,last,ph\n";
        let format = FileFormat::default();
        let find = |has_account| {
            read(
                header,
                true,
                Settings {
                    format: &format,
                    has_account,
                },
            )
        };
        assert!(matches!(find(true), Head::Read(..)));
        assert!(matches!(find(false), Head::Failed(_)));
    }
}
