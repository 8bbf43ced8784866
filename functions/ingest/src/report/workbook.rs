//! The report as a workbook whose cells are all text: a spreadsheet shows and saves leading zeros and long
//! numbers as they are.

use mpulse_shared::batch::Position;
use rust_xlsxwriter::{Format, Workbook, XlsxError};

use crate::parse::Parser;
use crate::report_form::{BOM, unescape};

/// The most rejected rows of a report that is also made as a workbook.
pub const MAX_ROWS: u64 = 100_000;

/// The largest report that is also made as a workbook, in bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The most characters of a cell (a limit of the format).
const MAX_CELL: usize = 32_767;

/// Makes the workbook.
pub fn from_report(text: &[u8]) -> Result<Vec<u8>, XlsxError> {
    let text = text.strip_prefix(BOM.as_bytes()).unwrap_or(text);
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    sheet.set_name("rejects")?;
    // "Text": what is typed into the cell stays as it is.
    let as_text = Format::new().set_num_format("@");
    let mut parser = Parser::new(b',', Position { offset: 0, line: 1 });
    parser.push(text);
    parser.finish();
    let mut row = 0;
    let mut columns = 0;
    while let Some(record) = parser.next() {
        for (column, field) in (0..).zip(record.fields()) {
            let field = String::from_utf8_lossy(field);
            let cell = plain(&field);
            let cell: String = cell.chars().take(MAX_CELL).collect();
            sheet.write_string_with_format(row, column, cell, &as_text)?;
            columns = columns.max(column);
        }
        row += 1;
    }
    sheet.set_column_range_format(0, columns, &as_text)?;
    sheet.set_freeze_panes(1, 0)?;
    workbook.save_to_buffer()
}

/// Returns a field without the escape that only CSV needs, unless reading it would remove another one.
fn plain(field: &str) -> &str {
    let plain = unescape(field);
    if unescape(plain) == plain {
        plain
    } else {
        field
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use calamine::{Data, Reader, Xlsx};

    use super::*;

    #[test]
    fn every_cell_is_the_text_of_its_field() {
        let report =
            "\u{FEFF}line,code,message,ph\r\n2,x,\"a, b\",'+1714\r\n3,x,y,007\r\n4,x,y,''=1\r\n";
        let made = from_report(report.as_bytes()).unwrap();
        let mut workbook = Xlsx::new(Cursor::new(made)).unwrap();
        let range = workbook.worksheet_range("rejects").unwrap();
        let cell = |row, column| range.get((row, column)).cloned();
        let text = |text: &str| Some(Data::String(text.into()));
        assert_eq!(cell(0, 0), text("line"));
        assert_eq!(cell(1, 2), text("a, b"));
        assert_eq!(cell(1, 3), text("+1714"));
        assert_eq!(cell(2, 3), text("007"));
        assert_eq!(cell(3, 3), text("''=1"));
        assert_eq!(unescape("''=1"), "'=1");
    }
}
