//! Workbooks: the cells of a sheet as CSV, row by row.
//!
//! A blank row of the sheet is a blank line, so the number of a line is that of the row, as long as no cell contains a line
//! break.

use mpulse_shared::readable;
use mpulse_shared::run::RunError;
use std::fmt::Write as _;
use std::io::{self, Read, Seek, Write};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx, XlsxError};
use tokio::sync::mpsc::Sender;
use zip::ZipArchive;

use super::container::Packed;
use super::damage::{broken, cause, damaged, zip_problem};
use super::limit::{self, MAX_PART, MAX_SHARED_TEXTS, MAX_SHEET};
use super::object_reader::Failure;
use super::output::{CHUNK, Output};
use super::{Chunk, problem};

/// The largest whole number that a cell holds exactly: a spreadsheet has 15 digits.
const MAX_EXACT: f64 = 1e15;

/// The most rows and columns that a sheet has.
const MAX_ROWS: u32 = 1_048_576;
const MAX_COLUMNS: u32 = 16_384;

/// The most names that a message lists.
const NAMES_SHOWN: usize = 50;

/// Returns whether an archive is a workbook.
pub fn is_one<R: Read + Seek>(archive: &ZipArchive<R>) -> bool {
    archive
        .file_names_raw()
        .any(|name| name.eq_ignore_ascii_case(b"xl/workbook.xml"))
}

/// Sends a sheet as CSV.
pub fn unpack<R: Read + Seek>(
    reader: R,
    packed: &Packed,
    failure: &Failure,
    sender: &Sender<Result<Chunk, RunError>>,
) -> Result<(), RunError> {
    let zip_failed = |error| cause(failure, || zip_problem(&error));
    let mut archive = ZipArchive::new(reader).map_err(zip_failed)?;
    check_parts(&mut archive, packed.size, failure)?;
    let failed = |error: XlsxError| cause(failure, || xlsx_problem(&error));
    let mut workbook = Xlsx::new(archive.into_inner()).map_err(failed)?;
    let name = sheet(&workbook, packed.sheet.as_deref())?;
    let mut cells = workbook.worksheet_cells_reader(&name).map_err(failed)?;
    let size = packed.size;
    let rows = u64::from(cells.dimensions().end.0) + 1;
    let mut out = Output::new(sender);
    let mut text = String::new();
    let (mut row, mut column) = (0, 0);
    let mut last = None;
    loop {
        let cell = cells.next_cell().map_err(failed)?;
        let next = cell.as_ref().map(calamine::Cell::get_position);
        let is_beyond = |(row, column)| row >= MAX_ROWS || column >= MAX_COLUMNS;
        if next.is_some_and(|next| Some(next) <= last || is_beyond(next)) {
            return Err(damaged("workbook"));
        }
        let next_row = next.map_or(row + 1, |(at, _)| at);
        while row < next_row {
            text.push('\n');
            row += 1;
            column = 0;
        }
        if next.is_none() || text.len() >= CHUNK {
            // The share of the rows is only as good as what the sheet announces.
            let read = size.saturating_mul(u64::from(row)) / rows;
            if !out.send(text.as_bytes(), size, read.min(size))? {
                return Ok(());
            }
            text.clear();
        }
        let (Some(cell), Some((_, position))) = (cell, next) else {
            return Ok(());
        };
        while column < position {
            text.push(',');
            column += 1;
        }
        write_cell(&mut text, cell.get_value());
        last = next;
    }
}

/// Returns the name of the sheet to read: the one that the batch names, or the first visible one.
fn sheet<R: Read + Seek>(workbook: &Xlsx<R>, named: Option<&str>) -> Result<String, RunError> {
    let sheets = workbook.sheets_metadata();
    let is_table = |sheet: &&calamine::Sheet| sheet.typ == SheetType::WorkSheet;
    let Some(named) = named else {
        let mut tables = sheets.iter().filter(is_table);
        let visible = tables
            .clone()
            .find(|sheet| sheet.visible == SheetVisible::Visible);
        return visible
            .or_else(|| tables.next())
            .map(|sheet| sheet.name.clone())
            .ok_or_else(|| problem("empty_file", "The workbook has no sheet with cells."));
    };
    let same = |sheet: &&calamine::Sheet| sheet.name.to_lowercase() == named.to_lowercase();
    if let Some(sheet) = sheets.iter().filter(is_table).find(same) {
        return Ok(sheet.name.clone());
    }
    let all = sheets.iter().map(|sheet| sheet.name.as_str());
    Err(problem(
        "unknown_sheet",
        format!(
            "The workbook has no sheet {named:?}. Its sheets are: {}.",
            readable::list(all, NAMES_SHOWN)
        ),
    ))
}

/// Checks the real sizes of the parts that are read, before a library reads them whole. `size` is that of the file.
fn check_parts<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    size: u64,
    failure: &Failure,
) -> Result<(), RunError> {
    for index in 0..archive.len() {
        let mut part = archive
            .by_index(index)
            .map_err(|error| cause(failure, || zip_problem(&error)))?;
        let name = part.name_raw().to_ascii_lowercase();
        let has = |text: &[u8]| memchr::memmem::find(&name, text).is_some();
        let is_texts = name.ends_with(b"sharedstrings.xml");
        let most = if is_texts {
            MAX_SHARED_TEXTS
        } else if has(b"worksheets/") && !has(b"_rels") {
            MAX_SHEET
        } else if name.ends_with(b".xml") || name.ends_with(b".rels") {
            MAX_PART
        } else {
            continue;
        };
        let mut tokens = Tokens {
            most,
            is_texts,
            total: 0,
            packed: part.compressed_size().min(size),
            token: 0,
            tail: Vec::new(),
            declared: 0,
            refused: None,
        };
        if let Err(error) = io::copy(&mut part, &mut tokens) {
            return Err(match tokens.refused.take() {
                Some(refused) => refused,
                None => cause(failure, || broken("workbook", &error)),
            });
        }
        if tokens.declares_more_than_it_has() {
            return Err(damaged("workbook"));
        }
    }
    Ok(())
}

/// Measures XML: its length, and that of its longest token.
struct Tokens {
    most: u64,
    /// Whether it is the texts that cells share.
    is_texts: bool,
    total: u64,
    packed: u64,
    token: u64,
    /// The last bytes, without spaces.
    tail: Vec<u8>,
    /// The largest number of texts that the part announces.
    declared: u64,
    refused: Option<RunError>,
}

/// The attribute that announces texts, without spaces.
const UNIQUE_COUNT: &[u8] = b"uniqueCount=";

/// More than the attribute and a number.
const TAIL: usize = 64;

impl Tokens {
    /// Returns whether the part announces more texts than its length allows: the library reserves memory for them.
    fn declares_more_than_it_has(&self) -> bool {
        const SHORTEST: usize = "<si/>".len();
        self.declared > self.total / SHORTEST as u64
    }

    /// Finds announced numbers of texts, wherever they are. XML may have spaces and either kind of quotes around them.
    fn find_declared(&mut self, bytes: &[u8]) {
        let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
        self.tail
            .extend(bytes.iter().filter(|byte| !is_space(byte)));
        for at in memchr::memmem::find_iter(&self.tail, UNIQUE_COUNT) {
            let value = &self.tail[at + UNIQUE_COUNT.len()..];
            let digits = value
                .strip_prefix(b"\"")
                .or_else(|| value.strip_prefix(b"'"));
            let digits = digits.unwrap_or_default().iter();
            let digits = digits
                .skip_while(|byte| **byte == b'+')
                .take_while(|byte| byte.is_ascii_digit());
            let count = digits.fold(0_u64, |count, digit| {
                count
                    .saturating_mul(10)
                    .saturating_add(u64::from(digit - b'0'))
            });
            self.declared = self.declared.max(count);
        }
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
    }
}

impl Write for Tokens {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_texts {
            self.find_declared(bytes);
        }
        self.total += bytes.len() as u64;
        for &byte in bytes {
            self.token = if byte == b'<' || byte == b'>' {
                0
            } else {
                self.token + 1
            };
            if self.token > MAX_PART {
                break;
            }
        }
        let refused = if self.total > self.most || self.token > MAX_PART {
            Some(problem(
                "workbook_too_large",
                format!(
                    "The workbook is too large: at most {} MiB of texts and {} GiB of cells are read. Save it as CSV and send that.",
                    MAX_SHARED_TEXTS >> 20,
                    MAX_SHEET >> 30
                ),
            ))
        } else {
            limit::check(self.total, self.packed).err()
        };
        if refused.is_some() {
            self.refused = refused;
            return Err(io::Error::other("too large"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends the text of a cell as a CSV field.
fn write_cell(out: &mut String, value: &DataRef<'_>) {
    match value {
        DataRef::Empty => {}
        DataRef::SharedString(text) => write_field(out, text),
        DataRef::Bool(value) => out.push_str(if *value { "TRUE" } else { "FALSE" }),
        DataRef::Int(number) => {
            let _ = write!(out, "{number}");
        }
        DataRef::Float(number) => write_number(out, *number),
        DataRef::DateTime(date) if date.is_datetime() => {
            let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
            let _ = write!(out, "{year:04}-{month:02}-{day:02}");
            if (hour, minute, second) != (0, 0, 0) {
                let _ = write!(out, " {hour:02}:{minute:02}:{second:02}");
            }
        }
        DataRef::DateTime(duration) => write_number(out, duration.as_f64()),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            write_field(out, text);
        }
        DataRef::Error(error) => write_field(out, &error.to_string()),
    }
}

/// Appends a number. Whole numbers are their digits; where digits may be lost, the number has a form that no id or
/// phone number may have.
fn write_number(out: &mut String, number: f64) {
    let _ = if number.abs() >= MAX_EXACT {
        write!(out, "{number:.14E}")
    } else {
        write!(out, "{number}")
    };
}

fn write_field(out: &mut String, text: &str) {
    if text.contains(['"', ',', ';', '\t', '|', '\n', '\r']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

fn xlsx_problem(error: &XlsxError) -> RunError {
    match error {
        XlsxError::Password => problem(
            "encrypted_file",
            "The workbook is protected by a password. Save it without a password.",
        ),
        XlsxError::Zip(error) => zip_problem(error),
        XlsxError::Io(error) => broken("workbook", error),
        _ => damaged("workbook"),
    }
}
