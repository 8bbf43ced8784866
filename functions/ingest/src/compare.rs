//! What applying rows one by one would do: which members to write, and how each row
//! counts. No I/O: what exists is handed in.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use mpulse_shared::batch::{Mode, Rows};
use mpulse_shared::member::{Author, Member, MemberId, Profile};
use mpulse_shared::time::Timestamp;

/// How a batch writes.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// The time of every row: when S3 reported the upload complete.
    pub at: Timestamp,
    /// `batch:<id>`.
    pub by: Author,
    /// What is done with members that exist.
    pub mode: Mode,
    at_text: Arc<str>,
}

impl Stamp {
    /// How a batch writes.
    pub fn new(at: Timestamp, by: Author, mode: Mode) -> Self {
        Self {
            at,
            by,
            mode,
            at_text: at.to_string().into(),
        }
    }

    /// The time as it is stored.
    pub fn at_text(&self) -> &str {
        &self.at_text
    }
}

/// What is known of a row's member before the window's first row.
#[derive(Debug, Clone, Copy)]
pub enum Standing<'a> {
    /// There is none.
    Absent,
    /// There is one, and the row would leave it as it is.
    Equal,
    /// This one, in hand or in the table.
    Member(&'a Member),
}

/// A member to write, and what it is written over.
#[derive(Debug, Clone)]
pub struct Change {
    /// The member as it shall be.
    pub member: Member,
    /// The member as it is; `None` where there is none, or where nobody looked.
    pub over: Option<Member>,
}

/// What a window changes: at most one change a key, the last of its rows.
#[derive(Debug, Default)]
pub struct Changes {
    all: Vec<Change>,
    /// Where in `all` a key is. A table of places needs no second copy of the keys.
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

impl Changes {
    /// The changes, in the order in which their keys first appeared.
    pub fn all(&self) -> &[Change] {
        &self.all
    }

    /// The member as this window leaves it, if it changes it.
    pub fn get(&self, id: &MemberId) -> Option<&Member> {
        let is = |&place: &usize| *self.id(place) == *id;
        let place = self.places.find(self.hasher.hash_one(id), is);
        place.map(|&place| &self.all[place].member)
    }

    /// Whether a key is changed by both.
    pub fn meets(&self, other: &Self) -> bool {
        let (small, large) = if self.all.len() < other.all.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut keys = small.all.iter().map(|change| &change.member.profile.id);
        keys.any(|id| large.get(id).is_some())
    }

    fn id(&self, place: usize) -> &MemberId {
        &self.all[place].member.profile.id
    }

    fn set(&mut self, member: Member, over: impl FnOnce() -> Option<Member>) {
        let (all, hasher) = (&mut self.all, &self.hasher);
        let id = &member.profile.id;
        let entry = self.places.entry(
            hasher.hash_one(id),
            |&place| all[place].member.profile.id == *id,
            |&place| hasher.hash_one(&all[place].member.profile.id),
        );
        match entry {
            Entry::Occupied(place) => all[*place.get()].member = member,
            Entry::Vacant(place) => {
                place.insert(all.len());
                all.push(Change {
                    member,
                    over: over(),
                });
            }
        }
    }
}

/// Applies rows in order to what exists, and gives what then differs from it. `standing`
/// tells of the member of the row with that number, as it stands before the first row.
/// Every row adds to one counter.
pub fn apply<'a>(
    profiles: Vec<Profile>,
    standing: impl Fn(usize, &MemberId) -> Standing<'a>,
    stamp: &Stamp,
    rows: &mut Rows,
) -> Changes {
    let mut changes = Changes::default();
    for (row, profile) in profiles.into_iter().enumerate() {
        rows.read += 1;
        if stamp.mode == Mode::Overwrite {
            rows.updated += 1;
            changes.set(Member::new(profile, stamp.at, stamp.by.clone()), || None);
            continue;
        }
        let before = match changes.get(&profile.id) {
            Some(member) => Standing::Member(member),
            None => standing(row, &profile.id),
        };
        match before {
            Standing::Absent => {
                rows.created += 1;
                changes.set(Member::new(profile, stamp.at, stamp.by.clone()), || None);
            }
            Standing::Equal => rows.unchanged += 1,
            Standing::Member(current) => match meet(current, &profile, stamp) {
                Meeting::Unchanged => rows.unchanged += 1,
                Meeting::Superseded => rows.superseded += 1,
                Meeting::Updates => {
                    rows.updated += 1;
                    let next = current.changed(profile, stamp.at, stamp.by.clone());
                    let over = current.clone();
                    changes.set(next, || Some(over));
                }
            },
        }
    }
    changes
}

/// What a row does to a member that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// Nothing: it says the same, or the batch leaves existing members alone.
    Unchanged,
    /// Nothing: a newer request or batch wrote the member last.
    Superseded,
    /// It changes the member.
    Updates,
}

/// What a row does to a member that exists.
pub fn meet(current: &Member, profile: &Profile, stamp: &Stamp) -> Meeting {
    if stamp.mode == Mode::Create || current.profile == *profile {
        Meeting::Unchanged
    } else if current.updated_at > stamp.at && current.updated_by != stamp.by {
        Meeting::Superseded
    } else {
        Meeting::Updates
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

    fn stamp(mode: Mode) -> Stamp {
        Stamp::new(Timestamp::from_millis(1000), Author::batch("b"), mode)
    }

    fn stored(name: &str, at: i64) -> Member {
        Member::new(
            profile("4~1", name),
            Timestamp::from_millis(at),
            Author::key("ops"),
        )
    }

    fn run(names: &[&str], before: Option<&Member>, mode: Mode) -> (Rows, Changes) {
        let mut rows = Rows::default();
        let profiles = names.iter().map(|name| profile("4~1", name)).collect();
        let standing = |_, _: &MemberId| before.map_or(Standing::Absent, Standing::Member);
        let changes = apply(profiles, standing, &stamp(mode), &mut rows);
        (rows, changes)
    }

    #[test]
    fn repeated_keys_count_row_by_row() {
        let (abb, _) = run(&["a", "b", "b"], None, Mode::Upsert);
        assert_eq!((abb.created, abb.updated, abb.unchanged), (1, 1, 1));
        let (acb, changes) = run(&["a", "c", "b"], None, Mode::Upsert);
        assert_eq!((acb.created, acb.updated, acb.unchanged), (1, 2, 0));
        let [change] = changes.all() else {
            panic!("one key, one change");
        };
        assert_eq!(change.member.profile.first_name, "b");
        assert!(change.over.is_none());
    }

    #[test]
    fn a_row_that_says_the_same_writes_nothing() {
        let (rows, changes) = run(&["a"], Some(&stored("a", 1)), Mode::Upsert);
        assert_eq!((rows.unchanged, changes.all().len()), (1, 0));
        let mut rows = Rows::default();
        let equal = |_, _: &MemberId| Standing::Equal;
        let rows_in = vec![profile("4~1", "a")];
        let changes = apply(rows_in, equal, &stamp(Mode::Upsert), &mut rows);
        assert_eq!((rows.unchanged, changes.all().len()), (1, 0));
    }

    #[test]
    fn a_changed_row_keeps_the_origin_and_knows_what_it_is_written_over() {
        let before = stored("a", 1);
        let (rows, changes) = run(&["b", "c"], Some(&before), Mode::Upsert);
        assert_eq!(rows.updated, 2);
        let change = &changes.all()[0];
        assert_eq!(change.member.created_at.millis(), 1);
        assert_eq!(change.member.created_by, Author::key("ops"));
        assert_eq!(change.member.updated_at.millis(), 1000);
        assert_eq!(change.member.updated_by, Author::batch("b"));
        assert_eq!(change.member.profile.first_name, "c");
        assert_eq!(change.over.as_ref(), Some(&before));
    }

    #[test]
    fn a_newer_write_stands() {
        let (rows, changes) = run(&["b", "c"], Some(&stored("a", 1001)), Mode::Upsert);
        assert_eq!((rows.superseded, changes.all().len()), (2, 0));
    }

    #[test]
    fn create_leaves_members_alone_and_overwrite_does_not_look() {
        let (rows, changes) = run(&["b"], Some(&stored("a", 1)), Mode::Create);
        assert_eq!((rows.unchanged, changes.all().len()), (1, 0));
        let (rows, changes) = run(&["a", "a"], Some(&stored("a", 1)), Mode::Overwrite);
        assert_eq!((rows.updated, changes.all().len()), (2, 1));
    }

    #[test]
    fn windows_that_share_a_key_meet() {
        let (_, one) = run(&["a"], None, Mode::Upsert);
        let (_, same) = run(&["b"], None, Mode::Upsert);
        assert!(one.meets(&same));
        assert!(!one.meets(&Changes::default()));
    }
}
