//! The parts of the report of changes that a run stores. Each window's lines are stored before the checkpoint that counts
//! its rows. When the lines since the last large part are many, they are stored once more, as one part that S3 can copy.

use bytes::Bytes;
use mpulse_shared::run::RunError;

use crate::report::{Report, Span};

/// The length of a large part, in bytes. S3 copies parts of 5 MiB and more.
pub const LARGE_PART: usize = 8 << 20;

/// The report of changes as a run makes it.
#[derive(Debug)]
pub struct ChangeLog {
    report: Report,
    run: u32,
    large: usize,
    /// The lines since the last large part.
    recent: String,
    /// The position at which they begin.
    from: Option<u64>,
}

impl ChangeLog {
    /// Creates the log of a run. `large` is the length of a large part.
    pub fn new(report: Report, run: u32, large: usize) -> Self {
        Self {
            report,
            run,
            large,
            recent: String::new(),
            from: None,
        }
    }

    /// Returns the report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Stores the lines of a window, which begins and ends at these positions. The next checkpoint must count it.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn put(&mut self, from: u64, to: u64, lines: String) -> Result<(), RunError> {
        let first = *self.from.get_or_insert(from);
        self.recent.push_str(&lines);
        let run = self.run;
        if self.recent.len() < self.large {
            let span = Span {
                from,
                run,
                to: None,
            };
            return self.report.put_part(span, Bytes::from(lines)).await;
        }
        self.from = None;
        let span = Span {
            from: first,
            run,
            to: Some(to),
        };
        let recent = std::mem::take(&mut self.recent);
        self.report.put_part(span, Bytes::from(recent)).await
    }
}
