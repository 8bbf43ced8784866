//! The progress of a batch: what a run saves so that the next one can continue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::warning::Warnings;
use crate::member::Field;

/// The outcomes of the rows, and of the members that a `replace` does not find in its file. Each is counted once:
/// `read + absent = created + updated + unchanged + superseded + rejected + removed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rows {
    /// Data rows of the file, without the header and blank lines.
    pub read: u64,
    /// Members of the account that are not in the file; 0 except in mode `replace`.
    #[serde(default)]
    pub absent: u64,
    /// Rows that created a member.
    pub created: u64,
    /// Rows that changed an existing member.
    pub updated: u64,
    /// Rows that equal the existing member.
    pub unchanged: u64,
    /// Rows that are older than the member's last write by a request or a newer file.
    pub superseded: u64,
    /// Rows in the report.
    pub rejected: u64,
    /// Members that were removed.
    #[serde(default)]
    pub removed: u64,
}

/// DynamoDB request units, as reported by DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Capacity {
    /// Read units: one strongly consistent read of up to 4 KB each.
    pub read_units: f64,
    /// Write units: one write of up to 1 KB each, to the table or to an index.
    pub write_units: f64,
}

/// A position between two rows of the file, as decoded: in a compressed file, it counts the bytes of
/// the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The number of bytes before it.
    pub offset: u64,
    /// The number of the line that begins there, from 1.
    pub line: u64,
}

/// What contains the text of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// Nothing: the object is the text.
    #[default]
    Plain,
    /// A gzip stream.
    Gzip,
    /// A zip archive with one file.
    Zip,
    /// A workbook (xlsx).
    Workbook,
}

/// The layout of the file, from its header. It is stored so that a later run can continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The delimiter.
    pub delimiter: u8,
    /// The column names as written in the header.
    pub names: Vec<String>,
    /// The column of each known field, as (field, column).
    pub fields: Vec<(Field, usize)>,
    /// Its container.
    #[serde(default)]
    pub container: Container,
    /// The name of its charset; `None` for UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
}

impl Layout {
    /// Returns the names of columns that are not used, as written in the header.
    #[must_use]
    pub fn ignored(&self) -> Vec<String> {
        let known = |column: usize| self.fields.iter().any(|&(_, at)| at == column);
        self.names
            .iter()
            .enumerate()
            .filter(|&(column, _)| !known(column))
            .map(|(_, name)| name.clone())
            .collect()
    }
}

/// A range of the file that one run counted. A part of the report belongs to the batch if its run
/// counted the position at which the part begins. Parts that a run stored after its last checkpoint
/// do not belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The number of the run (`attempts`).
    pub run: u32,
    /// The first byte that it counted.
    pub from: u64,
    /// The byte after the last that it counted.
    pub to: u64,
}

/// The progress of a batch. Rows below `counted` are in `rows` and, if rejected, in the report;
/// rows below `durable` are in the table. Nothing at or after a saved `counted` is ever written, so
/// a later run can apply the rows between the two again without counting them twice.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The end of the rows that are counted and saved.
    pub counted: Position,
    /// The end of the rows that are written to the table.
    pub durable: Position,
    /// The counters at `counted`.
    pub rows: Rows,
    /// Units consumed so far, except those after the last checkpoint of a run that crashed.
    pub capacity: Capacity,
    /// Requests that DynamoDB throttled completely or partly.
    #[serde(default)]
    pub throttles: u64,
    /// The layout; `None` until the header has been read.
    pub layout: Option<Layout>,
    /// The ranges of the file, each with the run that counted it.
    pub segments: Vec<Segment>,
    /// Bytes of the object from which the counted rows were read; as `counted.offset` if the file is
    /// plain text.
    #[serde(default)]
    pub bytes_done: u64,
    /// The number of rejected rows by code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reject_codes: BTreeMap<String, u64>,
    /// What was accepted and looks wrong.
    #[serde(default, skip_serializing_if = "Warnings::is_empty")]
    pub warnings: Warnings,
    /// The position of the first row.
    #[serde(default)]
    pub first_row: Position,
    /// Rejected rows whose client member id cannot be read; counted in mode `replace`.
    #[serde(default)]
    pub unreadable_rows: u64,
    /// The write units that a dry run predicts.
    #[serde(default)]
    pub predicted_write_units: f64,
    /// The removal of absent members; `None` before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
    /// Rows counted per second by the current run, or by the whole batch once it has ended.
    pub rows_per_second: u64,
    /// Bytes counted per second, to estimate the remaining time.
    pub bytes_per_second: u64,
    /// The report that is being joined; `None` before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<Joining>,
    /// The report of changes that is being joined; `None` before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining_changes: Option<Joining>,
}

/// The progress of removing the members of the account that are not in the file. The members are visited in the order of
/// their ids, once for each pass.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sweep {
    /// The number of passes: each is for some of the keys, so that they fit in memory.
    pub passes: u32,
    /// The current pass.
    pub pass: u32,
    /// Whether the absent members are counted: only then are they removed.
    pub is_counted: bool,
    /// The number of absent members, as far as they are counted.
    pub absent: u64,
    /// The number of different keys in the file, as far as they are counted.
    pub file_keys: u64,
    /// The last id that is counted in this pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<String>,
    /// The last id up to which absent members are removed in this pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<String>,
    /// The number of windows that were counted; each may have a part of the report of changes.
    pub windows: u64,
}

/// The progress of joining the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// The id of the multipart upload.
    pub upload_id: String,
    /// The number of pieces that have been uploaded.
    pub pieces: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_lists_ignored_columns() {
        let layout = Layout {
            delimiter: b',',
            names: vec!["id".into(), "Phone".into(), "notes".into()],
            fields: vec![(Field::PhoneNumber, 1)],
            container: Container::Plain,
            charset: None,
        };
        assert_eq!(layout.ignored(), ["id", "notes"]);
    }
}
