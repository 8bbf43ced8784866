//! Lifecycle rules: deletes objects, and multipart uploads that were not completed, after the days that the template's
//! rules say.
//!
//! As on S3, the days are added to the time of creation, and the result is rounded up to midnight (UTC):
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>. S3 may delete later than that.

use std::io;
use std::time::SystemTime;

use mpulse_shared::time::Timestamp;

use super::files::Files;
use crate::template::{Bucket, LifecycleRule};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// What was deleted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deleted {
    /// The number of objects.
    pub(super) objects: usize,
    /// The number of multipart uploads.
    pub(super) uploads: usize,
}

/// Applies the rules of all buckets.
pub(super) fn apply(files: &Files, buckets: &[Bucket], now: Timestamp) -> io::Result<Deleted> {
    let mut deleted = Deleted::default();
    for bucket in buckets {
        for (key, created) in files.objects(&bucket.name)? {
            let days = bucket.lifecycle.iter().filter_map(|rule| match rule {
                LifecycleRule::Expire { prefix, days } => key.starts_with(prefix).then_some(*days),
                LifecycleRule::AbortUploads { .. } => None,
            });
            if is_due(days.min(), created, now) {
                files.remove(&bucket.name, &key)?;
                deleted.objects += 1;
            }
        }
    }
    // The files of an upload do not always name its bucket, so the longest time of any bucket applies.
    let days = buckets.iter().flat_map(|bucket| &bucket.lifecycle);
    let days = days.filter_map(|rule| match rule {
        LifecycleRule::AbortUploads { days } => Some(*days),
        LifecycleRule::Expire { .. } => None,
    });
    let days = days.max();
    for (upload_id, created) in files.uploads()? {
        if is_due(days, created, now) {
            files.abort_upload(&upload_id)?;
            deleted.uploads += 1;
        }
    }
    Ok(deleted)
}

/// Returns whether the midnight after these days has passed.
fn is_due(days: Option<i64>, created: SystemTime, now: Timestamp) -> bool {
    let Some(days) = days else {
        return false;
    };
    let created = Timestamp::from(created).millis();
    let due = created.saturating_add(days.saturating_mul(DAY_MILLIS));
    now.millis() >= due.div_euclid(DAY_MILLIS).saturating_add(1) * DAY_MILLIS
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn created(text: &str) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(at(text).millis().unsigned_abs())
    }

    #[test]
    fn days_are_rounded_up_to_midnight() {
        let moment = created("2026-03-01T10:30:00.000Z");
        assert!(!is_due(Some(3), moment, at("2026-03-04T23:59:59.999Z")));
        assert!(is_due(Some(3), moment, at("2026-03-05T00:00:00.000Z")));
        assert!(!is_due(None, moment, at("2027-03-05T00:00:00.000Z")));
    }
}
