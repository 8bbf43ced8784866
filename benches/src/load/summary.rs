//! What the mixed load shows: percentiles by what ran beside the requests, their course, and the checks.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::LoadArgs;
use super::batches::{BatchRun, File};
use super::open_loop::{Outcome, Sent};
use super::requests::Kind;
use crate::error::Error;
use crate::figures::{Origin, mebibytes, percentile_ms};

/// Points of the course, at most; each is at least a second.
const POINTS: u32 = 120;

/// How much longer a read may take while a batch runs, at its 99th percentile.
const SLOWER: f64 = 2.0;

/// How much more memory the last minute may use than the third one, in percent.
const GROWN: u64 = 10;

/// What was observed.
#[derive(Debug)]
pub struct Observed {
    /// Reads alone.
    pub idle: Outcome,
    /// The mixed load.
    pub mixed: Outcome,
    /// The anonymous memory during the mixed load: seconds, and bytes.
    pub memory: Vec<(f64, u64)>,
    /// The batches during the mixed load.
    pub batches: Vec<BatchRun>,
}

/// The result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// Where and when.
    pub origin: Origin,
    /// Seconds of mixed load.
    pub seconds: u32,
    /// Requests per second that were due.
    pub rate: u32,
    /// Requests of the mixed load with the expected response.
    pub requests: usize,
    /// Response times of reads, by what ran beside them.
    pub reads: Vec<Times>,
    /// Response times during the mixed load, by kind of request.
    pub kinds: Vec<Times>,
    /// Other responses than the expected ones, and broken connections.
    pub errors: BTreeMap<String, u64>,
    /// The batches.
    pub batches: Vec<BatchRun>,
    /// The course of the mixed load.
    pub course: Vec<Point>,
    /// Requirements.
    pub checks: Vec<Check>,
}

/// Response times, from when the requests were due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Times {
    /// Of what.
    pub what: String,
    /// The number of requests.
    pub requests: usize,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// What one request in a hundred exceeds.
    pub p99_ms: f64,
    /// What one request in a thousand exceeds.
    pub p999_ms: f64,
    /// The longest.
    pub most_ms: f64,
}

/// A part of the course.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    /// Its middle, in seconds from the beginning.
    pub second: f64,
    /// Requests per second with the expected response.
    pub rate: f64,
    /// The median of the reads, in milliseconds.
    pub p50_ms: f64,
    /// What one read in a hundred exceeds.
    pub p99_ms: f64,
    /// The median of the anonymous memory, in bytes.
    pub memory: u64,
}

/// A requirement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// What is required.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether it is met.
    pub passed: bool,
}

impl Load {
    /// Summarises what was observed.
    pub(super) fn new(origin: Origin, args: &LoadArgs, observed: Observed) -> Self {
        let Observed {
            idle,
            mixed,
            memory,
            batches,
        } = observed;
        let reads = reads(&idle.sent, &mixed.sent, &batches);
        let kinds = Kind::ALL.map(|kind| {
            let all = mixed.sent.iter().filter(|sent| sent.kind == kind);
            Times::of(kind.name(), all)
        });
        let seconds = args.minutes * 60;
        let course = course(&mixed.sent, &memory, seconds);
        let mut errors = idle.errors;
        for (error, count) in mixed.errors {
            *errors.entry(error).or_insert(0) += count;
        }
        let mut checks = vec![no_errors(&errors)];
        checks.extend(not_slower(&reads));
        checks.extend(not_grown(&memory, seconds));
        Self {
            origin,
            seconds,
            rate: args.rate,
            requests: mixed.sent.len(),
            reads,
            kinds: kinds.to_vec(),
            errors,
            batches,
            course,
            checks,
        }
    }

    /// Returns the requests per second with the expected response.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 requests")]
    pub fn throughput(&self) -> f64 {
        self.requests as f64 / f64::from(self.seconds)
    }

    /// Returns an error if a requirement is not met.
    ///
    /// # Errors
    /// Returns the requirements.
    pub fn verdict(&self) -> Result<(), Error> {
        let failed: Vec<String> = self
            .checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| format!("not met: {}: {}", check.what, check.found))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(failed.join("\n").into())
    }
}

impl Times {
    fn of<'a>(what: &str, sent: impl Iterator<Item = &'a Sent>) -> Self {
        let mut micros: Vec<u32> = sent.map(|sent| sent.micros).collect();
        micros.sort_unstable();
        Self {
            what: what.to_owned(),
            requests: micros.len(),
            p50_ms: percentile_ms(&micros, 500),
            p99_ms: percentile_ms(&micros, 990),
            p999_ms: percentile_ms(&micros, 999),
            most_ms: percentile_ms(&micros, 1000),
        }
    }
}

/// The names of the reads by what ran beside them.
const ALONE: &str = "reads alone";
const WITH_A_BATCH: &str = "reads and writes, any batch";

/// Returns the response times of reads, by what ran beside them.
fn reads(idle: &[Sent], mixed: &[Sent], batches: &[BatchRun]) -> Vec<Times> {
    let beside = |sent: &Sent| {
        let runs = |file| {
            let second = sent.due.as_secs_f64();
            batches
                .iter()
                .any(|run| run.file == file && run.covers(second))
        };
        (runs(File::Nightly), runs(File::FirstLoad))
    };
    let all: Vec<(&Sent, (bool, bool))> = mixed
        .iter()
        .filter(|sent| sent.kind.is_read())
        .map(|sent| (sent, beside(sent)))
        .collect();
    let with = |what, wanted: &dyn Fn((bool, bool)) -> bool| {
        let some = all.iter().filter(|(_, beside)| wanted(*beside));
        Times::of(what, some.map(|(sent, _)| *sent))
    };
    let times = vec![
        Times::of(ALONE, idle.iter()),
        with("reads and writes, no batch", &|beside| {
            beside == (false, false)
        }),
        with("reads and writes, a nightly file", &|beside| {
            beside == (true, false)
        }),
        with("reads and writes, a first load", &|beside| {
            beside == (false, true)
        }),
        with("reads and writes, both at once", &|beside| {
            beside == (true, true)
        }),
        with(WITH_A_BATCH, &|beside| beside != (false, false)),
    ];
    times.into_iter().filter(|one| one.requests > 0).collect()
}

/// Returns the course of the mixed load, of this many seconds.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 requests")]
fn course(sent: &[Sent], memory: &[(f64, u64)], seconds: u32) -> Vec<Point> {
    let length = f64::from((seconds / POINTS).max(1));
    let mut points = Vec::new();
    let mut from = 0.0;
    while from < f64::from(seconds) {
        let part = from..from + length;
        let all = sent
            .iter()
            .filter(|sent| part.contains(&sent.due.as_secs_f64()));
        let count = all.clone().count();
        let reads = Times::of("", all.filter(|sent| sent.kind.is_read()));
        points.push(Point {
            second: from + length / 2.0,
            rate: count as f64 / length,
            p50_ms: reads.p50_ms,
            p99_ms: reads.p99_ms,
            memory: median(memory, part.start, part.end),
        });
        from += length;
    }
    points
}

/// Returns the median of the samples between two seconds, or 0.
fn median(memory: &[(f64, u64)], from: f64, to: f64) -> u64 {
    let samples = memory
        .iter()
        .filter(|(second, _)| (from..to).contains(second));
    let mut bytes: Vec<u64> = samples.map(|(_, bytes)| *bytes).collect();
    bytes.sort_unstable();
    bytes.get(bytes.len() / 2).copied().unwrap_or_default()
}

fn no_errors(errors: &BTreeMap<String, u64>) -> Check {
    let count: u64 = errors.values().sum();
    let kinds: Vec<String> = errors
        .iter()
        .map(|(error, count)| format!("; {count} × {error}"))
        .collect();
    Check {
        what: "no request fails".to_owned(),
        found: format!("{count} failed{}", kinds.concat()),
        passed: count == 0,
    }
}

fn not_slower(reads: &[Times]) -> Option<Check> {
    let p99 = |what| {
        let mut all = reads.iter();
        all.find(|times| times.what == what)
            .map(|times| times.p99_ms)
    };
    let (alone, with) = (p99(ALONE)?, p99(WITH_A_BATCH)?);
    Some(Check {
        what: format!(
            "while a batch runs, the p99 of reads is at most {SLOWER:.0} × that of reads alone"
        ),
        found: format!(
            "{alone:.2} ms alone, {with:.2} ms with a batch: {:.2} ×",
            with / alone
        ),
        passed: with <= SLOWER * alone,
    })
}

/// Compares the third minute with the last one, if there is one between.
fn not_grown(memory: &[(f64, u64)], seconds: u32) -> Option<Check> {
    if seconds < 300 {
        return None;
    }
    let end = f64::from(seconds);
    let (third, last) = (
        median(memory, 120.0, 180.0),
        median(memory, end - 60.0, end),
    );
    Some(Check {
        what: format!(
            "the median of memory in the last minute is at most {GROWN} % above that in the third"
        ),
        found: format!(
            "{} in the third minute, {} in the last",
            mebibytes(Some(third)),
            mebibytes(Some(last))
        ),
        passed: last <= third + third * GROWN / 100,
    })
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} s, {} requests, {:.1} per second\n",
            self.seconds,
            self.requests,
            self.throughput()
        )?;
        let header = ["", "requests", "p50 ms", "p99 ms", "p99.9 ms", "max ms"];
        writeln!(
            f,
            "{:<34} {:>9} {:>8} {:>8} {:>9} {:>8}",
            header[0], header[1], header[2], header[3], header[4], header[5]
        )?;
        for times in self.reads.iter().chain(&self.kinds) {
            writeln!(
                f,
                "{:<34} {:>9} {:>8.2} {:>8.2} {:>9.2} {:>8.2}",
                times.what,
                times.requests,
                times.p50_ms,
                times.p99_ms,
                times.p999_ms,
                times.most_ms
            )?;
        }
        writeln!(f)?;
        for batch in &self.batches {
            let (file, from, to) = (batch.file.name(), batch.from, batch.to);
            let rate = batch.rate();
            writeln!(f, "{file:<13} {from:6.1} s to {to:6.1} s, {rate:.0} rows/s")?;
        }
        writeln!(f)?;
        for check in &self.checks {
            let passed = if check.passed { "met" } else { "NOT MET" };
            writeln!(f, "{passed}: {}: {}", check.what, check.found)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sent(kind: Kind, second: u64, micros: u32) -> Sent {
        Sent {
            kind,
            due: Duration::from_secs(second),
            micros,
        }
    }

    fn batch(file: File, from: f64, to: f64) -> BatchRun {
        BatchRun {
            file,
            rows: 1000,
            from,
            to,
        }
    }

    #[test]
    fn reads_are_compared_with_reads_alone() {
        let batches = [
            batch(File::Nightly, 10.0, 20.0),
            batch(File::FirstLoad, 15.0, 30.0),
        ];
        let idle = [sent(Kind::ById, 1, 1000)];
        let mixed = [
            sent(Kind::ById, 5, 1100),
            sent(Kind::ByPhone, 12, 1900),
            sent(Kind::Account, 17, 1950),
            sent(Kind::ByClientId, 25, 1800),
            sent(Kind::Create, 17, 99_000),
        ];
        let all = reads(&idle, &mixed, &batches);
        let p99: Vec<f64> = all.iter().map(|times| times.p99_ms).collect();
        assert_eq!(p99, [1.0, 1.1, 1.9, 1.8, 1.95, 1.95]);
        assert!(not_slower(&all).is_some_and(|check| check.passed));

        let slow = [sent(Kind::ById, 17, 2001)];
        let check = not_slower(&reads(&idle, &slow, &batches));
        assert!(check.is_some_and(|check| !check.passed));
        // Without a batch there is nothing to compare.
        assert!(not_slower(&reads(&idle, &mixed, &[])).is_none());
    }

    #[test]
    fn growth_after_the_third_minute_is_found() {
        let grown = |by: u64| {
            let samples: Vec<(f64, u64)> = (0..600_u32)
                .map(|second| (f64::from(second), 1_000_000 + u64::from(second) * by))
                .collect();
            not_grown(&samples, 600).is_some_and(|check| !check.passed)
        };
        assert!(!grown(0) && !grown(200) && grown(300));
        assert!(not_grown(&[], 240).is_none());
    }

    #[test]
    fn the_course_has_points_of_at_least_a_second() {
        let all = [
            sent(Kind::ById, 0, 1000),
            sent(Kind::ById, 4, 3000),
            sent(Kind::Create, 5, 9000),
        ];
        let points = course(&all, &[(1.0, 7), (6.0, 8)], 600);
        assert_eq!(points.len(), 120);
        assert!((points[0].p99_ms - 3.0).abs() < 1e-9 && points[0].memory == 7);
        assert!(points[1].p99_ms.abs() < 1e-9 && (points[1].rate - 0.2).abs() < 1e-9);
        assert_eq!(course(&[], &[], 60).len(), 60);
    }

    #[test]
    fn an_error_is_not_met() {
        assert!(no_errors(&BTreeMap::new()).passed);
        let errors = BTreeMap::from([("GET by id: status 500".to_owned(), 2)]);
        let check = no_errors(&errors);
        assert_eq!(check.found, "2 failed; 2 × GET by id: status 500");
        assert!(!check.passed);
    }
}
