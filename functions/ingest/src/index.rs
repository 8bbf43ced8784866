//! What a run knows of the members that exist without holding them: a fingerprint each,
//! from pages of the accounts that it has bought. No I/O.
//!
//! An account's pages come in the order of its keys, so that up to the last key of its
//! last page the index also knows who is *not* there. It is kept true by the run's own
//! writes; what others write meanwhile it does not see, which is why a row that differs
//! from its fingerprint is read, and every write is conditional.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use mpulse_shared::member::{AccountId, ClientMemberId, MemberId, Profile};

/// The most fingerprints held: seven eighths of 2^24, what a hash map of that size holds
/// before it doubles. 17 bytes a slot, so 285 MB at most (and half of that again for the
/// moment in which it grows); the function has 1,024 MB.
pub const MOST_FINGERPRINTS: usize = (1 << 24) / 8 * 7;

/// The most accounts that pages are bought of; members of further ones are read by key.
const MOST_ACCOUNTS: usize = 10_000;

/// What the first page of an account may cost, in read units. Fewer rows than this buy none.
pub const FIRST_PAGE: u32 = 32;

/// What a page may cost, in read units: the megabyte that one Query reads at most.
const LARGEST_PAGE: u32 = 256;

/// Members to a read unit of a Query (4 KiB, a member being about 256 bytes).
const MEMBERS_A_UNIT: u32 = 16;

/// What the index says of a row's member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// There is none.
    Absent,
    /// There is one, and the row says the same.
    Equal,
    /// There is one, and the row says something else.
    Differs,
    /// The index doesn't know.
    Unknown,
}

/// How the next of an account's unknown members are to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Reading this many by key, before a page pays.
    Keys(usize),
    /// Buying the account's next page, of at most this many members.
    Page(u32),
}

/// The index of one run.
#[derive(Debug)]
pub struct Index {
    /// The hash of a member's key, and the hash of all that a row says of it.
    fingerprints: HashMap<u64, u64, BuildIdentity>,
    accounts: HashMap<AccountId, Account>,
    hasher: RandomState,
    most: usize,
    first_page: u32,
}

/// What is known of one account.
#[derive(Debug)]
struct Account {
    covered: Covered,
    /// What the next page may cost, in read units.
    price: u32,
    /// Read units spent on keys since the last page.
    spent: u32,
}

/// The part of an account that the index knows.
#[derive(Debug, PartialEq, Eq)]
enum Covered {
    Nothing,
    UpTo(ClientMemberId),
    All,
    /// Members were written that the index had no room for: those it has are known, and
    /// nobody is known to be absent.
    Some,
}

impl Index {
    /// An index that knows nothing and will hold at most `most` fingerprints. An account's
    /// first page may cost `first_page` read units.
    pub fn new(most: usize, first_page: u32) -> Self {
        Self {
            fingerprints: HashMap::default(),
            accounts: HashMap::new(),
            hasher: RandomState::new(),
            most,
            first_page,
        }
    }

    /// What is known of a row's member.
    pub fn answer(&self, profile: &Profile) -> Answer {
        let id = &profile.id;
        let Some(account) = self.accounts.get(&id.account_id) else {
            return Answer::Unknown;
        };
        if !account.covers(&id.client_member_id) {
            return Answer::Unknown;
        }
        match self.fingerprints.get(&self.key_hash(id)) {
            Some(print) if *print == self.value_hash(profile) => Answer::Equal,
            Some(_) => Answer::Differs,
            None if account.covered == Covered::Some => Answer::Unknown,
            None => Answer::Absent,
        }
    }

    /// How to find out about members of an account that are unknown: by key, until that has
    /// cost as much as the account's next page may.
    pub fn next(&mut self, id: &AccountId) -> Next {
        if !self.accounts.contains_key(id) {
            if self.accounts.len() >= MOST_ACCOUNTS {
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

    /// Where an account's next page begins: after this member.
    pub fn page_after(&self, id: &AccountId) -> Option<&ClientMemberId> {
        match &self.accounts.get(id)?.covered {
            Covered::UpTo(last) => Some(last),
            _ => None,
        }
    }

    /// Says that members of an account were read by key, at one read unit each.
    pub fn read_by_key(&mut self, id: &AccountId, members: usize) {
        if let Some(account) = self.accounts.get_mut(id) {
            let units = u32::try_from(members).unwrap_or(u32::MAX);
            account.spent = account.spent.saturating_add(units);
        }
    }

    /// Takes in a page of an account: its members, and the last key if there are more.
    pub fn add_page(&mut self, id: &AccountId, members: &[Profile], last: Option<ClientMemberId>) {
        for profile in members {
            self.insert(profile);
        }
        if let Some(account) = self.accounts.get_mut(id) {
            account.covered = last.map_or(Covered::All, Covered::UpTo);
            account.price = (account.price * 2).min(LARGEST_PAGE);
            account.spent = 0;
        }
    }

    /// Says that the table holds this member now.
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

    fn insert(&mut self, profile: &Profile) {
        let (key, value) = (self.key_hash(&profile.id), self.value_hash(profile));
        self.fingerprints.insert(key, value);
    }

    fn key_hash(&self, id: &MemberId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// Covers the key too: two members whose key hashes collide differ in this one.
    fn value_hash(&self, profile: &Profile) -> u64 {
        self.hasher.hash_one((
            &profile.id,
            &profile.first_name,
            &profile.last_name,
            profile.phone_number.as_str(),
        ))
    }
}

impl Account {
    fn new(first_page: u32) -> Self {
        Self {
            covered: Covered::Nothing,
            price: first_page,
            spent: 0,
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

    /// Reads by key until a page is due.
    fn until_page(index: &mut Index) -> (usize, u32) {
        let mut read = 0;
        loop {
            match index.next(&account()) {
                Next::Keys(count) => {
                    assert!(count < 1000, "no page is ever due");
                    read += count;
                    index.read_by_key(&account(), count);
                }
                Next::Page(limit) => return (read, limit),
            }
        }
    }

    #[test]
    fn few_rows_buy_no_page_and_pages_grow() {
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
    fn keys_up_to_the_last_are_known() {
        let mut index = Index::new(100_000, FIRST_PAGE);
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Unknown);
        until_page(&mut index);
        index.add_page(
            &account(),
            &[profile("4~1", "a"), profile("4~3", "a")],
            Some(client("3")),
        );
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Equal);
        assert_eq!(index.answer(&profile("4~1", "b")), Answer::Differs);
        assert_eq!(index.answer(&profile("4~2", "a")), Answer::Absent);
        assert_eq!(index.answer(&profile("4~4", "a")), Answer::Unknown);
        assert_eq!(index.answer(&profile("5~1", "a")), Answer::Unknown);
        assert_eq!(index.page_after(&account()), Some(&client("3")));
        index.note(&profile("4~2", "n"));
        assert_eq!(index.answer(&profile("4~2", "n")), Answer::Equal);
        index.note(&profile("4~4", "n"));
        assert_eq!(index.answer(&profile("4~4", "n")), Answer::Unknown);
    }

    #[test]
    fn an_empty_account_ends_with_its_first_page() {
        let mut index = Index::new(100_000, FIRST_PAGE);
        until_page(&mut index);
        index.add_page(&account(), &[], None);
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Absent);
        assert_eq!(index.next(&account()), Next::Keys(usize::MAX));
    }

    #[test]
    fn a_full_index_buys_nothing_and_vouches_for_no_absence() {
        let mut index = Index::new(512, FIRST_PAGE);
        until_page(&mut index);
        index.add_page(&account(), &[], None);
        for member in 0..=512 {
            index.note(&profile(&format!("4~{member}"), "a"));
        }
        assert_eq!(index.answer(&profile("4~1", "a")), Answer::Equal);
        assert_eq!(index.answer(&profile("4~512", "a")), Answer::Unknown);
        index.note(&profile("4~1", "b"));
        assert_eq!(index.answer(&profile("4~1", "b")), Answer::Equal);
        let other = AccountId::parse("5").unwrap();
        assert_eq!(index.next(&other), Next::Keys(usize::MAX));
    }
}
