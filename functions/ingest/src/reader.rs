//! Reads the file in windows: rows that are compared, counted and written together. One window is
//! in memory at a time, whatever the size of the file.

use std::collections::BTreeMap;

use mpulse_shared::batch::{BatchProblem, Container, Position, WarningCode, Warnings};
use mpulse_shared::member::Profile;
use mpulse_shared::run::RunError;

use crate::change_report::{self, Reported};
use crate::decode::Decoder;
use crate::file_keys::FileKeys;
use crate::parse::{Parser, Record};
use crate::report::Encoder;
use crate::row::{Reject, RejectedKey, Row, RowValidator};
use crate::seen::SeenKeys;
use crate::tuning::Tuning;

/// The lines of a window that may change members, in the order of the file, each with its line number.
#[derive(Debug)]
pub enum Lines {
    /// Valid rows of a roster.
    Rows {
        /// The rows.
        members: Vec<Profile>,
        /// Their line numbers.
        lines: Vec<u64>,
    },
    /// Lines of a report of changes.
    Changes {
        /// The changes.
        reported: Vec<Reported>,
        /// Their line numbers.
        lines: Vec<u64>,
    },
}

impl Lines {
    fn len(&self) -> usize {
        match self {
            Self::Rows { lines, .. } | Self::Changes { lines, .. } => lines.len(),
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::Rows {
            members: Vec::new(),
            lines: Vec::new(),
        }
    }
}

/// Some rows of the file.
#[derive(Debug)]
pub struct Window {
    /// What may change members.
    pub lines: Lines,
    /// The number of rejected rows whose client member id cannot be read, in mode `replace`.
    pub unreadable: u64,
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
    /// Whether the file is a report of changes to take back.
    pub reverts: bool,
    /// The keys of the file, in mode `replace`.
    pub keys: Option<FileKeys>,
    /// The keys of the rows so far.
    pub seen: SeenKeys,
    /// The size of windows.
    pub tuning: Tuning,
}

impl Window {
    fn at(begin: Position, reverts: bool) -> Self {
        let lines = if reverts {
            Lines::Changes {
                reported: Vec::new(),
                lines: Vec::new(),
            }
        } else {
            Lines::default()
        };
        Self {
            lines,
            unreadable: 0,
            refused: 0,
            codes: BTreeMap::new(),
            report: String::new(),
            warnings: Warnings::default(),
            object_bytes: 0,
            end: begin,
        }
    }

    fn add_row(&mut self, profile: Profile, line: u64) {
        if let Lines::Rows { members, lines } = &mut self.lines {
            members.push(profile);
            lines.push(line);
        }
    }

    fn add(&mut self, reject: &Reject, encoder: &Encoder) {
        self.refused += 1;
        *self.codes.entry(reject.code).or_insert(0) += 1;
        encoder.write(&mut self.report, reject);
    }
}

/// Adds a line of a report of changes to a window.
fn take_back(window: &mut Window, record: &Record<'_>) -> Result<(), RunError> {
    let Some(change) = change_report::read(record) else {
        return Err(RunError::Failed(BatchProblem {
            code: "not_a_change_report".to_owned(),
            message: format!(
                "Line {} is not that of a report of changes.",
                record.start.line
            ),
        }));
    };
    if let Lines::Changes { reported, lines } = &mut window.lines {
        reported.push(change);
        lines.push(record.start.line);
    }
    Ok(())
}

impl Reader<'_> {
    /// Returns the next window, ending at byte `until` at the latest; `None` at the end of the
    /// file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn next(&mut self, until: Option<u64>) -> Result<Option<Window>, RunError> {
        let begin = self.parser.position();
        let mut window = Window::at(begin, self.reverts);
        while window.lines.len() < self.tuning.window_members
            && window.report.len() < self.tuning.window_report
            && until.is_none_or(|until| window.end.offset < until)
        {
            let record = self.parser.next();
            if let (Some(record), true) = (&record, self.reverts) {
                take_back(&mut window, record)?;
                window.end = self.parser.position();
                continue;
            }
            let row = record.map(|record| (self.validate.validate(&record), record.start.line));
            match row {
                Some((Row::Skip, _)) => {}
                Some((Row::Member(profile, warning), line)) => {
                    if let Some(code) = warning {
                        window.warnings.count(code, line);
                    }
                    if self.seen.is_repeated(&profile.id) {
                        window.warnings.count(WarningCode::RepeatedKey, line);
                    }
                    if let Some(keys) = &mut self.keys {
                        keys.add(&profile.id.client_member_id);
                    }
                    window.add_row(profile, line);
                }
                Some((Row::Reject(reject), _)) => self.reject(&mut window, &reject),
                Some((Row::FirstLineOnly(reject), _)) => {
                    self.parser.keep_first_line();
                    self.reject(&mut window, &reject);
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

    fn reject(&mut self, window: &mut Window, reject: &Reject) {
        match (&reject.key, &mut self.keys) {
            (RejectedKey::Read(id), Some(keys)) => keys.protect(id),
            (RejectedKey::Unreadable, Some(_)) => window.unreadable += 1,
            _ => {}
        }
        window.add(reject, self.encoder);
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
