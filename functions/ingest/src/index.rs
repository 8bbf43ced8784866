//! The index of fingerprints: what a run knows of existing members without holding them in memory.
//! It is filled from pages of the accounts. No I/O.
//!
//! An account's pages arrive in the order of its keys, so up to the last key of its last page the
//! index also knows which members are *absent*. The run's own writes update it. It does not see the
//! writes of others; therefore a row that differs from its fingerprint is read, and every write is
//! conditional.
//!
//! A dry run writes nothing, so its index has its predictions instead: they are marked, because the table does not have
//! what they say.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use mpulse_shared::member::{AccountId, ClientMemberId, MemberId, Profile};

use crate::account_keys::AccountKeys;

/// The maximum number of fingerprints: seven eighths of 2^24, which is what a hash map of that size
/// holds before it doubles. With 17 bytes per slot this is 285 MB at most (half as much again while
/// it grows); the function has 1,024 MB.
pub const MAX_FINGERPRINTS: usize = (1 << 24) / 8 * 7;

/// The maximum number of accounts that are read by page; members of further accounts are read by
/// key.
const MAX_ACCOUNTS: usize = 10_000;

/// The cost limit of an account's first page, in read units. Fewer rows than this read no page.
pub const FIRST_PAGE: u32 = 32;

/// The cost limit of a page, in read units: the megabyte that one Query reads at most.
const LARGEST_PAGE: u32 = 256;

/// Members per read unit of a Query (4 KiB; a member is about 256 bytes).
const MEMBERS_A_UNIT: u32 = 16;

/// What the index knows of a row's member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It does not exist.
    Absent,
    /// It exists and equals the row.
    Unchanged,
    /// It exists and differs from the row.
    Differs,
    /// It differs from the row, and only this dry run knows it.
    Predicted,
    /// Unknown.
    Unknown,
}

/// How to look up the unknown members of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read this many by key before a page is worthwhile.
    Keys(usize),
    /// Read the account's next page, of at most this many members.
    Page(u32),
}

/// The index of one run.
#[derive(Debug)]
pub struct Index {
    /// The hash of a member's key, and the hash of all fields of a row.
    fingerprints: HashMap<u64, u64, BuildIdentity>,
    accounts: HashMap<AccountId, Account>,
    hasher: RandomState,
    most: usize,
    first_page: u32,
    /// Whether there are predictions.
    predicts: bool,
    /// The ids of the account that a `replace` is about, as far as its pages were read.
    keys: Option<AccountKeys>,
}

/// Marks the hash of a row that is a prediction.
const PREDICTED: u64 = 1;

/// The index of one account.
#[derive(Debug)]
struct Account {
    covered: Covered,
    /// The cost limit of the next page, in read units.
    price: u32,
    /// Read units spent on keys since the last page.
    spent: u32,
    /// Whether its pages had no member.
    is_empty: bool,
}

/// The part of an account that the index knows.
#[derive(Debug, PartialEq, Eq)]
enum Covered {
    Nothing,
    UpTo(ClientMemberId),
    All,
    /// Members were written for which the index had no room: its entries are valid, but no member
    /// is known to be absent.
    Some,
}

impl Index {
    /// Creates an empty index for at most `most` fingerprints. An account's first page may cost
    /// `first_page` read units.
    pub fn new(most: usize, first_page: u32) -> Self {
        Self {
            fingerprints: HashMap::default(),
            accounts: HashMap::new(),
            hasher: RandomState::new(),
            most,
            first_page,
            predicts: false,
            keys: None,
        }
    }

    /// Keeps the ids of all members on the pages that will be read. They must be of one account.
    pub fn keep_keys(&mut self, keys: AccountKeys) {
        self.keys = Some(keys);
    }

    /// Takes the ids of the account, and whether they are all of them; `None` if there was no room.
    pub fn take_keys(&mut self, id: &AccountId) -> Option<(AccountKeys, bool)> {
        let account = self.accounts.get(id);
        let is_whole = account.is_some_and(|account| account.covered == Covered::All);
        self.keys.take().map(|keys| (keys, is_whole))
    }

    /// Returns whether an account is known to have had no member.
    pub fn was_empty(&self, id: &AccountId) -> bool {
        let account = self.accounts.get(id);
        account.is_some_and(|account| account.is_empty && account.covered != Covered::Nothing)
    }

    /// Returns what the index contains about a row's member.
    pub fn answer(&self, profile: &Profile) -> Answer {
        let id = &profile.id;
        if self.predicts
            && let Some(print) = self.fingerprints.get(&self.key_hash(id))
            && print & PREDICTED != 0
        {
            return if *print == self.value_hash(profile) | PREDICTED {
                Answer::Unchanged
            } else {
                Answer::Predicted
            };
        }
        let Some(account) = self.accounts.get(&id.account_id) else {
            return Answer::Unknown;
        };
        if !account.covers(&id.client_member_id) {
            return Answer::Unknown;
        }
        match self.fingerprints.get(&self.key_hash(id)) {
            Some(print) if *print == self.value_hash(profile) => Answer::Unchanged,
            Some(_) => Answer::Differs,
            None if account.covered == Covered::Some => Answer::Unknown,
            None => Answer::Absent,
        }
    }

    /// Returns how to look up unknown members of an account: by key, until that has cost as much as
    /// the account's next page may.
    pub fn next(&mut self, id: &AccountId) -> Next {
        if !self.accounts.contains_key(id) {
            if self.accounts.len() >= MAX_ACCOUNTS {
                return Next::Keys(usize::MAX);
            }
            self.accounts
                .insert(id.clone(), Account::new(self.first_page));
        }
        let account = &self.accounts[id];
        let limit = account.price * MEMBERS_A_UNIT;
        let has_room = self.fingerprints.len() + limit as usize <= self.most;
        match account.covered {
            Covered::All | Covered::Some => Next::Keys(usize::MAX),
            _ if !has_room => Next::Keys(usize::MAX),
            _ if account.spent < account.price => {
                Next::Keys((account.price - account.spent) as usize)
            }
            _ => Next::Page(limit),
        }
    }

    /// Returns the member after which an account's next page begins.
    pub fn page_after(&self, id: &AccountId) -> Option<&ClientMemberId> {
        match &self.accounts.get(id)?.covered {
            Covered::UpTo(last) => Some(last),
            _ => None,
        }
    }

    /// Records that members of an account were read by key, at one read unit each.
    pub fn read_by_key(&mut self, id: &AccountId, members: usize) {
        if let Some(account) = self.accounts.get_mut(id) {
            let units = u32::try_from(members).unwrap_or(u32::MAX);
            account.spent = account.spent.saturating_add(units);
        }
    }

    /// Adds a page of an account: its members, and the last key if there are more.
    pub fn add_page(&mut self, id: &AccountId, members: &[Profile], last: Option<ClientMemberId>) {
        for profile in members {
            let (key, value) = (self.key_hash(&profile.id), self.value_hash(profile));
            match self.fingerprints.get(&key) {
                // What a dry run predicts is newer.
                Some(print) if self.predicts && print & PREDICTED != 0 => {}
                _ => {
                    self.fingerprints.insert(key, value);
                }
            }
        }
        if self.keys.as_mut().is_some_and(|keys| !keys.add(members)) {
            self.keys = None;
        }
        if let Some(account) = self.accounts.get_mut(id) {
            account.covered = last.map_or(Covered::All, Covered::UpTo);
            account.price = (account.price * 2).min(LARGEST_PAGE);
            account.spent = 0;
            account.is_empty &= members.is_empty();
        }
    }

    /// Records that the table contains this member now.
    pub fn note(&mut self, profile: &Profile) {
        let Some(account) = self.accounts.get(&profile.id.account_id) else {
            return;
        };
        if !account.covers(&profile.id.client_member_id) {
            return;
        }
        let is_known = self.fingerprints.contains_key(&self.key_hash(&profile.id));
        if is_known || self.fingerprints.len() < self.most {
            self.insert(profile);
        } else if let Some(account) = self.accounts.get_mut(&profile.id.account_id) {
            account.covered = Covered::Some;
        }
    }

    /// Records that a dry run would leave this member. Returns `false` if there is no room.
    pub fn predict(&mut self, profile: &Profile) -> bool {
        self.predicts = true;
        let (key, value) = (self.key_hash(&profile.id), self.value_hash(profile));
        if self.fingerprints.len() >= self.most && !self.fingerprints.contains_key(&key) {
            return false;
        }
        self.fingerprints.insert(key, value | PREDICTED);
        true
    }

    fn insert(&mut self, profile: &Profile) {
        let (key, value) = (self.key_hash(&profile.id), self.value_hash(profile));
        self.fingerprints.insert(key, value);
    }

    fn key_hash(&self, id: &MemberId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// The key is hashed too: two members with equal key hashes differ in this hash.
    fn value_hash(&self, profile: &Profile) -> u64 {
        let hash = self.hasher.hash_one((
            &profile.id,
            &profile.first_name,
            &profile.last_name,
            profile.phone_number.as_str(),
        ));
        hash & !PREDICTED
    }
}

impl Account {
    fn new(first_page: u32) -> Self {
        Self {
            covered: Covered::Nothing,
            price: first_page,
            spent: 0,
            is_empty: true,
        }
    }

    fn covers(&self, id: &ClientMemberId) -> bool {
        match &self.covered {
            Covered::Nothing => false,
            Covered::UpTo(last) => id <= last,
            Covered::All | Covered::Some => true,
        }
    }
}

/// A hasher for keys that are hashes.
#[derive(Debug, Default)]
struct Identity(u64);

type BuildIdentity = std::hash::BuildHasherDefault<Identity>;

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpulse_shared::phone::Phone;

    fn profile(id: &str, name: &str) -> Profile {
        Profile {
            id: id.parse().unwrap(),
            first_name: name.into(),
            last_name: "Lee".into(),
            phone_number: Phone::from_stored("+17145550123".into()),
        }
    }

    fn account() -> AccountId {
        AccountId::parse("4").unwrap()
    }

    fn client(id: &str) -> ClientMemberId {
        ClientMemberId::parse(id).unwrap()
    }

    /// Reads by key until a page is worthwhile.
    fn until_page(index: &mut Index) -> (usize, u32) {
        let mut read = 0;
        loop {
            match index.next(&account()) {
                Next::Keys(count) => {
                    assert!(count < 1000, "a page is never worthwhile");
                    read += count;
                    index.read_by_key(&account(), count);
                }
                Next::Page(limit) => return (read, limit),
            }
        }
    }

    #[test]
    fn few_rows_read_no_page_and_pages_grow() {
        let mut index = Index::new(100_000, FIRST_PAGE);
        assert_eq!(until_page(&mut index), (32, 512));
        index.add_page(&account(), &[], Some(client("5")));
        assert_eq!(until_page(&mut index), (64, 1024));
        for _ in 0..4 {
            index.add_page(&account(), &[], Some(client("5")));
        }
        assert_eq!(until_page(&mut index), (256, 4096));
    }

    #[test]
    fn keys_up_to_the_last_key_are_known() {
        let mut index = Index::new(100_000, FIRST_PAGE);
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Unknown);
        until_page(&mut index);
        index.add_page(
            &account(),
            &[profile("4~1", "a"), profile("4~3", "a")],
            Some(client("3")),
        );
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Unchanged);
        assert_eq!(index.answer(&profile("4~1", "b")), Answer::Differs);
        assert_eq!(index.answer(&profile("4~2", "a")), Answer::Absent);
        assert_eq!(index.answer(&profile("4~4", "a")), Answer::Unknown);
        assert_eq!(index.answer(&profile("5~1", "a")), Answer::Unknown);
        assert_eq!(index.page_after(&account()), Some(&client("3")));
        index.note(&profile("4~2", "n"));
        assert_eq!(index.answer(&profile("4~2", "n")), Answer::Unchanged);
        index.note(&profile("4~4", "n"));
        assert_eq!(index.answer(&profile("4~4", "n")), Answer::Unknown);
    }

    #[test]
    fn an_empty_account_is_known_after_its_first_page() {
        let mut index = Index::new(100_000, FIRST_PAGE);
        until_page(&mut index);
        index.add_page(&account(), &[], None);
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Absent);
        assert_eq!(index.next(&account()), Next::Keys(usize::MAX));
    }

    #[test]
    fn predictions_are_marked_and_win_over_pages() {
        let mut index = Index::new(3, FIRST_PAGE);
        assert!(index.predict(&profile("4~1", "b")));
        assert_eq!(index.answer(&profile("4~1", "b")), Answer::Unchanged);
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Predicted);
        let mut index = Index::new(100_000, FIRST_PAGE);
        until_page(&mut index);
        assert!(!index.was_empty(&account()));
        assert!(index.predict(&profile("4~1", "b")));
        index.add_page(
            &account(),
            &[profile("4~1", "a"), profile("4~2", "a")],
            None,
        );
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Predicted);
        assert_eq!(index.answer(&profile("4~2", "a")), Answer::Unchanged);
        assert!(!index.was_empty(&account()));
        let mut index = Index::new(1, FIRST_PAGE);
        assert!(index.predict(&profile("4~1", "b")));
        assert!(!index.predict(&profile("4~2", "b")));
        assert!(index.predict(&profile("4~1", "c")));
    }

    #[test]
    fn a_full_index_reads_no_page_and_knows_no_absent_member() {
        let mut index = Index::new(512, FIRST_PAGE);
        until_page(&mut index);
        index.add_page(&account(), &[], None);
        for member in 0..=512 {
            index.note(&profile(&format!("4~{member}"), "a"));
        }
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Unchanged);
        assert_eq!(index.answer(&profile("4~512", "a")), Answer::Unknown);
        index.note(&profile("4~1", "b"));
        assert_eq!(index.answer(&profile("4~1", "b")), Answer::Unchanged);
        let other = AccountId::parse("5").unwrap();
        assert_eq!(index.next(&other), Next::Keys(usize::MAX));
    }
}
