//! Computes what applying rows one by one would do: which members to write, and the outcome of each
//! row. No I/O: the existing members are passed in.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use mpulse_shared::batch::{Mode, Rows};
use mpulse_shared::member::{Author, Member, MemberId, Profile};
use mpulse_shared::time::Timestamp;

/// The provenance and mode of a batch's writes.
#[derive(Debug, Clone)]
pub struct WriteContext {
    /// The time of every row: when S3 reported the upload complete.
    pub at: Timestamp,
    /// `batch:<id>`.
    pub by: Author,
    /// How rows of existing members are handled.
    pub mode: Mode,
    at_text: Arc<str>,
}

impl WriteContext {
    /// Creates the context of a batch.
    pub fn new(at: Timestamp, by: Author, mode: Mode) -> Self {
        Self {
            at,
            by,
            mode,
            at_text: at.to_string().into(),
        }
    }

    /// Returns the time as stored.
    pub fn at_text(&self) -> &str {
        &self.at_text
    }
}

/// The existing member of a row, before the window's first row.
#[derive(Debug, Clone, Copy)]
pub enum Existing<'a> {
    /// There is none.
    Absent,
    /// It equals the row.
    Unchanged,
    /// This one, in flight or in the table.
    Member(&'a Member),
}

/// A member to write, and the member that it replaces.
#[derive(Debug, Clone)]
pub struct Change {
    /// The member to write.
    pub member: Member,
    /// The existing member; `None` if there is none, or if it was not read.
    pub over: Option<Member>,
}

/// The changes of a window: at most one per key, from the last of its rows.
#[derive(Debug, Default)]
pub struct Changes {
    all: Vec<Change>,
    /// The index in `all` of each key. A table of indexes needs no second copy of the keys.
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

impl Changes {
    /// Returns the changes, in the order in which their keys first appeared.
    pub fn all(&self) -> &[Change] {
        &self.all
    }

    /// Returns the member as this window changes it, if it does.
    pub fn get(&self, id: &MemberId) -> Option<&Member> {
        let is = |&place: &usize| *self.id(place) == *id;
        let place = self.places.find(self.hasher.hash_one(id), is);
        place.map(|&place| &self.all[place].member)
    }

    /// Returns whether both change the same key.
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

/// Applies rows in order to the existing members, and returns the changes. `existing` returns the
/// member of the row with a number, before the first row. Every row increments one counter.
pub fn apply<'a>(
    profiles: Vec<Profile>,
    existing: impl Fn(usize, &MemberId) -> Existing<'a>,
    context: &WriteContext,
    rows: &mut Rows,
) -> Changes {
    let mut changes = Changes::default();
    for (row, profile) in profiles.into_iter().enumerate() {
        rows.read += 1;
        if context.mode == Mode::Overwrite {
            rows.updated += 1;
            changes.set(Member::new(profile, context.at, context.by.clone()), || {
                None
            });
            continue;
        }
        let before = match changes.get(&profile.id) {
            Some(member) => Existing::Member(member),
            None => existing(row, &profile.id),
        };
        match before {
            Existing::Absent => {
                rows.created += 1;
                changes.set(Member::new(profile, context.at, context.by.clone()), || {
                    None
                });
            }
            Existing::Unchanged => rows.unchanged += 1,
            Existing::Member(current) => match outcome_of(current, &profile, context) {
                RowOutcome::Unchanged => rows.unchanged += 1,
                RowOutcome::Superseded => rows.superseded += 1,
                RowOutcome::Updated => {
                    rows.updated += 1;
                    let next = current.changed(profile, context.at, context.by.clone());
                    let over = current.clone();
                    changes.set(next, || Some(over));
                }
            },
        }
    }
    changes
}

/// The outcome of a row for an existing member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOutcome {
    /// The row equals the member, or the batch does not change existing members.
    Unchanged,
    /// A newer request or batch wrote the member last.
    Superseded,
    /// The row changes the member.
    Updated,
}

/// Returns the outcome of a row for an existing member.
pub fn outcome_of(current: &Member, profile: &Profile, context: &WriteContext) -> RowOutcome {
    if context.mode == Mode::Create || current.profile == *profile {
        RowOutcome::Unchanged
    } else if current.updated_at > context.at && current.updated_by != context.by {
        RowOutcome::Superseded
    } else {
        RowOutcome::Updated
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

    fn context(mode: Mode) -> WriteContext {
        WriteContext::new(Timestamp::from_millis(1000), Author::batch("b"), mode)
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
        let existing = |_, _: &MemberId| before.map_or(Existing::Absent, Existing::Member);
        let changes = apply(profiles, existing, &context(mode), &mut rows);
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
    fn a_row_that_equals_the_member_writes_nothing() {
        let (rows, changes) = run(&["a"], Some(&stored("a", 1)), Mode::Upsert);
        assert_eq!((rows.unchanged, changes.all().len()), (1, 0));
        let mut rows = Rows::default();
        let equal = |_, _: &MemberId| Existing::Unchanged;
        let rows_in = vec![profile("4~1", "a")];
        let changes = apply(rows_in, equal, &context(Mode::Upsert), &mut rows);
        assert_eq!((rows.unchanged, changes.all().len()), (1, 0));
    }

    #[test]
    fn a_changed_row_keeps_creation_and_knows_the_member_it_replaces() {
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
    fn a_newer_write_is_kept() {
        let (rows, changes) = run(&["b", "c"], Some(&stored("a", 1001)), Mode::Upsert);
        assert_eq!((rows.superseded, changes.all().len()), (2, 0));
    }

    #[test]
    fn create_keeps_existing_members_and_overwrite_does_not_read() {
        let (rows, changes) = run(&["b"], Some(&stored("a", 1)), Mode::Create);
        assert_eq!((rows.unchanged, changes.all().len()), (1, 0));
        let (rows, changes) = run(&["a", "a"], Some(&stored("a", 1)), Mode::Overwrite);
        assert_eq!((rows.updated, changes.all().len()), (2, 1));
    }

    #[test]
    fn windows_with_a_common_key_are_detected() {
        let (_, one) = run(&["a"], None, Mode::Upsert);
        let (_, same) = run(&["b"], None, Mode::Upsert);
        assert!(one.meets(&same));
        assert!(!one.meets(&Changes::default()));
    }
}
