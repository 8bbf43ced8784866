//! Computes what applying rows one by one would do: which members to write, and the outcome of each
//! row. No I/O: the existing members are passed in.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use mpulse_shared::batch::{Mode, Rows};
use mpulse_shared::member::{AccountId, Author, Member, MemberId, Profile};
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
    /// The author whose changes a `revert` takes back.
    pub reverts: Option<Author>,
    at_text: Arc<str>,
}

impl WriteContext {
    /// Creates the context of a batch.
    pub fn new(at: Timestamp, by: Author, mode: Mode) -> Self {
        Self {
            at,
            by,
            mode,
            reverts: None,
            at_text: at.to_string().into(),
        }
    }

    /// Returns the context of a batch that takes back the changes of another author.
    pub fn reverting(self, author: Author) -> Self {
        Self {
            reverts: Some(author),
            ..self
        }
    }

    /// Returns whether a member was last written by the author whose changes are taken back.
    pub fn may_revert(&self, member: &Member) -> bool {
        self.reverts.as_ref() == Some(&member.updated_by)
    }

    /// Returns whether another author wrote a member after the upload of the file.
    pub fn is_older_than(&self, member: &Member) -> bool {
        member.updated_at > self.at && member.updated_by != self.by
    }

    /// Returns whether a change is still to be written, if this is the member now.
    pub fn is_due(&self, change: &Change, current: Option<&Member>) -> bool {
        match (&change.next, current) {
            (next, current) if self.mode == Mode::Revert => {
                let restores_removed = matches!(next, Next::Member(_)) && change.over.is_none();
                if restores_removed {
                    current.is_none()
                } else {
                    current.is_some_and(|member| self.may_revert(member))
                }
            }
            (Next::Removed(_), None) => false,
            (Next::Removed(_), Some(current)) => !self.is_older_than(current),
            (Next::Member(_), None) => true,
            (Next::Member(member), Some(current)) => {
                outcome_of(current, &member.profile, self) == RowOutcome::Updated
            }
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
    /// One that differs from the row and that this dry run predicts; its fields are not known any more.
    Predicted,
}

/// What a change leaves.
#[derive(Debug, Clone)]
pub enum Next {
    /// This member.
    Member(Member),
    /// No member of this id.
    Removed(MemberId),
}

impl Next {
    /// Returns the id.
    pub fn id(&self) -> &MemberId {
        match self {
            Self::Member(member) => &member.profile.id,
            Self::Removed(id) => id,
        }
    }

    /// Returns the member, if there is one.
    pub fn member(&self) -> Option<&Member> {
        match self {
            Self::Member(member) => Some(member),
            Self::Removed(_) => None,
        }
    }
}

/// A change of one member, and the member that it replaces.
#[derive(Debug, Clone)]
pub struct Change {
    /// What to write.
    pub next: Next,
    /// The existing member; `None` if there is none, or if it was not read.
    pub over: Option<Member>,
}

/// The outcome of a row that changes a member, for the report of changes.
#[derive(Debug)]
pub struct Changed<'a> {
    /// The row's place in its window.
    pub row: usize,
    /// What the row leaves.
    pub next: &'a Next,
    /// The member before the row.
    pub old: Old<'a>,
}

/// The member before a change.
#[derive(Debug, Clone, Copy)]
pub enum Old<'a> {
    /// There was none.
    Absent,
    /// This one.
    Member(&'a Member),
    /// One whose fields are not known.
    Unknown,
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

    /// Returns what this window leaves of a member, if it changes it.
    pub fn get(&self, id: &MemberId) -> Option<&Next> {
        let is = |&place: &usize| self.all[place].next.id() == id;
        let place = self.places.find(self.hasher.hash_one(id), is);
        place.map(|&place| &self.all[place].next)
    }

    /// Returns whether both change the same key.
    pub fn meets(&self, other: &Self) -> bool {
        let (small, large) = if self.all.len() < other.all.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut keys = small.all.iter().map(|change| change.next.id());
        keys.any(|id| large.get(id).is_some())
    }

    /// Sets what is left of a member. `over` is the member before the window.
    pub fn set(&mut self, next: Next, over: impl FnOnce() -> Option<Member>) {
        let (all, hasher) = (&mut self.all, &self.hasher);
        let id = next.id();
        let entry = self.places.entry(
            hasher.hash_one(id),
            |&place| all[place].next.id() == id,
            |&place| hasher.hash_one(all[place].next.id()),
        );
        match entry {
            Entry::Occupied(place) => all[*place.get()].next = next,
            Entry::Vacant(place) => {
                place.insert(all.len());
                all.push(Change { next, over: over() });
            }
        }
    }
}

/// Applies rows in order to the existing members, and returns the changes. `existing` returns the
/// member of the row with a number, before the first row. Every row increments one counter, and each
/// that changes a member is passed to `report`. The rows of accounts that a `newer` file has replaced
/// change nothing.
pub fn apply<'a>(
    profiles: Vec<Profile>,
    existing: impl Fn(usize, &MemberId) -> Existing<'a>,
    context: &WriteContext,
    newer: &HashSet<AccountId>,
    rows: &mut Rows,
    mut report: impl FnMut(Changed<'_>),
) -> Changes {
    let mut changes = Changes::default();
    for (row, profile) in profiles.into_iter().enumerate() {
        rows.read += 1;
        let is_replaced = !newer.is_empty() && newer.contains(&profile.id.account_id);
        if context.mode == Mode::Overwrite {
            if is_replaced {
                rows.superseded += 1;
                continue;
            }
            rows.updated += 1;
            let next = Next::Member(Member::new(profile, context.at, context.by.clone()));
            changes.set(next, || None);
            continue;
        }
        let before = match changes.get(&profile.id) {
            Some(next) => next.member().map_or(Existing::Absent, Existing::Member),
            None => existing(row, &profile.id),
        };
        let outcome = match before {
            Existing::Absent if is_replaced => RowOutcome::Superseded,
            Existing::Absent => RowOutcome::Created,
            Existing::Unchanged => RowOutcome::Unchanged,
            Existing::Member(current) => match outcome_of(current, &profile, context) {
                RowOutcome::Updated if is_replaced => RowOutcome::Superseded,
                outcome => outcome,
            },
            Existing::Predicted if context.mode == Mode::Create => RowOutcome::Unchanged,
            Existing::Predicted => RowOutcome::Updated,
        };
        match outcome {
            RowOutcome::Unchanged => rows.unchanged += 1,
            RowOutcome::Superseded => rows.superseded += 1,
            RowOutcome::Created => {
                rows.created += 1;
                let next = Next::Member(Member::new(profile, context.at, context.by.clone()));
                let old = Old::Absent;
                report(Changed {
                    row,
                    next: &next,
                    old,
                });
                changes.set(next, || None);
            }
            RowOutcome::Updated => {
                rows.updated += 1;
                let by = context.by.clone();
                if let Existing::Member(current) = before {
                    let next = Next::Member(current.changed(profile, context.at, by));
                    let old = Old::Member(current);
                    report(Changed {
                        row,
                        next: &next,
                        old,
                    });
                    let over = current.clone();
                    changes.set(next, || Some(over));
                } else {
                    let next = Next::Member(Member::new(profile, context.at, by));
                    let old = Old::Unknown;
                    report(Changed {
                        row,
                        next: &next,
                        old,
                    });
                    changes.set(next, || None);
                }
            }
        }
    }
    changes
}

/// The outcome of a row for an existing member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOutcome {
    /// There is no member.
    Created,
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
    } else if context.is_older_than(current) {
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
        let (context, newer) = (context(mode), HashSet::new());
        let changes = apply(profiles, existing, &context, &newer, &mut rows, |_| {});
        (rows, changes)
    }

    fn member_of(change: &Change) -> &Member {
        change.next.member().unwrap()
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
        assert_eq!(member_of(change).profile.first_name, "b");
        assert!(change.over.is_none());
    }

    #[test]
    fn a_row_that_equals_the_member_writes_nothing() {
        let (rows, changes) = run(&["a"], Some(&stored("a", 1)), Mode::Upsert);
        assert_eq!((rows.unchanged, changes.all().len()), (1, 0));
        let mut rows = Rows::default();
        let equal = |_, _: &MemberId| Existing::Unchanged;
        let rows_in = vec![profile("4~1", "a")];
        let (context, newer) = (context(Mode::Upsert), HashSet::new());
        let changes = apply(rows_in, equal, &context, &newer, &mut rows, |_| {});
        assert_eq!((rows.unchanged, changes.all().len()), (1, 0));
    }

    #[test]
    fn a_changed_row_keeps_creation_and_knows_the_member_it_replaces() {
        let before = stored("a", 1);
        let (rows, changes) = run(&["b", "c"], Some(&before), Mode::Upsert);
        assert_eq!(rows.updated, 2);
        let change = &changes.all()[0];
        let member = member_of(change);
        assert_eq!(member.created_at.millis(), 1);
        assert_eq!(member.created_by, Author::key("ops"));
        assert_eq!(member.updated_at.millis(), 1000);
        assert_eq!(member.updated_by, Author::batch("b"));
        assert_eq!(member.profile.first_name, "c");
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
    fn a_row_of_an_account_that_a_newer_file_replaced_changes_nothing() {
        let newer = HashSet::from([AccountId::parse("4").unwrap()]);
        let before = stored("a", 1);
        for (name, existing, rows) in [
            ("a", Existing::Absent, (0, 1)),
            ("a", Existing::Member(&before), (1, 0)),
            ("b", Existing::Member(&before), (0, 1)),
        ] {
            let mut counted = Rows::default();
            let changes = apply(
                vec![profile("4~1", name)],
                |_, _| existing,
                &context(Mode::Upsert),
                &newer,
                &mut counted,
                |_| panic!("nothing changes"),
            );
            assert!(changes.all().is_empty());
            assert_eq!((counted.unchanged, counted.superseded), rows);
        }
    }

    #[test]
    fn windows_with_a_common_key_are_detected() {
        let (_, one) = run(&["a"], None, Mode::Upsert);
        let (_, same) = run(&["b"], None, Mode::Upsert);
        assert!(one.meets(&same));
        assert!(!one.meets(&Changes::default()));
    }
}
