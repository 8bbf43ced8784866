//! What was accepted and looks wrong. Warnings reject nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The kinds of warnings about rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// A client member id ends in `.0`.
    DecimalId,
    /// A row has the account and id of an earlier row of the file.
    RepeatedKey,
    /// A name is a phone number: columns may be swapped.
    PhoneInName,
    /// A name contains characters as they appear if UTF-8 is read in another charset.
    GarbledText,
    /// A name is an error value of a spreadsheet, such as `#N/A`.
    SpreadsheetError,
}

impl WarningCode {
    /// Returns the message for people.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::DecimalId => {
                "The client member id ends in \".0\": a program turned a number into a decimal. Export the column as text."
            }
            Self::RepeatedKey => {
                "The account and client member id occur in an earlier row of the file. The last row applies."
            }
            Self::PhoneInName => "A name is a phone number. Check whether two columns are swapped.",
            Self::GarbledText => {
                "A name looks as if the file was converted from the wrong charset, such as \"JosÃ©\" for \"José\". Export the file again as UTF-8."
            }
            Self::SpreadsheetError => {
                "A name is an error value of a spreadsheet, such as \"#N/A\". Correct the cell."
            }
        }
    }
}

/// The rows of one kind of warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarnedRows {
    /// Their number.
    pub count: u64,
    /// The line of the first.
    pub line: u64,
}

/// The warnings about rows, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Warnings(BTreeMap<WarningCode, WarnedRows>);

impl Warnings {
    /// Counts a row; rows are counted in order.
    pub fn count(&mut self, code: WarningCode, line: u64) {
        let rows = self.0.entry(code).or_insert(WarnedRows { count: 0, line });
        rows.count += 1;
    }

    /// Adds the warnings about later rows.
    pub fn add(&mut self, later: &Self) {
        for (&code, rows) in &later.0 {
            let sum = self
                .0
                .entry(code)
                .or_insert(WarnedRows { count: 0, ..*rows });
            sum.count += rows.count;
        }
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns them by kind.
    pub fn iter(&self) -> impl Iterator<Item = (WarningCode, WarnedRows)> + '_ {
        self.0.iter().map(|(&code, &rows)| (code, rows))
    }
}

/// Files that arrived at the URL of a batch after its end. They are deleted unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateUploads {
    /// Their number.
    pub count: u64,
    /// When the last one arrived.
    pub last_at: Timestamp,
    /// The size of the last one.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_keep_the_first_line() {
        let (mut all, mut later) = (Warnings::default(), Warnings::default());
        all.count(WarningCode::DecimalId, 7);
        later.count(WarningCode::DecimalId, 9);
        later.count(WarningCode::RepeatedKey, 10);
        all.add(&later);
        let lines: Vec<_> = all
            .iter()
            .map(|(_, rows)| (rows.count, rows.line))
            .collect();
        assert_eq!(lines, [(2, 7), (1, 10)]);
    }
}
