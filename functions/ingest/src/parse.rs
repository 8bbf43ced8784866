//! A push parser: bytes in, records out. It does no I/O and holds one record at a time.
//!
//! Each record has the line and the byte at which it begins, so that a later run can continue from
//! any of them. Blank lines are not records. A record is at most [`MAX_RECORD`] bytes. Blanks around a
//! quoted field are not part of it.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use mpulse_shared::batch::Position;

/// The longest record, in bytes: sixteen times the longest valid row.
pub const MAX_RECORD: usize = 64 * 1024;

/// What DOS programs write at the end of a file.
const END_OF_FILE: u8 = 0x1A;

/// One record of the file. It borrows the parser's buffers until the next is requested.
#[derive(Debug)]
pub struct Record<'a> {
    /// Where it begins.
    pub start: Position,
    /// Its bytes as in the file, including the line end, truncated to
    /// [`MAX_RECORD`].
    pub raw: &'a [u8],
    /// Whether it is longer than [`MAX_RECORD`], or opens a quote that is never closed.
    pub unbounded: bool,
    /// Whether it is unbounded although it is a single line.
    pub long_line: bool,
    fields: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Record<'a> {
    /// Returns the fields without their quotes.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let fields = self.fields;
        let ends = self.ends;
        (0..ends.len()).map(move |i| {
            let start = if i == 0 { 0 } else { ends[i - 1] };
            &fields[start..ends[i]]
        })
    }

    /// Returns a field, if the record has it.
    pub fn field(&self, index: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.fields[start..end])
    }

    /// Returns whether it spans more than one line of the file.
    pub fn spans_lines(&self) -> bool {
        first_line(self.raw) < self.raw.len()
    }
}

/// The parser. Feed it with [`Parser::push`] until [`Parser::finish`], and take records with
/// [`Parser::next`] in between.
#[derive(Debug)]
pub struct Parser {
    reader: Reader,
    delimiter: u8,
    buffer: Vec<u8>,
    /// Bytes of the buffer that have been consumed.
    taken: usize,
    position: Position,
    finished: bool,
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// The last record's length in the buffer and its start, to read it again.
    last: Option<(usize, Position)>,
    /// A line longer than [`MAX_RECORD`] whose end has not arrived.
    oversized: Option<Oversized>,
}

/// The kept part of a line that is too long, while the rest of it is skipped.
#[derive(Debug)]
struct Oversized {
    start: Position,
    head: Vec<u8>,
}

/// Bytes kept of a line that is too long: enough for the report.
const OVERSIZED_KEPT: usize = 4096;

impl Parser {
    /// Creates a parser for bytes that begin at `position` of the file.
    pub fn new(delimiter: u8, position: Position) -> Self {
        Self {
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            delimiter,
            buffer: Vec::new(),
            taken: 0,
            position,
            finished: false,
            fields: Vec::new(),
            ends: vec![0; 64],
            last: None,
            oversized: None,
        }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.last = None;
        self.buffer.extend_from_slice(bytes);
    }

    /// Marks the end of the input. Returns whether it was marked before: if not, the remaining
    /// bytes may still be a record.
    pub fn finish(&mut self) -> bool {
        while self.buffer.len() > self.taken && self.buffer.last() == Some(&END_OF_FILE) {
            self.buffer.pop();
        }
        std::mem::replace(&mut self.finished, true)
    }

    /// Returns the position after the last record that was taken.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the next record; `None` if more bytes are needed, or at the end of the file.
    pub fn next(&mut self) -> Option<Record<'_>> {
        if self.oversized.is_some() {
            return self.rest_of_oversized();
        }
        self.skip_blank_lines();
        let input = &self.buffer[self.taken..];
        if input.is_empty() {
            return None;
        }
        let (length, fields, ends, unbounded) = match self.scan() {
            Scan::Whole {
                length,
                fields,
                ends,
            } => (length, fields, ends, false),
            Scan::Unbounded => (self.buffer.len() - self.taken, 0, 0, true),
            Scan::Partial => return None,
        };
        let length = if unbounded {
            length.min(MAX_RECORD)
        } else {
            length
        };
        let cut = &self.buffer[self.taken..self.taken + length];
        if unbounded && first_line(cut) == length && !cut.ends_with(b"\n") {
            self.oversized = Some(Oversized {
                start: self.position,
                head: self.buffer[self.taken..self.taken + length.min(OVERSIZED_KEPT)].to_vec(),
            });
            self.advance(length);
            return self.rest_of_oversized();
        }
        let start = self.position;
        let raw_from = self.taken;
        self.advance(length);
        self.last = Some((length, start));
        Some(Record {
            start,
            raw: &self.buffer[raw_from..raw_from + length],
            unbounded,
            long_line: false,
            fields: &self.fields[..fields],
            ends: &self.ends[..ends],
        })
    }

    /// Takes only the first line of the last record, and parses the lines after it again: a stray
    /// quote then rejects its own line, not the rows that it swallowed.
    pub fn keep_first_line(&mut self) {
        if let Some((length, start)) = self.last.take() {
            self.taken -= length;
            self.position = start;
            let line = first_line(&self.buffer[self.taken..self.taken + length]);
            self.advance(line);
        }
    }

    /// Skips a line that is too long, and returns it as a record once its end has arrived.
    fn rest_of_oversized(&mut self) -> Option<Record<'_>> {
        let rest = &self.buffer[self.taken..];
        let line = first_line(rest);
        // A CR at the end of the buffer may be the first half of a line end.
        let ended = line < rest.len() || rest.last() == Some(&b'\n') || self.finished;
        if !ended {
            let half = rest.last() == Some(&b'\r');
            self.advance(line - usize::from(half));
            return None;
        }
        self.advance(line);
        let oversized = self.oversized.take()?;
        self.fields
            .splice(..oversized.head.len(), oversized.head.iter().copied());
        Some(Record {
            start: oversized.start,
            raw: &self.fields[..oversized.head.len()],
            unbounded: true,
            long_line: true,
            fields: &[],
            ends: &[],
        })
    }

    fn skip_blank_lines(&mut self) {
        let blank = self.buffer[self.taken..]
            .iter()
            .take_while(|&&b| b == b'\r' || b == b'\n')
            .count();
        // A lone CR at the end of the buffer may be the first half of a line end.
        let split = !self.finished
            && blank > 0
            && self.taken + blank == self.buffer.len()
            && self.buffer.last() == Some(&b'\r');
        self.advance(blank - usize::from(split));
    }

    fn advance(&mut self, length: usize) {
        let bytes = &self.buffer[self.taken..self.taken + length];
        self.position.line += count_lines(bytes);
        self.position.offset += length as u64;
        self.taken += length;
    }

    /// Reads one record from the rest of the buffer, without taking it.
    fn scan(&mut self) -> Scan {
        self.reader.reset();
        let input = &self.buffer[self.taken..];
        let window = &input[..input.len().min(MAX_RECORD + 1)];
        // Fields are no longer than their record. The reader stops when its output is full, so there is room for one byte more.
        let room = (window.len() + 1).min(MAX_RECORD);
        if self.fields.len() < room {
            self.fields.resize(room, 0);
        }
        let (mut read, mut fields, mut ends) = (0, 0, 0);
        loop {
            let (result, nin, nout, nend) = self.reader.read_record(
                &window[read..],
                &mut self.fields[fields..],
                &mut self.ends[ends..],
            );
            read += nin;
            fields += nout;
            ends += nend;
            match result {
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::OutputFull => return Scan::Unbounded,
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {
                    if window.len() > MAX_RECORD {
                        return Scan::Unbounded;
                    }
                    if !self.finished {
                        return Scan::Partial;
                    }
                    if result == ReadRecordResult::End {
                        return Scan::Partial;
                    }
                    // The file ends without a line end. If one more does not end the record, a
                    // quote is open.
                    let (result, _, nout, nend) = self.reader.read_record(
                        b"\n",
                        &mut self.fields[fields..],
                        &mut self.ends[ends..],
                    );
                    match result {
                        ReadRecordResult::Record => {
                            fields += nout;
                            ends += nend;
                            break;
                        }
                        ReadRecordResult::OutputEndsFull => {
                            // Make room for one more field, and read the record again.
                            self.ends.resize(self.ends.len() * 2, 0);
                            return self.scan();
                        }
                        _ => return Scan::Unbounded,
                    }
                }
            }
        }
        let whole = self.taken..self.taken + read;
        if has_blank_before_quote(&self.buffer[whole.clone()], self.delimiter)
            && let Some(split) = split_with_blanks(&self.buffer[whole], self.delimiter)
        {
            (fields, ends) = self.store(&split);
        }
        let input = &self.buffer[self.taken..];
        // A record includes its whole line end.
        if read > 0 && input[read - 1] == b'\r' {
            match input.get(read) {
                Some(b'\n') => read += 1,
                None if !self.finished => return Scan::Partial,
                _ => {}
            }
        }
        Scan::Whole {
            length: read,
            fields,
            ends,
        }
    }

    /// Replaces the fields of the record. Returns their length and number.
    fn store(&mut self, split: &[Vec<u8>]) -> (usize, usize) {
        let mut length = 0;
        if self.ends.len() < split.len() {
            self.ends.resize(split.len(), 0);
        }
        for (field, end) in split.iter().zip(&mut self.ends) {
            self.fields[length..length + field.len()].copy_from_slice(field);
            length += field.len();
            *end = length;
        }
        (length, split.len())
    }
}

/// Returns whether a quote in a record may open a field after blanks.
fn has_blank_before_quote(record: &[u8], delimiter: u8) -> bool {
    let is_blank = |byte: u8| is_blank(byte, delimiter);
    memchr::memchr_iter(b'"', record).any(|at| at > 0 && is_blank(record[at - 1]))
}

fn is_blank(byte: u8, delimiter: u8) -> bool {
    (byte == b' ' || byte == b'\t') && byte != delimiter
}

/// Splits a record into fields, of which a quoted one may have blanks around it. Returns `None` if a quote
/// is open at its end or has other text around it.
fn split_with_blanks(record: &[u8], delimiter: u8) -> Option<Vec<Vec<u8>>> {
    let end = record
        .iter()
        .rposition(|&b| b != b'\n' && b != b'\r')
        .map_or(0, |at| at + 1);
    let record = &record[..end];
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let start = at
            + record[at..]
                .iter()
                .take_while(|&&b| is_blank(b, delimiter))
                .count();
        if record.get(start) == Some(&b'"') {
            let mut field = Vec::new();
            at = start + 1;
            loop {
                match record.get(at)? {
                    b'"' if record.get(at + 1) == Some(&b'"') => {
                        field.push(b'"');
                        at += 2;
                    }
                    b'"' => break,
                    &byte => {
                        field.push(byte);
                        at += 1;
                    }
                }
            }
            at += 1;
            at += record[at..]
                .iter()
                .take_while(|&&b| is_blank(b, delimiter))
                .count();
            fields.push(field);
        } else {
            let length = record[at..].iter().take_while(|&&b| b != delimiter).count();
            fields.push(record[at..at + length].to_vec());
            at += length;
        }
        match record.get(at) {
            None => return Some(fields),
            Some(&byte) if byte == delimiter => at += 1,
            Some(_) => return None,
        }
    }
}

enum Scan {
    Whole {
        length: usize,
        fields: usize,
        ends: usize,
    },
    Unbounded,
    Partial,
}

/// Returns the length of the first line, including its end.
pub fn first_line(bytes: &[u8]) -> usize {
    match bytes.iter().position(|&b| b == b'\n' || b == b'\r') {
        None => bytes.len(),
        Some(at) if bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n') => at + 2,
        Some(at) => at + 1,
    }
}

/// Counts line ends in bytes that do not end between a CR and its LF.
fn count_lines(bytes: &[u8]) -> u64 {
    let mut lines = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b'\n' || (byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
            lines += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as line, offset and fields.
    type Row = (u64, u64, Vec<String>);

    fn rows(text: &[u8], chunk: usize) -> Vec<Row> {
        let start = Position { offset: 0, line: 1 };
        let mut parser = Parser::new(b',', start);
        let mut rows = Vec::new();
        let drain = |parser: &mut Parser, rows: &mut Vec<Row>| {
            while let Some(record) = parser.next() {
                let fields = record
                    .fields()
                    .map(|f| String::from_utf8_lossy(f).into_owned())
                    .collect();
                rows.push((record.start.line, record.start.offset, fields));
            }
        };
        for piece in text.chunks(chunk) {
            parser.push(piece);
            drain(&mut parser, &mut rows);
        }
        parser.finish();
        drain(&mut parser, &mut rows);
        assert_eq!(parser.position().offset, text.len() as u64);
        rows
    }

    #[test]
    fn records_do_not_depend_on_how_bytes_arrive() {
        let text = b"a,b\r\n1,\"x\r\ny\"\r\n\r\n\n2,\"say \"\"hi\"\"\"\r\n3,4";
        let whole = rows(text, text.len());
        assert_eq!(
            whole,
            [
                (1, 0, vec!["a".into(), "b".into()]),
                (2, 5, vec!["1".into(), "x\r\ny".into()]),
                (6, 18, vec!["2".into(), "say \"hi\"".into()]),
                (7, 34, vec!["3".into(), "4".into()]),
            ]
        );
        for chunk in 1..text.len() {
            assert_eq!(rows(text, chunk), whole, "chunks of {chunk}");
        }
    }

    #[test]
    fn a_parser_that_begins_at_any_record_returns_the_rest() {
        let text = b"a,b\r\n1,2\r\n\r\n3,4\r\n5,6\r\n";
        let whole = rows(text, text.len());
        for (index, (line, offset, _)) in whole.iter().enumerate() {
            let from = usize::try_from(*offset).unwrap();
            let start = Position {
                offset: *offset,
                line: *line,
            };
            let mut parser = Parser::new(b',', start);
            parser.push(&text[from..]);
            parser.finish();
            let mut rest = Vec::new();
            while let Some(record) = parser.next() {
                rest.push((record.start.line, record.start.offset));
            }
            let expected: Vec<_> = whole[index..].iter().map(|r| (r.0, r.1)).collect();
            assert_eq!(rest, expected);
        }
    }

    #[test]
    fn blanks_around_a_quoted_field_are_skipped() {
        let text = b"a, \"b, c\" ,\t\"d \"\"e\"\"\", f\n \"g\"\n1, \"open\n";
        for chunk in 1..text.len() {
            let fields: Vec<Vec<String>> = rows(text, chunk).into_iter().map(|row| row.2).collect();
            assert_eq!(fields[0], ["a", "b, c", "d \"e\"", " f"], "{chunk}");
            assert_eq!(fields[1], ["g"]);
            assert_eq!(fields[2], ["1", " \"open"]);
        }
    }

    #[test]
    fn the_mark_of_dos_at_the_end_is_no_text() {
        for text in [b"a,b\n1,2\x1A".as_slice(), b"a,b\n1,2\n\x1A\x1A"] {
            let mut parser = Parser::new(b',', Position { offset: 0, line: 1 });
            parser.push(text);
            parser.finish();
            let mut last = Vec::new();
            while let Some(record) = parser.next() {
                last = record.fields().map(<[u8]>::to_vec).collect();
            }
            assert_eq!(last, [b"1", b"2"]);
        }
    }

    #[test]
    fn carriage_returns_alone_end_lines_too() {
        let lines: Vec<u64> = rows(b"a,b\r1,2\r3,4", 4).iter().map(|r| r.0).collect();
        assert_eq!(lines, [1, 2, 3]);
    }

    #[test]
    fn an_unbounded_record_is_cut_and_its_lines_can_be_parsed_again() {
        let mut text = b"a,b\n1,\"open\n".to_vec();
        for n in 0..20_000 {
            text.extend_from_slice(format!("{n},x\n").as_bytes());
        }
        let mut parser = Parser::new(b',', Position { offset: 0, line: 1 });
        parser.push(&text);
        parser.finish();
        let mut good = 0;
        let mut lines = Vec::new();
        while let Some(record) = parser.next() {
            lines.push(record.start.line);
            if record.unbounded {
                assert_eq!(record.start.line, 2);
                parser.keep_first_line();
            } else {
                good += 1;
            }
        }
        assert_eq!(good, 20_001);
        assert_eq!(lines, (1..=20_002).collect::<Vec<u64>>());
    }

    #[test]
    fn a_line_that_is_too_long_is_one_record() {
        let long = "x".repeat(3 * MAX_RECORD);
        let text = format!("a,b\n{long}\r\n1,2\n");
        for chunk in [text.len(), 1000, MAX_RECORD + 1] {
            let lines: Vec<(u64, usize)> = rows(text.as_bytes(), chunk)
                .iter()
                .map(|row| (row.0, row.2.len()))
                .collect();
            assert_eq!(lines, [(1, 2), (2, 0), (3, 2)], "chunks of {chunk}");
        }
    }

    #[test]
    fn a_literal_quote_does_not_open_or_close_a_field() {
        // Closed, although the quotes are odd in number.
        assert_eq!(rows(b"a,b\n5\"6,\"two\nlines\"", 5).len(), 2);
        // Open, although they are even.
        let mut parser = Parser::new(b',', Position { offset: 0, line: 1 });
        parser.push(b"5\"6,\"x\n4,2\n4,3\n");
        parser.finish();
        assert!(parser.next().is_some_and(|r| r.unbounded));
        parser.keep_first_line();
        assert!(parser.next().is_some_and(|r| r.fields().len() == 2));
    }

    #[test]
    fn records_around_the_longest_length_keep_their_lines() {
        for length in MAX_RECORD - 3..MAX_RECORD + 3 {
            for end in ["\n", "\r\n", "\r"] {
                let text = format!("{}{end}1,2{end}", "x".repeat(length));
                for chunk in [text.len(), 1024, length + 1] {
                    let got: Vec<(u64, usize)> = rows(text.as_bytes(), chunk)
                        .iter()
                        .map(|row| (row.0, row.2.len()))
                        .collect();
                    assert_eq!(got.len(), 2, "{length} {end:?} {chunk}");
                    assert_eq!(got[1], (2, 2), "{length} {end:?} {chunk}");
                }
            }
        }
    }

    #[test]
    fn a_quoted_record_at_the_limit_rejects_one_line() {
        for length in MAX_RECORD - 4..MAX_RECORD + 4 {
            let text = format!("\"{}\n1,2\n", "x".repeat(length));
            let mut parser = Parser::new(b',', Position { offset: 0, line: 1 });
            parser.push(text.as_bytes());
            parser.finish();
            let mut lines = Vec::new();
            while let Some(record) = parser.next() {
                lines.push(record.start.line);
                if record.unbounded && record.spans_lines() {
                    parser.keep_first_line();
                }
            }
            assert_eq!(lines, [1, 2], "{length}");
        }
    }

    #[test]
    fn an_open_quote_at_the_end_is_detected() {
        let mut parser = Parser::new(b',', Position { offset: 0, line: 1 });
        parser.push(b"1,\"open\n2,x\n");
        parser.finish();
        assert!(parser.next().is_some_and(|r| r.unbounded));
        parser.keep_first_line();
        assert!(
            parser
                .next()
                .is_some_and(|r| !r.unbounded && r.fields().len() == 2)
        );
        assert!(parser.next().is_none());
    }
}
