//! The parser of records. The records do not depend on how the bytes arrive, nor on where parsing begins, and are those of the
//! `csv` crate, with these differences:
//!
//! - blanks around a quoted field are not part of it;
//! - a quote that is never closed, or not within 64 KiB, makes its line a record without fields, and the lines after it are
//!   parsed again;
//! - a byte order mark is skipped at the start of each record, so that joined files are read;
//! - 1A at the end of the file, which DOS programs write, is no text.

use csv::{ByteRecord, ReaderBuilder};
use ingest::fuzz::{self, MAX_RECORD, Record};
use mpulse_shared::batch::Position;
use mpulse_shared::columns::DELIMITERS;

use crate::pieces::{choice, split};

const BOM: &[u8] = b"\xEF\xBB\xBF";
const START: Position = Position { offset: 0, line: 1 };

/// This byte stands for [`FILLER`] in the input of `long_records`.
const LONG: u8 = 0xFE;

/// More than half of the longest record.
static FILLER: [u8; MAX_RECORD / 2 + 10] = [b'x'; MAX_RECORD / 2 + 10];

/// Any text.
pub fn records(input: &[u8]) {
    let (seed, text) = choice(input);
    check(seed, text);
}

/// Text with long lines: up to three [`LONG`] bytes are replaced.
pub fn long_records(input: &[u8]) {
    let (seed, text) = choice(input);
    let mut long = Vec::new();
    for (at, part) in text.split(|&byte| byte == LONG).enumerate() {
        if (1..=3).contains(&at) {
            long.extend_from_slice(&FILLER);
        }
        long.extend_from_slice(part);
    }
    check(seed, &long);
}

fn check(seed: u8, text: &[u8]) {
    let delimiter = DELIMITERS[usize::from(seed) % DELIMITERS.len()];
    let whole = fuzz::records(delimiter, START, [text]);
    let pieces = split(text, seed);
    assert_eq!(fuzz::records(delimiter, START, pieces), whole);
    let (mut line, mut counted) = (1, 0);
    for record in &whole {
        let offset = usize::try_from(record.start.offset).expect("an offset");
        line += line_ends(&text[counted..offset]);
        counted = offset;
        assert_eq!(record.start.line, line);
        assert!(text[offset..].starts_with(&record.raw));
    }
    if !whole.is_empty() {
        let index = usize::from(seed) % whole.len();
        let start = whole[index].start;
        let offset = usize::try_from(start.offset).expect("an offset");
        let rest = fuzz::records(delimiter, start, split(&text[offset..], !seed));
        assert_eq!(rest, whole[index..]);
    }
    compare(delimiter, text, &whole);
}

/// Counts line ends in bytes that do not end between a CR and its LF.
fn line_ends(bytes: &[u8]) -> u64 {
    let count = |end: u8| {
        bytes
            .iter()
            .fold(0, |count, &byte| count + usize::from(byte == end))
    };
    let both = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    (count(b'\n') + count(b'\r') - both) as u64
}

/// Compares records with those of the `csv` crate, up to one that it reads otherwise.
fn compare(delimiter: u8, text: &[u8], ours: &[Record]) {
    let end = text.iter().rposition(|&byte| byte != 0x1A);
    let text = &text[..end.map_or(0, |last| last + 1)];
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    let mut theirs = ByteRecord::new();
    for record in ours {
        let has_mark = record.start.offset > 0 && record.raw.starts_with(BOM);
        if record.unbounded || has_mark {
            return;
        }
        assert!(reader.read_byte_record(&mut theirs).expect("a record"));
        let is_blank = |byte: u8| byte != delimiter && b" \t".contains(&byte);
        let has_blank_before_quote = record
            .raw
            .windows(2)
            .any(|pair| is_blank(pair[0]) && pair[1] == b'"');
        if !has_blank_before_quote {
            assert!(theirs.iter().eq(&record.fields), "{theirs:?} {record:?}");
        }
    }
    let end = ours.last().map_or(0, |last| {
        last.raw.len() + usize::try_from(last.start.offset).expect("an offset")
    });
    let rest = text.get(end..).unwrap_or_default().trim_ascii_start();
    if !rest.starts_with(BOM) {
        let has_more = reader.read_byte_record(&mut theirs).expect("the end");
        assert!(!has_more, "{theirs:?}");
    }
}
