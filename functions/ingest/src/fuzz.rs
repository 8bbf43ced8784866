//! What the fuzz targets in `tests/fuzz` call: files in memory, read by the code of a run. Nothing else calls it.

use futures_util::FutureExt;
use mpulse_shared::batch::{BatchProblem, Container, FileFormat, Layout, Position};
use mpulse_shared::member::{Profile, Rules};
use mpulse_shared::run::RunError;
use mpulse_shared::scope::Scope;

use crate::decode::{Encoding, in_memory};
use crate::layout::{self, Head, Settings};
use crate::parse::Parser;
use crate::reader::{Lines, Reader};
use crate::report::Encoder;
use crate::row::RowValidator;
use crate::seen::SeenKeys;
use crate::tuning::Tuning;

pub use crate::parse::MAX_RECORD;

/// A record, as the parser returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub start: Position,
    /// Its bytes as in the file.
    pub raw: Vec<u8>,
    /// Its fields.
    pub fields: Vec<Vec<u8>>,
    /// Whether it is too long, or opens a quote that is never closed.
    pub unbounded: bool,
}

/// Parses text that arrives in pieces and begins at `start` of a file. Of a record that is unbounded and spans lines, only the
/// first line is taken.
#[must_use]
pub fn records<'a>(
    delimiter: u8,
    start: Position,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Record> {
    let mut parser = Parser::new(delimiter, start);
    let mut records = Vec::new();
    for piece in pieces {
        parser.push(piece);
        take(&mut parser, &mut records);
    }
    parser.finish();
    take(&mut parser, &mut records);
    records
}

fn take(parser: &mut Parser, records: &mut Vec<Record>) {
    while let Some(record) = parser.next() {
        let is_stray = record.unbounded && record.spans_lines();
        records.push(Record {
            start: record.start,
            raw: record.raw.to_vec(),
            fields: record.fields().map(<[u8]>::to_vec).collect(),
            unbounded: record.unbounded,
        });
        if is_stray {
            parser.keep_first_line();
        }
    }
}

/// Reads the header from the first bytes of a text; `None` if more are needed.
///
/// # Errors
/// Returns the problem of a file without a header.
pub fn header(
    bytes: &[u8],
    whole: bool,
    format: &FileFormat,
    has_account: bool,
) -> Result<Option<(Layout, Position)>, BatchProblem> {
    let settings = Settings {
        format,
        has_account,
    };
    match layout::read(bytes, whole, settings) {
        Head::Partial => Ok(None),
        Head::Read(layout, at) => Ok(Some((layout, at))),
        Head::Failed(problem) => Err(problem),
    }
}

/// Returns the container of a file, and its content.
///
/// # Errors
/// Returns the problem of a file that cannot be unpacked.
pub fn unpacked(bytes: &[u8], sheet: Option<&str>) -> Result<(Container, Vec<u8>), BatchProblem> {
    in_memory::unpacked(bytes, sheet).map_err(problem)
}

/// A content that was unpacked, and how the batch says it is to be read.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// What it was unpacked from.
    pub container: Container,
    /// Its bytes, as they arrive.
    pub pieces: &'a [&'a [u8]],
    /// The settings of the batch.
    pub format: &'a FileFormat,
}

/// Returns the text of a content from an offset on, and its charset. `charset` is what an earlier call found.
///
/// # Errors
/// Returns the problem of a file that cannot be read.
pub fn text(
    content: Content<'_>,
    charset: Option<Option<String>>,
    offset: u64,
) -> Result<(Vec<u8>, Option<String>), BatchProblem> {
    let known = charset.map(|charset| Encoding {
        container: content.container,
        charset,
    });
    at_once(async {
        let label = content.format.encoding.as_deref();
        let (container, pieces) = (content.container, content.pieces);
        let mut decoder = in_memory::decoder(container, pieces, known, offset, label).await?;
        let mut text = Vec::new();
        while let Some(piece) = decoder.next().await? {
            text.extend_from_slice(&piece);
        }
        Ok((text, decoder.encoding().charset.clone()))
    })
}

/// The rows of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The members of valid rows.
    pub members: Vec<Profile>,
    /// Their lines.
    pub lines: Vec<u64>,
    /// The number of rejected rows.
    pub rejected: u64,
    /// Their lines of the report.
    pub report: String,
    /// The position after the last row.
    pub end: Position,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its layout.
    pub layout: Layout,
    /// The first line of its report of rejected rows.
    pub report_header: String,
    /// Its windows.
    pub windows: Vec<Window>,
}

/// Reads the rows of a content in windows of at most `members` members. `known` is the layout, and the position at which an
/// earlier call ended.
///
/// # Errors
/// Returns the problem of a file that cannot be read.
pub fn file(
    content: Content<'_>,
    known: Option<(&Layout, Position)>,
    rules: Rules,
    members: usize,
) -> Result<File, BatchProblem> {
    at_once(async {
        let encoding = known.map(|(layout, _)| Encoding {
            container: layout.container,
            charset: layout.charset.clone(),
        });
        let offset = known.map_or(0, |(_, at)| at.offset);
        let label = content.format.encoding.as_deref();
        let (container, pieces) = (content.container, content.pieces);
        let mut source = in_memory::decoder(container, pieces, encoding, offset, label).await?;
        let (mut head, mut tried) = (Vec::new(), 0);
        let (layout, start) = loop {
            if let Some((layout, at)) = known {
                break (layout.clone(), at);
            }
            // The pieces are small, and looking for a header in each would take most of the time.
            if head.len() >= 2 * tried || source.has_ended() {
                tried = head.len();
                let found = header(&head, source.has_ended(), content.format, false);
                if let Some((mut layout, at)) = found.map_err(RunError::Failed)? {
                    layout.container = source.encoding().container;
                    layout.charset.clone_from(&source.encoding().charset);
                    let taken = usize::try_from(at.offset).unwrap_or(usize::MAX);
                    head.drain(..taken);
                    break (layout, at);
                }
            }
            if let Some(text) = source.next().await? {
                head.extend_from_slice(&text);
            }
        };
        let mut parser = Parser::new(layout.delimiter, start);
        parser.push(&head);
        let encoder = Encoder::new(&layout);
        let mut reader = Reader {
            source,
            parser,
            validate: RowValidator::new(&layout, rules, None, &Scope::ALL),
            encoder: &encoder,
            reverts: false,
            keys: None,
            seen: SeenKeys::default(),
            tuning: Tuning {
                window_members: members,
                ..Tuning::default()
            },
        };
        let mut windows = Vec::new();
        while let Some(window) = reader.next(None).await? {
            let (members, lines) = match window.lines {
                Lines::Rows { members, lines } => (members, lines),
                Lines::Changes { .. } => (Vec::new(), Vec::new()),
            };
            windows.push(Window {
                members,
                lines,
                rejected: window.refused,
                report: window.report,
                end: window.end,
            });
        }
        Ok(File {
            report_header: encoder.header().to_owned(),
            layout,
            windows,
        })
    })
}

/// Returns the result of reading what is in memory: nothing has to be waited for.
fn at_once<T>(read: impl Future<Output = Result<T, RunError>>) -> Result<T, BatchProblem> {
    let result = read.now_or_never().expect("all of the file is in memory");
    result.map_err(problem)
}

fn problem(error: RunError) -> BatchProblem {
    match error {
        RunError::Failed(problem) => problem,
        other => unreachable!("nothing else fails in memory: {other}"),
    }
}
