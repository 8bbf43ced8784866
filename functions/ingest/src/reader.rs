//! The file in windows: as many rows at a time as are compared, counted and written
//! together. Memory holds one window of these, whatever the size of the file.

use mpulse_shared::batch::Position;
use mpulse_shared::member::Profile;

use crate::Tuning;
use crate::error::RunError;
use crate::parse::Parser;
use crate::report::Encoder;
use crate::row::{Judge, Row};
use crate::source::Source;

/// Some rows of the file.
#[derive(Debug)]
pub struct Window {
    /// The members, in the order of the file.
    pub members: Vec<Profile>,
    /// How many rows were refused.
    pub refused: u64,
    /// Their lines of the report.
    pub report: String,
    /// The place after the last row.
    pub end: Position,
}

/// Reads the windows of a file.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Where bytes come from.
    pub source: Source,
    /// What finds the records in them.
    pub parser: Parser,
    /// What makes members of records.
    pub judge: Judge<'a>,
    /// What writes refused rows down.
    pub encoder: &'a Encoder,
    /// How large windows are.
    pub tuning: Tuning,
}

impl Reader<'_> {
    /// The next window, ending at byte `until` at the latest; `None` at the end of the file.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub async fn next(&mut self, until: Option<u64>) -> Result<Option<Window>, RunError> {
        let begin = self.parser.position();
        let mut window = Window {
            members: Vec::new(),
            refused: 0,
            report: String::new(),
            end: begin,
        };
        while window.members.len() < self.tuning.window_members
            && window.report.len() < self.tuning.window_report
            && until.is_none_or(|until| window.end.offset < until)
        {
            let row = self.parser.next().map(|record| self.judge.judge(&record));
            match row {
                Some(Row::Member(profile)) => window.members.push(profile),
                Some(Row::Reject(reject)) => {
                    window.refused += 1;
                    self.encoder.write(&mut window.report, &reject);
                }
                Some(Row::FirstLineOnly(reject)) => {
                    self.parser.keep_first_line();
                    window.refused += 1;
                    self.encoder.write(&mut window.report, &reject);
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
        Ok((window.end != begin).then_some(window))
    }
}
