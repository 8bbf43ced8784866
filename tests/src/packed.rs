//! Rosters as other programs make them: compressed, in another charset, or as a workbook.

use std::io::Write;

use rust_xlsxwriter::Workbook;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// How a roster is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// As a gzip stream of several members.
    Gzip,
    /// As a zip archive.
    Zip,
    /// As UTF-16 with a mark.
    Utf16,
    /// As a workbook with text cells.
    Workbook,
}

impl Packing {
    /// All ways.
    pub const ALL: [Self; 5] = [
        Self::Plain,
        Self::Gzip,
        Self::Zip,
        Self::Utf16,
        Self::Workbook,
    ];

    /// Packs a roster.
    #[must_use]
    pub fn pack(self, text: &str) -> Vec<u8> {
        match self {
            Self::Plain => text.into(),
            Self::Gzip => {
                let middle = (0..=text.len() / 2).rev();
                let middle = middle.into_iter().find(|&at| text.is_char_boundary(at));
                let (one, other) = text.split_at(middle.unwrap_or_default());
                [gzip(one.as_bytes()), gzip(other.as_bytes())].concat()
            }
            Self::Zip => zip(&[("roster.csv", text.as_bytes())]),
            Self::Utf16 => utf16(text, false),
            Self::Workbook => workbook(text),
        }
    }
}

/// Compresses bytes as one gzip member.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("writing to memory")
}

/// Makes a zip archive of files.
#[must_use]
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        if name.ends_with('/') {
            archive
                .add_directory(*name, SimpleFileOptions::default())
                .expect("a folder");
            continue;
        }
        archive
            .start_file(*name, SimpleFileOptions::default())
            .expect("a file");
        archive.write_all(content).expect("writing to memory");
    }
    archive.finish().expect("an archive").into_inner()
}

/// Encodes a text as UTF-16 with a mark, as spreadsheets write it.
#[must_use]
pub fn utf16(text: &str, big: bool) -> Vec<u8> {
    let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
    units
        .flat_map(|unit| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

/// Makes a workbook of a CSV text, whose quoted fields contain no line end.
#[must_use]
pub fn workbook(text: &str) -> Vec<u8> {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    for (row, line) in (0..).zip(text.lines()) {
        let mut field = String::new();
        let (mut column, mut quoted) = (0, false);
        for char in line.chars().chain([',']) {
            match char {
                '"' => quoted = !quoted,
                ',' if !quoted => {
                    if !field.is_empty() {
                        sheet.write_string(row, column, &field).expect("a cell");
                    }
                    field.clear();
                    column += 1;
                }
                _ => field.push(char),
            }
        }
    }
    workbook.save_to_buffer().expect("a workbook")
}
