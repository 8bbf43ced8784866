//! Rosters to send, and the expected counters of their batches.

use std::fmt::Write;

use serde_json::{Value, json};

/// The header of the rosters made here.
pub const HEADER: &str = "account_id,client_member_id,first_name,last_name,phone_number\n";

/// Counters of rows, to compare a batch's `rows` with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    /// Rows that created a member.
    pub created: u64,
    /// Rows that changed a member.
    pub updated: u64,
    /// Rows that equal the existing member.
    pub unchanged: u64,
    /// Rejected rows.
    pub rejected: u64,
}

impl Rows {
    /// Checks a batch's counters, and the status that follows from them.
    #[track_caller]
    pub fn check(self, batch: &Value) {
        let Self {
            created,
            updated,
            unchanged,
            rejected,
        } = self;
        let rows = json!({
            "read": created + updated + unchanged + rejected,
            "created": created,
            "updated": updated,
            "unchanged": unchanged,
            "superseded": 0,
            "rejected": rejected,
            "absent": 0,
            "removed": 0,
        });
        assert_eq!(batch["rows"], rows, "{batch:#}");
        let status = if rejected == 0 {
            "completed"
        } else {
            "completed_with_rejects"
        };
        assert_eq!(batch["status"], status, "{batch:#}");
        assert_eq!(batch["problem"], Value::Null, "{batch:#}");
    }

    /// Only created members.
    #[must_use]
    pub fn created(created: u64) -> Self {
        Self {
            created,
            ..Self::default()
        }
    }

    /// Only unchanged members.
    #[must_use]
    pub fn unchanged(unchanged: u64) -> Self {
        Self {
            unchanged,
            ..Self::default()
        }
    }
}

/// Returns the client id of the `index`th person of a roster. All have one width, so the order of ids is the order of
/// rows.
#[must_use]
pub fn client_id(index: u64) -> String {
    format!("c{index:06}")
}

/// Returns the phone of the `index`th person of a roster, in E.164.
#[must_use]
pub fn phone(index: u64) -> String {
    format!("+1714{:07}", 2_000_000 + index)
}

/// Returns a row of a roster, with its line end.
#[must_use]
pub fn row(account: &str, index: u64) -> String {
    row_of(account, index, "Ann")
}

/// Returns a row with another first name.
#[must_use]
pub fn row_of(account: &str, index: u64, first_name: &str) -> String {
    let (id, phone) = (client_id(index), phone(index));
    format!("{account},{id},{first_name},Lee {index},{phone}\n")
}

/// Returns a roster of a number of people of an account.
#[must_use]
pub fn roster(account: &str, people: u64) -> String {
    let mut file = HEADER.to_owned();
    for index in 0..people {
        write!(file, "{}", row(account, index)).expect("writing to a string can't fail");
    }
    file
}

/// Returns the public ids of that roster, in order.
#[must_use]
pub fn roster_ids(account: &str, people: u64) -> Vec<String> {
    (0..people)
        .map(|index| format!("{account}~{}", client_id(index)))
        .collect()
}
