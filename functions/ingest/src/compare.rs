//! What applying rows one by one would do: which members to write, and how each row
//! counts. No I/O: what exists is handed in.

use std::collections::HashMap;

use mpulse_shared::batch::{Mode, Rows};
use mpulse_shared::member::{Author, Member, MemberId, Profile};
use mpulse_shared::time::Timestamp;

/// Members by id.
pub type Members = HashMap<MemberId, Member>;

/// How a batch writes.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// The time of every row: when S3 reported the upload complete.
    pub at: Timestamp,
    /// `batch:<id>`.
    pub by: Author,
    /// What is done with members that exist.
    pub mode: Mode,
}

/// Applies rows in order to what exists, and gives what then differs from it: one member a
/// key, the last. `existing` finds the member as it stands before the first row, in hand
/// or in the table. Every row adds to one counter.
pub fn apply<'a>(
    profiles: Vec<Profile>,
    existing: impl Fn(&MemberId) -> Option<&'a Member>,
    stamp: &Stamp,
    rows: &mut Rows,
) -> Members {
    let mut writes = Members::new();
    for profile in profiles {
        rows.read += 1;
        let current = writes.get(&profile.id).or_else(|| existing(&profile.id));
        let next = match current {
            _ if stamp.mode == Mode::Overwrite => {
                rows.updated += 1;
                Member::new(profile, stamp.at, stamp.by.clone())
            }
            None => {
                rows.created += 1;
                Member::new(profile, stamp.at, stamp.by.clone())
            }
            Some(_) if stamp.mode == Mode::Create => {
                rows.unchanged += 1;
                continue;
            }
            Some(current) if current.profile == profile => {
                rows.unchanged += 1;
                continue;
            }
            Some(current) if current.updated_at > stamp.at && current.updated_by != stamp.by => {
                rows.superseded += 1;
                continue;
            }
            Some(current) => {
                rows.updated += 1;
                current.changed(profile, stamp.at, stamp.by.clone())
            }
        };
        writes.insert(next.profile.id.clone(), next);
    }
    writes
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
        Stamp {
            at: Timestamp::from_millis(1000),
            by: Author::batch("b"),
            mode,
        }
    }

    fn stored(name: &str, at: i64) -> Members {
        let member = Member::new(
            profile("4~1", name),
            Timestamp::from_millis(at),
            Author::key("ops"),
        );
        Members::from([(member.profile.id.clone(), member)])
    }

    fn run(names: &[&str], before: &Members, mode: Mode) -> (Rows, Members) {
        let mut rows = Rows::default();
        let profiles = names.iter().map(|name| profile("4~1", name)).collect();
        let writes = apply(profiles, |id| before.get(id), &stamp(mode), &mut rows);
        (rows, writes)
    }

    #[test]
    fn repeated_keys_count_row_by_row() {
        let nobody = Members::new();
        let (abb, _) = run(&["a", "b", "b"], &nobody, Mode::Upsert);
        assert_eq!((abb.created, abb.updated, abb.unchanged), (1, 1, 1));
        let (acb, writes) = run(&["a", "c", "b"], &nobody, Mode::Upsert);
        assert_eq!((acb.created, acb.updated, acb.unchanged), (1, 2, 0));
        assert_eq!(writes.len(), 1);
        assert_eq!(writes.values().next().unwrap().profile.first_name, "b");
    }

    #[test]
    fn an_unchanged_row_writes_nothing() {
        let (rows, writes) = run(&["a"], &stored("a", 1), Mode::Upsert);
        assert_eq!((rows.unchanged, writes.len()), (1, 0));
    }

    #[test]
    fn a_changed_row_keeps_the_origin() {
        let (rows, writes) = run(&["b"], &stored("a", 1), Mode::Upsert);
        assert_eq!(rows.updated, 1);
        let member = writes.values().next().unwrap();
        assert_eq!(member.created_at.millis(), 1);
        assert_eq!(member.created_by, Author::key("ops"));
        assert_eq!(member.updated_at.millis(), 1000);
        assert_eq!(member.updated_by, Author::batch("b"));
    }

    #[test]
    fn a_newer_write_stands() {
        let (rows, writes) = run(&["b", "c"], &stored("a", 1001), Mode::Upsert);
        assert_eq!((rows.superseded, writes.len()), (2, 0));
    }

    #[test]
    fn create_leaves_members_alone_and_overwrite_does_not_look() {
        let (rows, writes) = run(&["b"], &stored("a", 1), Mode::Create);
        assert_eq!((rows.unchanged, writes.len()), (1, 0));
        let (rows, writes) = run(&["a", "a"], &stored("a", 1), Mode::Overwrite);
        assert_eq!((rows.updated, writes.len()), (2, 1));
    }
}
