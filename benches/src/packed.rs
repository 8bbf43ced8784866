//! A roster as other programs send it: compressed, in another charset, or as a workbook.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_xlsxwriter::Workbook;

use crate::error::Error;

/// How a roster is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Packing {
    /// As a gzip stream.
    Gzip,
    /// As UTF-16 with a mark.
    Utf16,
    /// As a workbook with text cells; at most 1,048,575 rows.
    Workbook,
}

impl Packing {
    /// Returns its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Utf16 => "UTF-16",
            Self::Workbook => "workbook",
        }
    }

    /// Packs a roster.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or written.
    pub fn pack(self, from: &Path, to: &Path) -> Result<(), Error> {
        let mut from = BufReader::new(File::open(from)?);
        let mut out = BufWriter::new(File::create(to)?);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(&mut out, Compression::default());
                io::copy(&mut from, &mut encoder)?;
                encoder.finish()?;
            }
            Self::Utf16 => {
                out.write_all(&[0xFF, 0xFE])?;
                for line in from.lines() {
                    for unit in line?.encode_utf16().chain([u16::from(b'\n')]) {
                        out.write_all(&unit.to_le_bytes())?;
                    }
                }
            }
            Self::Workbook => {
                let mut workbook = Workbook::new();
                let sheet = workbook.add_worksheet();
                for (row, line) in (0..).zip(from.lines()) {
                    for (column, field) in (0..).zip(fields(&line?)) {
                        sheet.write_string(row, column, field)?;
                    }
                }
                workbook.save_to_writer(&mut out)?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// Splits a line whose quoted fields contain no quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for char in line.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("one field").push(char),
        }
    }
    fields
}
