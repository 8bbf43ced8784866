//! Limits how often the keys table is read for wrong secrets.
//!
//! A secret has 256 random bits, so nobody guesses one; what wrong secrets cost is a read of the table each. After a burst of
//! them for one key id, the table is read for that id once a second. In between, a secret is compared with the hash that was read
//! last: the right one is always accepted for the check against the table, so an attack does not lock out the key's
//! holder, and a wrong one is rejected without a read. Ids of no key are treated alike, so that the response does not reveal
//! which ids exist.
//!
//! The counts are in the memory of one execution environment, bounded, and lost with it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::is_hash_of;
use crate::key::{KeyId, Secret};

/// Wrong secrets of one key id that are checked against the table without a pause.
pub const BURST: f64 = 20.0;

/// The time after the burst between two reads for wrong secrets of one key id, in seconds.
pub const PAUSE_SECONDS: f64 = 1.0;

/// The most key ids that are remembered; about 250 bytes each.
const MAX_IDS: usize = 1000;

/// The wrong secrets of the latest seconds, by key id.
#[derive(Clone, Default)]
pub(super) struct Attempts(Arc<Mutex<HashMap<KeyId, Attempt>>>);

/// What is known of a key id for which a wrong secret was sent.
struct Attempt {
    /// The hash that was read last; empty if there is no such key.
    secret_hash: String,
    /// Reads that are left at the time `at`.
    left: f64,
    at: Instant,
}

impl Attempt {
    /// Returns the reads that are left at a time.
    fn left(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + passed / PAUSE_SECONDS).min(BURST)
    }
}

impl Attempts {
    /// Returns whether a secret may be checked against the table.
    pub(super) fn may_check(&self, id: &KeyId, secret: &Secret, now: Instant) -> bool {
        self.lock().get(id).is_none_or(|attempt| {
            attempt.left(now) >= 1.0 || is_hash_of(&attempt.secret_hash, secret)
        })
    }

    /// Counts a wrong secret. `secret_hash` is the hash in the table; empty if there is no such key.
    pub(super) fn count(&self, id: &KeyId, secret_hash: &str, now: Instant) {
        let mut attempts = self.lock();
        let left = match attempts.get(id) {
            Some(attempt) => attempt.left(now),
            None => BURST,
        };
        if attempts.len() >= MAX_IDS && !attempts.contains_key(id) {
            attempts.retain(|_, attempt| attempt.left(now) < BURST);
            // As many ids in so short a time are an attack that a limit for each id does not slow down.
            if attempts.len() >= MAX_IDS {
                attempts.clear();
            }
        }
        let attempt = Attempt {
            secret_hash: secret_hash.to_owned(),
            left: (left - 1.0).max(0.0),
            at: now,
        };
        attempts.insert(id.clone(), attempt);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes are not printed.
impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attempts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from_text(text.to_owned())
    }

    fn id(text: &str) -> KeyId {
        text.parse().unwrap()
    }

    /// Counts the wrong secrets that are checked against the table, of as many as are sent.
    fn checked(attempts: &Attempts, key: &str, stored: &str, sent: usize, now: Instant) -> usize {
        (0..sent)
            .filter(|_| {
                let may = attempts.may_check(&id(key), &secret("wrong"), now);
                if may {
                    attempts.count(&id(key), stored, now);
                }
                may
            })
            .count()
    }

    #[test]
    fn the_right_secret_is_accepted_while_wrong_ones_are_limited() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let hash = secret("right").hash();
        assert_eq!(checked(&attempts, "ops", &hash, 100, start), 20);
        assert!(attempts.may_check(&id("ops"), &secret("right"), start));
        assert!(attempts.may_check(&id("other"), &secret("wrong"), start));
        // One read a second, and the whole burst after a pause.
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(checked(&attempts, "ops", &hash, 100, after(1)), 1);
        assert_eq!(checked(&attempts, "ops", &hash, 100, after(3)), 2);
        assert_eq!(checked(&attempts, "ops", &hash, 100, after(100)), 20);
    }

    #[test]
    fn an_unknown_id_is_limited_like_a_known_one_until_there_is_a_key() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        assert_eq!(checked(&attempts, "new", "", 100, start), 20);
        assert!(!attempts.may_check(&id("new"), &secret(""), start));
        assert!(!attempts.may_check(&id("new"), &secret("right"), start));
        let next = start + Duration::from_secs(1);
        assert_eq!(
            checked(&attempts, "new", &secret("right").hash(), 1, next),
            1
        );
        assert!(attempts.may_check(&id("new"), &secret("right"), next));
    }

    #[test]
    fn many_ids_do_not_fill_the_memory() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        for number in 0..50_000 {
            attempts.count(&id(&format!("k{number}")), "", start);
            assert!(attempts.lock().len() <= MAX_IDS);
        }
        // Ids without a recent wrong secret are forgotten first.
        let later = start + Duration::from_hours(1);
        checked(&attempts, "ops", "", 100, later);
        for number in 0..MAX_IDS - 1 {
            attempts.count(&id(&format!("m{number}")), "", later);
        }
        assert!(!attempts.may_check(&id("ops"), &secret("wrong"), later));
    }
}
