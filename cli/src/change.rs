//! A change of one member: a row of a batch's report of changes, and a line for people.

use std::fmt;

use csv_core::ReadRecordResult;
use mpulse_shared::member::{AccountId, ClientMemberId, Field, MemberId};

/// The columns of the report that are used, by their position.
const CHANGE: usize = 1;
const ACCOUNT: usize = 2;
const CLIENT_MEMBER: usize = 3;
const NEW: usize = 4;
const OLD: usize = 7;

/// The most columns that are read. Later versions may add some.
const COLUMNS: usize = 64;

/// The values of a member that a change may have, in the order of the report.
const VALUES: [Field; 3] = [Field::FirstName, Field::LastName, Field::PhoneNumber];

/// What happened to the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It did not exist before.
    Created,
    /// It had other values.
    Updated,
    /// It does not exist any more.
    Removed,
}

/// A change of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: Kind,
    /// The public id of the member.
    id: String,
    new: [String; VALUES.len()],
    old: [String; VALUES.len()],
}

impl Change {
    /// Parses a record of the report; `None` if it is the header, or not a whole record.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let fields = fields(record)?;
        let kind = match fields.get(CHANGE)?.as_str() {
            "created" => Kind::Created,
            "updated" => Kind::Updated,
            "removed" => Kind::Removed,
            _ => return None,
        };
        let values = |first: usize| -> Option<[String; VALUES.len()]> {
            let values = fields.get(first..first + VALUES.len())?;
            values.to_vec().try_into().ok()
        };
        Some(Self {
            kind,
            id: public_id(fields.get(ACCOUNT)?, fields.get(CLIENT_MEMBER)?),
            new: values(NEW)?,
            old: values(OLD)?,
        })
    }
}

impl fmt::Display for Change {
    /// Writes `- 4~17  Ann Lee  +17145550123`, or `~ 4~18  last_name Lee → Li`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, new, old } = self;
        let (sign, values) = match kind {
            Kind::Created => ('+', new),
            Kind::Removed => ('-', old),
            Kind::Updated => {
                write!(f, "~ {id}")?;
                let mut separator = "  ";
                for ((field, old), new) in VALUES.iter().zip(old).zip(new) {
                    if old != new {
                        write!(f, "{separator}{} {old} → {new}", field.name())?;
                        separator = ", ";
                    }
                }
                return Ok(());
            }
        };
        write!(f, "{sign} {id}")?;
        let [first, last, phone] = values;
        let name = format!("{first} {last}");
        for value in [name.trim(), phone] {
            // The values of a first load are in its file only.
            if !value.is_empty() {
                write!(f, "  {value}")?;
            }
        }
        Ok(())
    }
}

/// Returns the public id, a token that the API accepts.
fn public_id(account: &str, client_member: &str) -> String {
    match (
        AccountId::parse(account),
        ClientMemberId::parse(client_member),
    ) {
        (Ok(account_id), Ok(client_member_id)) => MemberId {
            account_id,
            client_member_id,
        }
        .to_string(),
        _ => format!("{account}~{client_member}"),
    }
}

/// Returns the fields of a record, as they were before the report was written; `None` if it has too many.
fn fields(record: &[u8]) -> Option<Vec<String>> {
    let record = [record, b"\n"].concat();
    let mut output = vec![0; record.len()];
    let mut ends = [0; COLUMNS];
    let (result, _, _, count) =
        csv_core::Reader::new().read_record(&record, &mut output, &mut ends);
    if result != ReadRecordResult::Record {
        return None;
    }
    let mut start = 0;
    let fields = ends[..count].iter().map(|&end| {
        let field = String::from_utf8_lossy(&output[start..end]);
        start = end;
        unescape(&field).to_owned()
    });
    Some(fields.collect())
}

/// Takes back how the report escapes a value that a spreadsheet would take for a formula.
fn unescape(text: &str) -> &str {
    const ESCAPE: char = '\'';
    match text.strip_prefix(ESCAPE) {
        Some(rest)
            if rest
                .trim_start_matches(ESCAPE)
                .starts_with(['=', '+', '-', '@', '\t', '\r']) =>
        {
            rest
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &str) -> Option<String> {
        Change::parse(record.as_bytes()).map(|change| change.to_string())
    }

    #[test]
    fn a_change_is_one_line() {
        let tail = "2026-11-01T00:00:00.000Z,key:ops,2026-11-01T00:00:00.000Z,key:ops";
        for (record, text) in [
            (
                "2,created,4,17,Bo,Li,'+17145550123,,,,,,,".to_owned(),
                "+ 4~17  Bo Li  +17145550123",
            ),
            // A first load: the values are in the file.
            ("2,created,4,17,,,,,,,,,,".to_owned(), "+ 4~17"),
            (
                format!(
                    "3,updated,4,17,Ann,\"Lee, Jr.\",'+17145550199,Ann,Lee,'+17145550123,{tail}"
                ),
                "~ 4~17  last_name Lee → Lee, Jr., phone_number +17145550123 → +17145550199",
            ),
            (
                format!(",removed,4,MRN 7,,,,Zoë,Brien,'+17145550123,{tail}\r"),
                "- 4~MRN%207  Zoë Brien  +17145550123",
            ),
            (
                "4,created,4,\"a\"\"b\",'=1,'t Hooft,'+1,,,,,,,,of a later version".to_owned(),
                "+ 4~a%22b  =1 't Hooft  +1",
            ),
        ] {
            assert_eq!(line(&record).as_deref(), Some(text), "{record}");
        }
    }

    #[test]
    fn a_header_and_parts_of_records_are_no_changes() {
        for record in [
            "\u{FEFF}line,change,account_id,client_member_id,first_name,last_name,phone_number,old_first_name",
            "",
            "moved,4,17,Bo",
            "2,created,4,17,Bo,Li",
            "d,4,17,,,,Ann,Lee,'+17145550123,,,,",
        ] {
            assert_eq!(line(record), None, "{record}");
        }
    }
}
