//! Files: the header, the decoders, and the whole way from the bytes of an object to validated rows.

use std::collections::{BTreeMap, BTreeSet};

use ingest::fuzz::{self, Content, File};
use mpulse_shared::batch::{Columns, Container, FileFormat, Position};
use mpulse_shared::member::{Field, Rules};

use super::rows;
use crate::pieces::{choice, split};

/// Charsets of each kind: of one byte, of several, with states.
const LABELS: [Option<&str>; 8] = [
    None,
    Some("windows-1252"),
    Some("utf-16le"),
    Some("utf-16be"),
    Some("shift_jis"),
    Some("gb18030"),
    Some("iso-2022-jp"),
    Some("utf-8"),
];

/// What most files are read with, and what these targets read with.
fn rules() -> Rules {
    Rules {
        region: "US".parse().expect("a region"),
    }
}

/// The header. It does not depend on how many bytes are known, once they are enough.
pub fn header(input: &[u8]) {
    let (seed, text) = choice(input);
    let format = format(seed);
    let has_account = seed & 1 == 1;
    let whole = fuzz::header(text, true, &format, has_account);
    if let Ok(found) = &whole {
        let (layout, at) = found.as_ref().expect("the whole file is enough");
        assert!(at.offset <= text.len() as u64 && at.line >= 1);
        let columns: BTreeSet<usize> = layout.fields.iter().map(|&(_, column)| column).collect();
        let fields: BTreeSet<Field> = layout.fields.iter().map(|&(field, _)| field).collect();
        assert_eq!(
            (columns.len(), fields.len()),
            (layout.fields.len(), layout.fields.len())
        );
        assert!(columns.last().is_none_or(|&last| last < layout.names.len()));
    }
    let result = |found: Result<Option<_>, mpulse_shared::batch::BatchProblem>| match found {
        Ok(found) => found.map(Ok),
        Err(problem) => Some(Err(problem.code)),
    };
    let whole = result(whole);
    let step = text.len() / 5 + 1;
    for size in (usize::from(seed) % step..text.len()).step_by(step) {
        let known = result(fuzz::header(&text[..size], false, &format, has_account));
        assert!(known.is_none() || known == whole, "{size}: {known:?}");
    }
}

fn format(seed: u8) -> FileFormat {
    let by_name = BTreeMap::from([
        ("Handy".to_owned(), Some(Field::PhoneNumber)),
        ("phone".to_owned(), None),
        ("x y".to_owned(), Some(Field::FirstName)),
    ]);
    let in_order = Field::ALL.map(Some).to_vec();
    match seed >> 1 & 3 {
        2 => FileFormat {
            columns: Some(Columns::ByName(by_name)),
            ..FileFormat::default()
        },
        3 => FileFormat {
            columns: Some(Columns::InOrder(in_order)),
            header: false,
            ..FileFormat::default()
        },
        _ => FileFormat::default(),
    }
}

/// Returns the settings of a file, which its last byte chooses.
fn settings(file: &[u8]) -> (u8, FileFormat) {
    let (seed, _) = choice(file);
    let encoding = LABELS[usize::from(seed) % LABELS.len()].map(str::to_owned);
    let format = FileFormat {
        encoding,
        ..FileFormat::default()
    };
    (seed, format)
}

/// The decoders. The text does not depend on how the content arrives, nor on where reading begins.
pub fn text(file: &[u8]) {
    let (seed, format) = settings(file);
    let Ok((container, content)) = fuzz::unpacked(file, None) else {
        return;
    };
    if container == Container::Workbook {
        std::str::from_utf8(&content).expect("the text of a workbook");
    }
    let read = |pieces: &[&[u8]], charset, offset| {
        let content = Content {
            container,
            pieces,
            format: &format,
        };
        fuzz::text(content, charset, offset)
    };
    let whole = read(&[content.as_slice()], None, 0);
    let pieces = split(&content, seed);
    assert_eq!(read(&pieces, None, 0), whole);
    if let Ok((text, charset)) = whole {
        let from = usize::from(seed) * text.len() / 255;
        let (rest, _) = read(&pieces, Some(charset), from as u64).expect("the rest");
        assert_eq!(rest, text[from..]);
    }
}

/// The rows of a file. They do not depend on how the content arrives, nor on where a run begins. The report of rejected rows,
/// sent as it is, has the same number of rejected rows, and no other.
pub fn file(file: &[u8]) {
    let (seed, format) = settings(file);
    let Ok((container, content)) = fuzz::unpacked(file, None) else {
        return;
    };
    rows_of(seed, container, &content, &format);
}

/// Checks the rows of a content.
pub fn rows_of(seed: u8, container: Container, content: &[u8], format: &FileFormat) {
    let members = 1 + usize::from(seed) % 4;
    let read = |pieces: &[&[u8]], known| {
        let content = Content {
            container,
            pieces,
            format,
        };
        fuzz::file(content, known, rules(), members)
    };
    let whole = read(&[content], None);
    let pieces = split(content, seed);
    assert_eq!(read(&pieces, None), whole);
    let Ok(whole) = whole else {
        return;
    };
    check_windows(&whole);
    if let Some(index) = usize::from(seed).checked_rem(whole.windows.len()) {
        let at = whole.windows[index].end;
        let rest = read(&split(content, !seed), Some((&whole.layout, at)));
        assert_eq!(rest.expect("the rest").windows, whole.windows[index + 1..]);
    }
    check_report(&whole);
}

fn check_windows(file: &File) {
    let mut end = Position::default();
    for window in &file.windows {
        assert!(end.offset < window.end.offset && end.line <= window.end.line);
        let is_in_window = |&line: &u64| end.line <= line && line <= window.end.line;
        assert!(window.lines.iter().all(is_in_window));
        assert!(window.lines.is_sorted_by(|a, b| a < b));
        assert_eq!(window.lines.len(), window.members.len());
        for member in &window.members {
            rows::check_valid(rules(), member);
        }
        end = window.end;
    }
}

fn check_report(file: &File) {
    let rejected: u64 = file.windows.iter().map(|window| window.rejected).sum();
    if rejected == 0 {
        return;
    }
    let lines = file.windows.iter().map(|window| window.report.as_str());
    let report: String = std::iter::once(file.report_header.as_str())
        .chain(lines)
        .collect();
    let content = Content {
        container: Container::Plain,
        pieces: &[report.as_bytes()],
        format: &FileFormat::default(),
    };
    let again = fuzz::file(content, None, rules(), 100);
    let again = again.unwrap_or_else(|problem| panic!("{problem:?}\n{report}"));
    let (mut members, mut count) = (0, 0);
    for window in &again.windows {
        members += window.members.len();
        count += window.rejected;
    }
    assert_eq!((members, count), (0, rejected), "{report}");
}
