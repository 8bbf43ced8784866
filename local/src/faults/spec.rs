//! The specification of faults: which, and with what probability. It is parsed from text.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::partitions::Limits;

/// The help text of a [`Spec`].
pub const HELP: &str = "\
Inject faults, to test failure handling. SPEC is a list of these options, separated by commas:

  unprocessed=0.3  share of the items, keys and statements of DynamoDB batches that are unprocessed
  throttle=0.1     share of DynamoDB requests that are throttled
  error=0.05       share of requests to DynamoDB and S3 that fail with 500
  drop=0.02        share of requests to DynamoDB and S3 whose connection is closed without a
                   response, half of them after the request was applied
  latency=5..50    milliseconds added to each request; a single number is always added
  wcu=4000         write units per second of each table: an item costs one, and one more for
                   each index; up to a second's worth is saved up
  partition=1000   write units per second of each partition of the tables and their indexes, and three
                   times as many read units; AWS's limits are 1000 and 3000
  split=300s       with partition: seconds at its limit after which a partition is divided
  burst=300s       with partition: seconds of unused throughput that a partition saves up
  s3drop=1000000   bytes after which the body of each GET of an object breaks off
  seed=7           repeats the faults of an earlier run; random and printed if not given

DynamoDB faults affect all functions, S3 faults only ingest.";

/// The same in one line, for errors.
pub(super) const WORDS: &str = "the options are unprocessed, throttle, error and drop (shares from 0 to 1), latency \
     (milliseconds, as 20 or 5..50), wcu (write units a second), partition (write units a second), \
     split and burst (seconds, with partition), s3drop (bytes) and seed (a number), each as NAME=VALUE";

pub(super) const SHARE: &str = "a share is a number from 0 to 1";

pub(super) const LATENCY: &str =
    "latency is milliseconds up to 60000, as 20, or as 5..50 with the smaller number first";

pub(super) const UNITS: &str = "write units are a whole number from 1 to 4294967295";

pub(super) const SECONDS: &str = "seconds are a whole number from 0 to 86400, as 60 or 60s";

pub(super) const PARTITION: &str = "split and burst need the option partition";

pub(super) const BYTES: &str = "bytes are a whole number from 1";

pub(super) const SEED: &str = "a seed is a whole number from 0 to 18446744073709551615";

pub(super) const ONCE: &str = "each option may be given once";

/// The longest latency, in milliseconds: beyond it, every client has timed out.
pub(super) const MAX_LATENCY: u64 = 60_000;

/// The longest time of a split or a burst, in seconds.
const MAX_SECONDS: u32 = 86_400;

/// Seconds at the limit after which a partition is divided, if the specification does not say it. AWS publishes no time.
const SPLIT_SECONDS: u32 = 300;

/// Seconds of unused throughput that a partition saves, if the specification does not say it (AWS's documentation).
const BURST_SECONDS: u32 = 300;

/// The faults and their probability. It is parsed from text (see [`HELP`]) and formatted as that
/// text; by default there are no faults.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spec {
    pub(super) unprocessed: f64,
    pub(super) throttle: f64,
    pub(super) error: f64,
    pub(super) drop: f64,
    /// The minimum and maximum, in milliseconds.
    pub(super) latency: (u64, u64),
    pub(super) wcu: Option<u32>,
    pub(super) partition: Option<u32>,
    /// In seconds.
    pub(super) split: Option<u32>,
    /// In seconds.
    pub(super) burst: Option<u32>,
    pub(super) s3_drop: Option<u64>,
    pub(super) seed: Option<u64>,
}

/// A part of a [`Spec`] is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{part:?} is not valid: {allowed}")]
pub struct SpecError {
    pub(super) part: String,
    pub(super) allowed: &'static str,
}

impl Spec {
    /// Returns the same faults with this seed.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        let seed = Some(seed);
        Self { seed, ..self }
    }

    /// Returns what a partition accepts, if it is limited.
    pub(super) fn limits(&self) -> Option<Limits> {
        self.partition.map(|write_units| Limits {
            write_units,
            split_seconds: self.split.unwrap_or(SPLIT_SECONDS),
            burst_seconds: self.burst.unwrap_or(BURST_SECONDS),
        })
    }

    pub(super) fn take(&mut self, word: &str, value: &str) -> Result<(), &'static str> {
        match word {
            "unprocessed" => self.unprocessed = share(value)?,
            "throttle" => self.throttle = share(value)?,
            "error" => self.error = share(value)?,
            "drop" => self.drop = share(value)?,
            "latency" => self.latency = latency(value)?,
            "wcu" => self.wcu = Some(positive(value).ok_or(UNITS)?),
            "partition" => self.partition = Some(positive(value).ok_or(UNITS)?),
            "split" => self.split = Some(seconds(value)?),
            "burst" => self.burst = Some(seconds(value)?),
            "s3drop" => self.s3_drop = Some(positive(value).ok_or(BYTES)?),
            "seed" => self.seed = Some(value.parse().map_err(|_| SEED)?),
            _ => return Err(WORDS),
        }
        Ok(())
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut spec = Self::default();
        let mut said = Vec::new();
        for part in text.split(',').map(str::trim) {
            let failed = |allowed| SpecError {
                part: part.to_owned(),
                allowed,
            };
            let (word, value) = part.split_once('=').ok_or_else(|| failed(WORDS))?;
            if said.contains(&word) {
                return Err(failed(ONCE));
            }
            said.push(word);
            spec.take(word, value).map_err(failed)?;
        }
        let of_partitions = said.iter().find(|word| matches!(**word, "split" | "burst"));
        if let (Some(word), None) = (of_partitions, spec.partition) {
            return Err(SpecError {
                part: (*word).to_owned(),
                allowed: PARTITION,
            });
        }
        Ok(spec)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = [
            ("unprocessed", self.unprocessed),
            ("throttle", self.throttle),
            ("error", self.error),
            ("drop", self.drop),
        ];
        let shares = shares.into_iter().filter(|(_, share)| *share > 0.0);
        let mut parts: Vec<_> = shares
            .map(|(word, share)| format!("{word}={share}"))
            .collect();
        match self.latency {
            (_, 0) => {}
            (least, most) if least == most => parts.push(format!("latency={most}")),
            (least, most) => parts.push(format!("latency={least}..{most}")),
        }
        let numbers = [
            ("wcu", self.wcu.map(u64::from)),
            ("partition", self.partition.map(u64::from)),
            ("split", self.split.map(u64::from)),
            ("burst", self.burst.map(u64::from)),
            ("s3drop", self.s3_drop),
            ("seed", self.seed),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(word, n)| n.zip(Some(word)));
        parts.extend(numbers.map(|(number, word)| format!("{word}={number}")));
        f.write_str(&parts.join(","))
    }
}

pub(super) fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or(SHARE)
}

pub(super) fn latency(text: &str) -> Result<(u64, u64), &'static str> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (least.parse(), most.parse()) {
        (Ok(least), Ok(most)) if least <= most && most <= MAX_LATENCY => Ok((least, most)),
        _ => Err(LATENCY),
    }
}

fn seconds(text: &str) -> Result<u32, &'static str> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok();
    seconds
        .filter(|seconds| *seconds <= MAX_SECONDS)
        .ok_or(SECONDS)
}

pub(super) fn positive<N: FromStr + PartialOrd + From<u8>>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number| *number >= N::from(1))
}
