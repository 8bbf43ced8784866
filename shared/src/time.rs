//! Timestamps. They are stored and sent in one form: RFC 3339, UTC, three decimals.
//!
//! Because the width is fixed, the texts sort in the order of the times, so stored times can be
//! compared as text.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is added to the system's time, in milliseconds. Only tests change it.
static OFFSET: AtomicI64 = AtomicI64::new(0);

/// Moves the clock of this process forward, for tests of what expires. Durations are measured by other clocks, and the
/// signatures of requests to AWS have the system's time.
#[doc(hidden)]
pub fn move_clock(by: Duration) {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    OFFSET.fetch_add(by, Ordering::Relaxed);
}

/// A time, in whole milliseconds since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the current time, truncated to milliseconds.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now()).plus_millis(OFFSET.load(Ordering::Relaxed))
    }

    /// Returns the time of a number of milliseconds since 1970.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since 1970, the unit of DynamoDB's time to live.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the time `millis` later.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Returns the milliseconds since `earlier`; negative if `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.parse::<jiff::Timestamp>()?.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_decimals_and_are_utc() {
        let moment = Timestamp::from_millis(1_763_921_160_000);
        assert_eq!(moment.to_string(), "2025-11-23T18:06:00.000Z");
        assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
    }

    #[test]
    fn other_offsets_and_precisions_are_read() {
        let moment: Timestamp = "2025-11-23T19:06:00.1234567+01:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2025-11-23T18:06:00.123Z");
    }
}
