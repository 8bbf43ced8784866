//! The client member ids of a file, as hashes: a `replace` removes the members that are not among them. If two ids have the
//! same hash, a member stays that should have been removed; with ten million ids, the probability is one in a million for
//! each million of absent members.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use mpulse_shared::member::ClientMemberId;

/// The maximum number of keys: seven eighths of 2^24, which is what a table of that size holds before it doubles. With 9
/// bytes per slot this is 151 MB. A file with more keys is handled in several passes.
pub const MAX_KEYS: usize = (1 << 24) / 8 * 7;

/// The part of the keys that one pass handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Its number, from 0.
    pub number: u32,
    /// The number of passes.
    pub of: u32,
}

impl Pass {
    /// The only pass.
    pub const ONLY: Self = Self { number: 0, of: 1 };

    /// Returns whether this pass handles a key. All runs of a batch agree.
    pub fn has(self, id: &ClientMemberId) -> bool {
        if self.of <= 1 {
            return true;
        }
        // Without a key of its own, so that it is the same in every run.
        let mut hasher = DefaultHasher::new();
        id.as_str().hash(&mut hasher);
        hasher.finish() % u64::from(self.of) == u64::from(self.number)
    }
}

/// The keys of one pass.
#[derive(Debug)]
pub struct FileKeys {
    pass: Pass,
    hashes: HashTable<u64>,
    hasher: DefaultHashBuilder,
    most: usize,
    /// Whether every key is there.
    is_whole: bool,
}

impl FileKeys {
    /// Creates an empty set of at most `most` keys.
    pub fn new(pass: Pass, most: usize) -> Self {
        Self {
            pass,
            hashes: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            most,
            is_whole: true,
        }
    }

    /// Adds the key of a row.
    pub fn add(&mut self, id: &ClientMemberId) {
        if !self.pass.has(id) {
            return;
        }
        let hash = self.hasher.hash_one(id);
        if self.hashes.len() >= self.most {
            self.is_whole &= self.hashes.find(hash, |&known| known == hash).is_some();
            return;
        }
        let entry = self
            .hashes
            .entry(hash, |&known| known == hash, |&known| known);
        if let Entry::Vacant(place) = entry {
            place.insert(hash);
        }
    }

    /// Returns whether a member of the account is absent from the file, as far as this pass handles it.
    pub fn lacks(&self, id: &ClientMemberId) -> bool {
        if !self.pass.has(id) {
            return false;
        }
        let hash = self.hasher.hash_one(id);
        self.hashes.find(hash, |&known| known == hash).is_none()
    }

    /// Returns the number of different keys.
    pub fn len(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Returns whether the set has every key of its pass.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ClientMemberId {
        ClientMemberId::parse(&number.to_string()).unwrap()
    }

    #[test]
    fn each_key_is_handled_by_one_pass() {
        let mut passes: Vec<FileKeys> = (0..3)
            .map(|number| FileKeys::new(Pass { number, of: 3 }, 1000))
            .collect();
        for keys in &mut passes {
            (0..100).for_each(|number| keys.add(&id(number)));
            (50..60).for_each(|number| keys.add(&id(number)));
        }
        let all: u64 = passes.iter().map(FileKeys::len).sum();
        assert_eq!(all, 100);
        for number in 0..200 {
            let lacking = passes.iter().filter(|keys| keys.lacks(&id(number)));
            assert_eq!(lacking.count(), usize::from(number >= 100));
        }
    }

    #[test]
    fn a_set_that_is_full_is_not_whole() {
        let mut keys = FileKeys::new(Pass::ONLY, 2);
        keys.add(&id(1));
        keys.add(&id(2));
        keys.add(&id(1));
        assert!(keys.is_whole());
        assert_eq!(keys.len(), 2);
        keys.add(&id(3));
        assert!(!keys.is_whole());
    }
}
