//! The report of changes: a CSV with a line for each row, or absent member, that changed a member. A batch of mode `revert`
//! reads it.

use std::fmt::Write;

use mpulse_shared::member::{AccountId, Author, ClientMemberId, Member, MemberId, Profile};
use mpulse_shared::phone::Phone;

use crate::compare::{Changed, Next, Old};
use crate::parse::Record;
use crate::report_form::{BOM, push_field, unescape};

/// The columns of the report.
const COLUMNS: [&str; 14] = [
    "line",
    "change",
    "account_id",
    "client_member_id",
    "first_name",
    "last_name",
    "phone_number",
    "old_first_name",
    "old_last_name",
    "old_phone_number",
    "old_created_at",
    "old_created_by",
    "old_updated_at",
    "old_updated_by",
];

/// The column of the first new value.
const NEW: usize = 4;

/// The column of the first old value.
const OLD: usize = 7;

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was created.
    Created,
    /// It was changed.
    Updated,
    /// It was removed.
    Removed,
}

/// Returns the first line of the report.
pub fn header() -> String {
    format!("{BOM}{}\r\n", COLUMNS.join(","))
}

/// Returns whether the columns of a file are those of a report of changes.
pub fn is_report(names: &[String]) -> bool {
    names == COLUMNS
}

/// Appends the line of a change. `line` is the line of the file; `None` for an absent member. Of a created member, the report
/// may have its `keys_only`.
pub fn write(out: &mut String, line: Option<u64>, changed: &Changed<'_>, keys_only: bool) {
    if let Some(line) = line {
        let _ = write!(out, "{line}");
    }
    let (change, keys_only) = match (changed.next, changed.old) {
        (Next::Removed(_), _) => ("removed", false),
        (Next::Member(_), Old::Absent) => ("created", keys_only),
        (Next::Member(_), _) => ("updated", false),
    };
    let id = changed.next.id();
    for field in [change, id.account_id.as_str(), id.client_member_id.as_str()] {
        push(out, field);
    }
    match changed.next.member().filter(|_| !keys_only) {
        Some(member) => push_values(out, &member.profile),
        None => out.push_str(",,,"),
    }
    match changed.old {
        Old::Member(old) => {
            push_values(out, &old.profile);
            for (at, by) in [
                (old.created_at, &old.created_by),
                (old.updated_at, &old.updated_by),
            ] {
                let _ = write!(out, ",{at}");
                push(out, by.as_str());
            }
        }
        Old::Unknown => {
            out.push_str(",,,,,,");
            let by = changed
                .next
                .member()
                .map(|member| member.updated_by.as_str());
            push(out, by.unwrap_or_default());
        }
        Old::Absent => out.push_str(",,,,,,,"),
    }
    out.push_str("\r\n");
}

fn push_values(out: &mut String, profile: &Profile) {
    push(out, &profile.first_name);
    push(out, &profile.last_name);
    push(out, profile.phone_number.as_str());
}

fn push(out: &mut String, field: &str) {
    out.push(',');
    push_field(out, field);
}

/// A change as a report has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// What happened.
    pub kind: Kind,
    /// To which member.
    pub id: MemberId,
    /// The member before; `None` if there was none.
    pub old: Option<Member>,
}

/// Reads a line of a report. Returns `None` if it is not one.
pub fn read(record: &Record<'_>) -> Option<Reported> {
    let text = |column: usize| {
        let field = std::str::from_utf8(record.field(column)?).ok()?;
        Some(unescape(field).to_owned())
    };
    let kind = match text(1)?.as_str() {
        "created" => Kind::Created,
        "updated" => Kind::Updated,
        "removed" => Kind::Removed,
        _ => return None,
    };
    let id = MemberId {
        account_id: AccountId::from_stored(text(2).filter(|id| !id.is_empty())?),
        client_member_id: ClientMemberId::from_stored(text(NEW - 1).filter(|id| !id.is_empty())?),
    };
    let old = match kind {
        Kind::Created => None,
        Kind::Updated | Kind::Removed => Some(Member {
            profile: Profile {
                id: id.clone(),
                first_name: text(OLD)?,
                last_name: text(OLD + 1)?,
                phone_number: Phone::from_stored(text(OLD + 2)?),
            },
            created_at: text(OLD + 3)?.parse().ok()?,
            created_by: Author::from_stored(&text(OLD + 4)?),
            updated_at: text(OLD + 5)?.parse().ok()?,
            updated_by: Author::from_stored(&text(OLD + 6)?),
        }),
    };
    Some(Reported { kind, id, old })
}

#[cfg(test)]
mod tests {
    use mpulse_shared::batch::Position;
    use mpulse_shared::time::Timestamp;

    use super::*;
    use crate::parse::Parser;

    fn member(name: &str) -> Member {
        let profile = Profile {
            id: "4~1".parse().unwrap(),
            first_name: name.into(),
            last_name: "O'Brien, Jr.".into(),
            phone_number: Phone::from_stored("+17145550123".into()),
        };
        Member::new(profile, Timestamp::from_millis(1000), Author::key("ops"))
    }

    fn read_back(text: &str) -> Vec<Reported> {
        let mut parser = Parser::new(b',', Position { offset: 0, line: 1 });
        parser.push(text.as_bytes());
        parser.finish();
        let mut all = Vec::new();
        while let Some(record) = parser.next() {
            assert_eq!(record.fields().count(), COLUMNS.len());
            all.push(read(&record).unwrap());
        }
        all
    }

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let (old, next) = (member("=Ann"), Next::Member(member("\"Bo\"")));
        let removed = Next::Removed(old.profile.id.clone());
        let mut out = String::new();
        let change = |next, old| Changed { row: 0, next, old };
        write(&mut out, Some(2), &change(&next, Old::Absent), false);
        write(&mut out, Some(3), &change(&next, Old::Absent), true);
        write(&mut out, Some(4), &change(&next, Old::Member(&old)), true);
        write(&mut out, None, &change(&removed, Old::Member(&old)), true);
        let read: Vec<_> = read_back(&out)
            .into_iter()
            .map(|reported| (reported.kind, reported.old))
            .collect();
        let old = || Some(member("=Ann"));
        assert_eq!(
            read,
            [
                (Kind::Created, None),
                (Kind::Created, None),
                (Kind::Updated, old()),
                (Kind::Removed, old()),
            ]
        );
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[1], "3,created,4,1,,,,,,,,,,");
        assert!(
            lines[3].starts_with(",removed,4,1,,,,'=Ann,"),
            "{}",
            lines[3]
        );
    }
}
