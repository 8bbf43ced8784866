//! Takes back the changes of a batch, line by line of its report of changes. A member is restored only if that batch wrote
//! it last; a removed member only if there still is none. No I/O.

use mpulse_shared::batch::Rows;
use mpulse_shared::member::{Member, MemberId};

use crate::change_report::{Kind, Reported};
use crate::compare::{Changed, Changes, Next, Old, WriteContext};

/// Applies lines in order to the existing members, and returns the changes. `existing` returns a member before the first
/// line. Every line increments one counter, and each that changes a member is passed to `report`.
pub fn apply<'a>(
    lines: Vec<Reported>,
    existing: impl Fn(&MemberId) -> Option<&'a Member>,
    context: &WriteContext,
    rows: &mut Rows,
    mut report: impl FnMut(Changed<'_>),
) -> Changes {
    let mut changes = Changes::default();
    for (row, reported) in lines.into_iter().enumerate() {
        rows.read += 1;
        let current = match changes.get(&reported.id) {
            Some(next) => next.member(),
            None => existing(&reported.id),
        };
        let ours = current.filter(|member| context.may_revert(member));
        let next = match (reported.kind, reported.old, ours, current) {
            // The state between two rows with the same key: the first of them has the member before the batch.
            (Kind::Updated, Some(old), ..) if context.may_revert(&old) => {
                rows.unchanged += 1;
                continue;
            }
            (Kind::Created, _, Some(_), _) => {
                rows.removed += 1;
                Next::Removed(reported.id)
            }
            (Kind::Updated, Some(old), Some(_), _) => {
                rows.updated += 1;
                Next::Member(restored(old, context))
            }
            (Kind::Removed, Some(old), _, None) => {
                rows.created += 1;
                Next::Member(restored(old, context))
            }
            _ => {
                rows.superseded += 1;
                continue;
            }
        };
        let old = current.map_or(Old::Absent, Old::Member);
        let next_of = Changed {
            row,
            next: &next,
            old,
        };
        report(next_of);
        let over = current.cloned();
        changes.set(next, || over);
    }
    changes
}

/// Returns a member as it was, written by the revert.
fn restored(old: Member, context: &WriteContext) -> Member {
    Member {
        updated_at: context.at,
        updated_by: context.by.clone(),
        ..old
    }
}

#[cfg(test)]
mod tests {
    use mpulse_shared::batch::Mode;
    use mpulse_shared::member::{Author, Profile};
    use mpulse_shared::phone::Phone;
    use mpulse_shared::time::Timestamp;

    use super::*;

    fn member(name: &str, by: &str) -> Member {
        let profile = Profile {
            id: "4~1".parse().unwrap(),
            first_name: name.into(),
            last_name: "Lee".into(),
            phone_number: Phone::from_stored("+17145550123".into()),
        };
        Member::new(profile, Timestamp::from_millis(1), Author::from_stored(by))
    }

    fn line(kind: Kind, old: Option<Member>) -> Reported {
        let id = "4~1".parse().unwrap();
        Reported { kind, id, old }
    }

    /// Returns the counters, and what a change leaves: a first name, or `gone`.
    fn revert(lines: Vec<Reported>, current: Option<&Member>) -> (Rows, Option<String>) {
        let context = WriteContext::new(
            Timestamp::from_millis(9),
            Author::batch("revert"),
            Mode::Revert,
        )
        .reverting(Author::batch("parent"));
        let mut rows = Rows::default();
        let changes = apply(lines, |_| current, &context, &mut rows, |_| {});
        let left = changes.all().first().map(|change| {
            let member = change.next.member();
            member.map_or("gone".to_owned(), |member| {
                member.profile.first_name.clone()
            })
        });
        (rows, left)
    }

    #[test]
    fn only_what_the_batch_wrote_last_is_taken_back() {
        let (ours, theirs) = (member("new", "batch:parent"), member("x", "key:ops"));
        let old = || Some(member("old", "key:ops"));
        let (rows, left) = revert(vec![line(Kind::Created, None)], Some(&ours));
        assert_eq!((rows.removed, left), (1, Some("gone".into())));
        let (rows, left) = revert(vec![line(Kind::Updated, old())], Some(&ours));
        assert_eq!((rows.updated, left), (1, Some("old".into())));
        let (rows, left) = revert(vec![line(Kind::Removed, old())], None);
        assert_eq!((rows.created, left), (1, Some("old".into())));
        for (kind, old, current) in [
            (Kind::Created, None, Some(&theirs)),
            (Kind::Created, None, None),
            (Kind::Updated, old(), Some(&theirs)),
            (Kind::Updated, old(), None),
            (Kind::Removed, old(), Some(&ours)),
        ] {
            let (rows, left) = revert(vec![line(kind, old)], current);
            assert_eq!((rows.superseded, left), (1, None), "{kind:?} {current:?}");
        }
    }

    #[test]
    fn a_state_between_two_rows_is_skipped() {
        let ours = member("third", "batch:parent");
        let between = Some(member("second", "batch:parent"));
        let lines = vec![
            line(Kind::Updated, Some(member("first", "key:ops"))),
            line(Kind::Updated, between),
        ];
        let (rows, left) = revert(lines, Some(&ours));
        assert_eq!((rows.updated, rows.unchanged), (1, 1));
        assert_eq!(left, Some("first".into()));
    }
}
