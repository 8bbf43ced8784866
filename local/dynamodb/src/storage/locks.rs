//! Locks on items, so that a read, its condition and its write are one step.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::blocking::blocking;

/// The locked items, by a hash of table and key. Two items with the same hash wait for each other,
/// which is rare and harmless.
#[derive(Debug, Default)]
pub(crate) struct KeyLocks {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: HashSet<u64>,
    /// The number of requests that wait.
    waiting: usize,
}

/// Locked items. Dropping this unlocks them.
#[derive(Debug)]
pub(crate) struct HeldKeys<'a> {
    locks: &'a KeyLocks,
    hashes: Vec<u64>,
}

impl KeyLocks {
    /// Waits until all of the items are unlocked, then locks them in one step: a request never waits
    /// while it has locked others, so there are no deadlocks.
    pub(crate) fn hold<'k>(&self, items: impl Iterator<Item = (u64, &'k [u8])>) -> HeldKeys<'_> {
        let mut hashes: Vec<u64> = items
            .map(|item| {
                let mut hasher = DefaultHasher::new();
                item.hash(&mut hasher);
                hasher.finish()
            })
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        if !self.try_lock(&hashes) {
            blocking(|| self.lock_later(&hashes));
        }
        HeldKeys {
            locks: self,
            hashes,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self, hashes: &[u64]) -> bool {
        let mut state = self.state();
        let is_free = state.is_free(hashes);
        if is_free {
            state.held.extend(hashes);
        }
        is_free
    }

    fn lock_later(&self, hashes: &[u64]) {
        let mut state = self.state();
        state.waiting += 1;
        let mut state = self
            .freed
            .wait_while(state, |state| !state.is_free(hashes))
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.held.extend(hashes);
    }
}

impl State {
    fn is_free(&self, hashes: &[u64]) -> bool {
        !hashes.iter().any(|hash| self.held.contains(hash))
    }
}

impl Drop for HeldKeys<'_> {
    fn drop(&mut self) {
        let mut state = self.locks.state();
        for hash in &self.hashes {
            state.held.remove(hash);
        }
        let has_waiting = state.waiting > 0;
        drop(state);
        if has_waiting {
            self.locks.freed.notify_all();
        }
    }
}
