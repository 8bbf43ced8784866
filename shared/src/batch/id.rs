//! The id of a batch, and the keys of its objects in the bucket.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ulid_id::ulid_id;

/// The prefix of uploads in the bucket; the notification in template.yaml has the same prefix.
pub const UPLOADS: &str = "uploads/";

/// The prefix of reports of rejected rows in the bucket.
pub const REJECTS: &str = "rejects/";

/// The prefix of reports of changes in the bucket.
pub const CHANGES: &str = "changes/";

/// The id of a batch: a ULID, so ids sort by creation time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchId(String);

/// The text is not a batch id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is not a batch id")]
pub struct InvalidBatchId;

ulid_id!(BatchId, InvalidBatchId);

impl BatchId {
    /// Returns the key of the uploaded file in the bucket.
    #[must_use]
    pub fn upload_key(&self) -> String {
        format!("{UPLOADS}{self}.csv")
    }

    /// Returns the batch that an object was uploaded for, if its key is that of an upload.
    #[must_use]
    pub fn from_upload_key(key: &str) -> Option<Self> {
        key.strip_prefix(UPLOADS)?
            .strip_suffix(".csv")?
            .parse()
            .ok()
    }

    /// Returns the key of the report of rejected rows.
    #[must_use]
    pub fn rejects_key(&self) -> String {
        format!("{REJECTS}{self}.csv")
    }

    /// Returns the key of the report as a workbook.
    #[must_use]
    pub fn rejects_workbook_key(&self) -> String {
        format!("{REJECTS}{self}.xlsx")
    }

    /// Returns the prefix of the report's parts, which exist while the batch runs.
    #[must_use]
    pub fn reject_parts_prefix(&self) -> String {
        format!("{REJECTS}{self}/")
    }

    /// Returns the key of the report of changes.
    #[must_use]
    pub fn changes_key(&self) -> String {
        format!("{CHANGES}{self}.csv")
    }

    /// Returns the prefix of the parts of the report of changes, which exist while the batch runs.
    #[must_use]
    pub fn change_parts_prefix(&self) -> String {
        format!("{CHANGES}{self}/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_keys_identify_the_batch() {
        let id = BatchId::generate();
        assert_eq!(BatchId::from_upload_key(&id.upload_key()), Some(id.clone()));
        for key in [
            "uploads/x.csv",
            "other/x.csv",
            "uploads/",
            &id.rejects_key(),
        ] {
            assert_eq!(BatchId::from_upload_key(key), None, "{key}");
        }
    }
}
