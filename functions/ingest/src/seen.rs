//! The keys of the rows that a run has read, to warn of keys that the file repeats.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use mpulse_shared::member::MemberId;

/// The maximum number of keys: seven eighths of 2^21, which is what a table of that size holds before it doubles. With 9
/// bytes per slot this is 19 MB. Repetitions of further keys are not noticed.
const MAX_KEYS: usize = (1 << 21) / 8 * 7;

/// The hashes of keys.
#[derive(Debug, Default)]
pub struct SeenKeys {
    hashes: HashTable<u64>,
    hasher: DefaultHashBuilder,
}

impl SeenKeys {
    /// Adds a key. Returns whether it was there.
    pub fn is_repeated(&mut self, id: &MemberId) -> bool {
        let hash = self.hasher.hash_one(id);
        if self.hashes.len() >= MAX_KEYS {
            return self.hashes.find(hash, |&known| known == hash).is_some();
        }
        match self
            .hashes
            .entry(hash, |&known| known == hash, |&known| known)
        {
            hashbrown::hash_table::Entry::Occupied(_) => true,
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(hash);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_repeated_the_second_time() {
        let mut seen = SeenKeys::default();
        assert!(!seen.is_repeated(&"4~1".parse().unwrap()));
        assert!(!seen.is_repeated(&"4~2".parse().unwrap()));
        assert!(seen.is_repeated(&"4~1".parse().unwrap()));
    }
}
