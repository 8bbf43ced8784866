//! Reads the file in windows: rows that are compared, counted and written together. One window is
//! in memory at a time, whatever the size of the file.

use std::collections::BTreeMap;

use mpulse_shared::batch::{Container, Position, WarningCode, Warnings};
use mpulse_shared::member::Profile;

use crate::decode::Decoder;
use crate::error::RunError;
use crate::parse::Parser;
use crate::report::Encoder;
use crate::row::{Reject, Row, RowValidator};
use crate::seen::SeenKeys;
use crate::tuning::Tuning;

/// Some rows of the file.
#[derive(Debug)]
pub struct Window {
    /// The valid rows, in the order of the file.
    pub members: Vec<Profile>,
    /// The number of rejected rows.
    pub refused: u64,
    /// Their number by code.
    pub codes: BTreeMap<&'static str, u64>,
    /// Their lines of the report.
    pub report: String,
    /// What looks wrong in valid rows.
    pub warnings: Warnings,
    /// Bytes of the object from which the rows up to the end of the window were read.
    pub object_bytes: u64,
    /// The position after the last row.
    pub end: Position,
}

/// Reads the windows of a file.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The text.
    pub source: Decoder,
    /// Splits them into records.
    pub parser: Parser,
    /// Validates records.
    pub validate: RowValidator<'a>,
    /// Formats rejected rows.
    pub encoder: &'a Encoder,
    /// The keys of the rows so far.
    pub seen: SeenKeys,
    /// The size of windows.
    pub tuning: Tuning,
}

impl Window {
    fn at(begin: Position) -> Self {
        Self {
            members: Vec::new(),
            refused: 0,
            codes: BTreeMap::new(),
            report: String::new(),
            warnings: Warnings::default(),
            object_bytes: 0,
            end: begin,
        }
    }

    fn add(&mut self, reject: &Reject, encoder: &Encoder) {
        self.refused += 1;
        *self.codes.entry(reject.code).or_insert(0) += 1;
        encoder.write(&mut self.report, reject);
    }
}

impl Reader<'_> {
    /// Returns the next window, ending at byte `until` at the latest; `None` at the end of the
    /// file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn next(&mut self, until: Option<u64>) -> Result<Option<Window>, RunError> {
        let begin = self.parser.position();
        let mut window = Window::at(begin);
        while window.members.len() < self.tuning.window_members
            && window.report.len() < self.tuning.window_report
            && until.is_none_or(|until| window.end.offset < until)
        {
            let row = self
                .parser
                .next()
                .map(|record| (self.validate.validate(&record), record.start.line));
            match row {
                Some((Row::Skip, _)) => {}
                Some((Row::Member(profile, warning), line)) => {
                    if let Some(code) = warning {
                        window.warnings.count(code, line);
                    }
                    if self.seen.is_repeated(&profile.id) {
                        window.warnings.count(WarningCode::RepeatedKey, line);
                    }
                    window.members.push(profile);
                }
                Some((Row::Reject(reject), _)) => window.add(&reject, self.encoder),
                Some((Row::FirstLineOnly(reject), _)) => {
                    self.parser.keep_first_line();
                    window.add(&reject, self.encoder);
                }
                None => {
                    let Some(bytes) = self.source.next().await? else {
                        if !self.parser.finish() {
                            continue;
                        }
                        // Blank lines at the end belong to the last window.
                        window.end = self.parser.position();
                        break;
                    };
                    self.parser.push(&bytes);
                    continue;
                }
            }
            window.end = self.parser.position();
        }
        window.object_bytes = self.object_bytes(window.end);
        Ok((window.end != begin).then_some(window))
    }

    /// Returns the bytes of the object up to a position: exactly, if the object is the text.
    fn object_bytes(&self, end: Position) -> u64 {
        let encoding = self.source.encoding();
        if encoding.container == Container::Plain && encoding.charset.is_none() {
            end.offset
        } else {
            self.source.object_bytes()
        }
    }
}
