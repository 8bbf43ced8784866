//! Lifecycle rules: deletes objects, and multipart uploads that were not completed, after the days that the template's
//! rules say.
//!
//! As on S3, the days are added to the time of creation, and the result is rounded up to midnight (UTC):
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>. S3 may delete later than that.

use std::io;
use std::time::SystemTime;

use mpulse_shared::time::Timestamp;
use tokio::sync::RwLock;

use super::files::Files;
use super::multipart::Known;
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

/// One application of the rules.
pub(super) struct Round<'a> {
    pub(super) files: &'a Files,
    /// Held while an object or an upload is deleted.
    pub(super) changing: &'a RwLock<()>,
    pub(super) parts: &'a Known,
    pub(super) now: Timestamp,
}

impl Round<'_> {
    /// Applies the rules of all buckets. It blocks the thread that calls it.
    pub(super) fn apply(&self, buckets: &[Bucket]) -> io::Result<Deleted> {
        let mut deleted = Deleted::default();
        for bucket in buckets {
            for (key, created) in self.files.objects(&bucket.name)? {
                let days = bucket.lifecycle.iter().filter_map(|rule| match rule {
                    LifecycleRule::Expire { prefix, days } => {
                        key.starts_with(prefix).then_some(*days)
                    }
                    LifecycleRule::AbortUploads { .. } => None,
                });
                let days = days.min();
                if is_due(days, created, self.now) && self.delete(&bucket.name, &key, days)? {
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
        for (upload_id, created) in self.files.uploads()? {
            if is_due(days, created, self.now) {
                let _changing = self.changing.blocking_write();
                self.parts.forget(&upload_id);
                self.files.abort_upload(&upload_id)?;
                deleted.uploads += 1;
            }
        }
        Ok(deleted)
    }

    /// Deletes an object, unless it was replaced since it was found. Returns whether it was deleted.
    fn delete(&self, bucket: &str, key: &str, days: Option<i64>) -> io::Result<bool> {
        let _changing = self.changing.blocking_write();
        let created = self.files.time(bucket, key)?;
        let is_due = created.is_some_and(|created| is_due(days, created, self.now));
        if is_due {
            self.files.remove(bucket, key)?;
        }
        Ok(is_due)
    }
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

    #[test]
    fn an_object_that_was_replaced_since_it_was_found_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path()).unwrap();
        files.ensure_bucket("b").unwrap();
        let object = files.object("b", "k");
        let (changing, parts) = (RwLock::new(()), Known::default());
        let now = Timestamp::now().plus_millis(10 * DAY_MILLIS);
        let round = Round {
            files: &files,
            changing: &changing,
            parts: &parts,
            now,
        };
        std::fs::write(&object, "new").unwrap();
        let file = std::fs::File::options().write(true).open(&object).unwrap();
        file.set_modified(now.into()).unwrap();
        assert!(!round.delete("b", "k", Some(7)).unwrap());
        assert!(object.exists());
        file.set_modified(now.plus_millis(-9 * DAY_MILLIS).into())
            .unwrap();
        assert!(round.delete("b", "k", Some(7)).unwrap());
        assert!(!object.exists());
        assert!(!round.delete("b", "k", Some(7)).unwrap(), "it is gone");
    }
}
