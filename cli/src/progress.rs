//! Progress: a bar on a terminal, a plain line every few seconds elsewhere.

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use crate::client::{Batch, Export};

/// The time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// How often a bar is drawn while nothing happens, so that its clock advances.
const TICK: Duration = Duration::from_millis(200);

/// The templates fit any width: one's bar and the other's message take the remaining space.
const SENDING: &str =
    "{prefix:10} [{wide_bar}] {percent:>3}%  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
const EXPORTING: &str = "{prefix:10} {spinner} {wide_msg}";
const PROCESSING: &str = "{prefix:10} [{bar:20}] {percent:>3}%  {wide_msg}";

/// A stage, sending or processing.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    /// When the last plain line was written; `None` on a terminal.
    last_line: Option<Arc<Mutex<Instant>>>,
}

impl Progress {
    /// Starts the stage in which the file is sent.
    pub fn sending(size: u64) -> Self {
        Self::new("sending", SENDING, size)
    }

    /// Starts the stage in which the rows are processed.
    pub fn processing() -> Self {
        let progress = Self::new("processing", PROCESSING, 1);
        if progress.last_line.is_none() {
            progress.bar.enable_steady_tick(TICK);
        }
        progress
    }

    /// Starts the stage in which an export is made. The number of its members is not known before its end.
    pub fn exporting() -> Self {
        let progress = Self::new("exporting", EXPORTING, 1);
        if progress.last_line.is_none() {
            progress.bar.enable_steady_tick(TICK);
        }
        progress
    }

    /// Starts a stage that is too short to be shown: its notes are printed only.
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            last_line: Some(Arc::new(Mutex::new(Instant::now()))),
        }
    }

    fn new(name: &'static str, template: &str, length: u64) -> Self {
        let now = Instant::now();
        let is_terminal = io::stderr().is_terminal();
        let bar = if is_terminal {
            let style = ProgressStyle::with_template(template).expect("the template is fixed");
            ProgressBar::new(length)
                .with_style(style.progress_chars("=> "))
                .with_prefix(name)
        } else {
            ProgressBar::hidden()
        };
        bar.set_length(length);
        Self {
            bar,
            last_line: (!is_terminal).then(|| Arc::new(Mutex::new(now))),
        }
    }

    /// Adds bytes that were sent.
    pub fn sent(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.line(|| {
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            sending_line(done, total, self.bar.elapsed())
        });
    }

    /// Subtracts bytes whose request failed.
    pub fn took_back(&self, bytes: u64) {
        self.bar.dec(bytes);
    }

    /// Shows the progress of a batch.
    pub fn processed(&self, batch: &Batch) {
        if let Some(total) = batch.bytes.total {
            self.bar.set_length(total.max(1));
            self.bar.set_position(batch.bytes.done.unwrap_or_default());
        }
        self.bar.set_message(batch_line(batch));
        self.line(|| {
            let percent = percent(self.bar.position(), self.bar.length().unwrap_or_default());
            format!("{}: {percent}%  {}", batch.status, batch_line(batch))
        });
    }

    /// Shows the progress of an export.
    pub fn exported(&self, export: &Export) {
        let rows = HumanCount(export.rows);
        self.bar.set_message(format!("{rows} members"));
        self.line(|| format!("{}: {rows} members", export.status));
    }

    /// Prints a line above the bar.
    pub fn note(&self, text: &str) {
        if self.last_line.is_some() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Ends the stage and removes the bar, since a line about the result follows.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes a plain line, unless the last one was recent.
    fn line(&self, text: impl FnOnce() -> String) {
        let Some(last) = &self.last_line else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            eprintln!("{}", text());
        }
    }
}

fn sending_line(done: u64, total: u64, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let per_second = done.saturating_mul(1000) / millis;
    let left = Duration::from_secs(total.saturating_sub(done) / per_second.max(1));
    format!(
        "sending: {}%  {} of {}  {}/s  {:#} left",
        percent(done, total),
        HumanBytes(done),
        HumanBytes(total),
        HumanBytes(per_second),
        HumanDuration(left),
    )
}

/// Formats the rows, rate and remaining time of a batch; the details come last, where a narrow
/// terminal cuts.
fn batch_line(batch: &Batch) -> String {
    let mut text = String::new();
    let mut append = |piece: fmt::Arguments<'_>| {
        text.write_fmt(piece)
            .expect("writing to a string can't fail");
    };
    append(format_args!("{} rows", HumanCount(batch.rows.read)));
    if let Some(rate) = batch.rows_per_second.filter(|rate| *rate > 0.0) {
        append(format_args!("  {rate:.0}/s"));
    }
    let left = batch.eta_seconds.map(Duration::try_from_secs_f64);
    if let Some(Ok(left)) = left {
        append(format_args!("  {:#} left", HumanDuration(left)));
    }
    let mut separator = ' ';
    for (count, word) in outcomes(batch) {
        if count > 0 {
            append(format_args!("{separator} {} {word}", HumanCount(count)));
            separator = ',';
        }
    }
    text
}

/// The counters by name, in the order in which they are shown.
pub fn outcomes(batch: &Batch) -> [(u64, &'static str); 6] {
    let rows = &batch.rows;
    [
        (rows.created, "created"),
        (rows.updated, "updated"),
        (rows.unchanged, "unchanged"),
        (rows.superseded, "superseded"),
        (rows.rejected, "rejected"),
        (rows.removed, "removed"),
    ]
}

fn percent(done: u64, total: u64) -> u64 {
    done.min(total)
        .saturating_mul(100)
        .checked_div(total)
        .unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Rows;

    #[test]
    fn a_batch_is_one_line() {
        let mut batch = Batch {
            rows: Rows {
                read: 12_345,
                created: 12_000,
                rejected: 345,
                ..Rows::default()
            },
            ..Batch::default()
        };
        assert_eq!(
            batch_line(&batch),
            "12,345 rows  12,000 created, 345 rejected"
        );
        batch.rows_per_second = Some(8200.4);
        batch.eta_seconds = Some(75.0);
        assert_eq!(
            batch_line(&batch),
            "12,345 rows  8200/s  75s left  12,000 created, 345 rejected"
        );
        batch.eta_seconds = Some(f64::NAN);
        assert!(!batch_line(&batch).contains("left"));
    }

    #[test]
    fn sending_is_one_line() {
        let line = sending_line(512 * 1024, 1024 * 1024, Duration::from_secs(2));
        assert_eq!(
            line,
            "sending: 50%  512.00 KiB of 1.00 MiB  256.00 KiB/s  2s left"
        );
        assert!(sending_line(0, 0, Duration::ZERO).starts_with("sending: 100%"));
    }
}
