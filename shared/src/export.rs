//! An export: the members of an account as a file. A function makes it in the background, and the client downloads it by a
//! signed URL.
//!
//! An export has no accounts of its own like a batch: who has access to its account may see it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::batch::BatchProblem;
use crate::media_type;
use crate::member::AccountId;
use crate::time::Timestamp;
use crate::ulid_id::ulid_id;

/// The prefix of the objects that start exports; the notification in template.yaml has the same prefix.
pub const REQUESTS: &str = "exports/requests/";

/// The prefix of the files of exports; the lifecycle rule in template.yaml has the same prefix.
const FILES: &str = "exports/";

/// How long a file is kept after the end of its export, in days, and so is the record. template.yaml has the same number.
pub const KEPT_DAYS: i64 = 7;

/// How long an export may wait for its first run, in hours. After that it has expired.
pub const QUEUED_HOURS: i64 = 24;

/// The partition of the index that lists exports.
pub const LISTING: &str = "export";

const MILLIS_PER_HOUR: i64 = 3600 * 1000;

/// The id of an export: a ULID, so ids sort by creation time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExportId(String);

/// The text is not an export id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is not an export id")]
pub struct InvalidExportId;

ulid_id!(ExportId, InvalidExportId);

impl ExportId {
    /// Returns the key of the object that starts the export.
    #[must_use]
    pub fn request_key(&self) -> String {
        format!("{REQUESTS}{self}.json")
    }

    /// Returns the export that an object starts, if its key is that of such an object.
    #[must_use]
    pub fn from_request_key(key: &str) -> Option<Self> {
        key.strip_prefix(REQUESTS)?
            .strip_suffix(".json")?
            .parse()
            .ok()
    }
}

/// The format of an export's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// CSV in UTF-8, with a mark.
    #[default]
    Csv,
    /// An Excel workbook whose cells are all text.
    Xlsx,
}

impl Format {
    /// Returns the format as stored and sent, which is also the extension of the file's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
        }
    }

    /// Returns the file's media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => media_type::CSV,
            Self::Xlsx => media_type::WORKBOOK,
        }
    }
}

/// The state of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its first run.
    Queued,
    /// A run has started. If it ends early, another run continues.
    Processing,
    /// The file can be downloaded.
    Completed,
    /// There is no file; the problem describes why.
    Failed,
    /// No run has started in time. Derived, never stored.
    Expired,
}

impl Status {
    /// Returns whether the export has ended.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Expired)
    }

    /// Returns the status as stored and sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// The progress of an export. Everything in it is in the file's pieces that S3 has stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// Members in the file.
    pub rows: u64,
    /// The file's bytes.
    pub bytes: u64,
    /// The client member id of the last of them, from which the next run continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// The multipart upload of the pieces, if the file has more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// The pieces that are stored.
    pub pieces: u32,
    /// Whether all members are in the pieces.
    pub is_whole: bool,
}

/// An export as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// Partition key.
    pub export_id: ExportId,
    /// A constant: the partition of the index that lists exports.
    pub listing: String,
    /// Its stored state; [`Export::status_at`] returns the state to report.
    pub status: Status,
    /// The account whose members it has.
    pub account_id: AccountId,
    /// The format of its file.
    pub format: Format,
    /// The key that created it: `key:<id>`.
    pub created_by: String,
    /// The id of the request that created it, which is also in the logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When the first run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The number of runs.
    pub attempts: u32,
    /// The number of consecutive runs that ended in an error without progress.
    pub stalled: u32,
    /// The run that holds the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_owner: Option<String>,
    /// When the lease expires, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
    /// Its progress.
    pub checkpoint: Checkpoint,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<BatchProblem>,
    /// When DynamoDB may delete it, in seconds since 1970.
    pub expires_at: i64,
}

impl Export {
    /// Creates an export that waits for its first run.
    #[must_use]
    pub fn new(account_id: AccountId, format: Format, created_by: String, now: Timestamp) -> Self {
        Self {
            export_id: ExportId::generate(),
            listing: LISTING.to_owned(),
            status: Status::Queued,
            account_id,
            format,
            created_by,
            request_id: None,
            created_at: now,
            updated_at: now,
            started_at: None,
            finished_at: None,
            attempts: 0,
            stalled: 0,
            lease_owner: None,
            lease_until: None,
            checkpoint: Checkpoint::default(),
            problem: None,
            expires_at: expiry_of(now),
        }
    }

    /// Returns the status to report.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> Status {
        let waited = now.millis_since(self.created_at);
        match self.status {
            Status::Queued if waited > QUEUED_HOURS * MILLIS_PER_HOUR => Status::Expired,
            status => status,
        }
    }

    /// Returns the key of the file in the bucket.
    #[must_use]
    pub fn file_key(&self) -> String {
        format!("{FILES}{}.{}", self.export_id, self.format.name())
    }

    /// Returns the name of the file for clients.
    #[must_use]
    pub fn file_name(&self) -> String {
        let created_at = self.created_at.to_string();
        let (day, _) = created_at.split_once('T').unwrap_or_default();
        format!("members-{}-{day}.{}", self.account_id, self.format.name())
    }

    /// Returns until when the file can be downloaded; `None` if there is none (any more).
    #[must_use]
    pub fn file_expires_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ended = self
            .finished_at
            .filter(|_| self.status == Status::Completed)?;
        let until = ended.plus_millis(KEPT_DAYS * 24 * MILLIS_PER_HOUR);
        (now < until).then_some(until)
    }
}

/// Returns when an export that ended at `ended` may be deleted, in seconds since 1970.
#[must_use]
pub fn expiry_of(ended: Timestamp) -> i64 {
    ended.seconds() + KEPT_DAYS * 24 * 3600
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(now: Timestamp) -> Export {
        let account = AccountId::parse("4").unwrap();
        Export::new(account, Format::Xlsx, "key:a".to_owned(), now)
    }

    #[test]
    fn an_export_expires_if_no_run_starts_in_time() {
        let now = Timestamp::now();
        let mut export = export(now);
        let late = now.plus_millis(QUEUED_HOURS * MILLIS_PER_HOUR + 1);
        assert_eq!(export.status_at(now), Status::Queued);
        assert_eq!(export.status_at(late), Status::Expired);
        export.status = Status::Processing;
        assert_eq!(export.status_at(late), Status::Processing);
    }

    #[test]
    fn the_file_can_be_downloaded_for_seven_days() {
        let now = Timestamp::now();
        let mut export = export(now);
        assert_eq!(export.file_expires_at(now), None);
        (export.status, export.finished_at) = (Status::Completed, Some(now));
        let until = now.plus_millis(KEPT_DAYS * 24 * MILLIS_PER_HOUR);
        assert_eq!(export.file_expires_at(now), Some(until));
        assert_eq!(export.file_expires_at(until), None);
        export.status = Status::Failed;
        assert_eq!(export.file_expires_at(now), None);
    }

    #[test]
    fn names_and_keys_identify_the_export() {
        let export = export("2026-11-30T22:00:00.000Z".parse().unwrap());
        let id = &export.export_id;
        assert_eq!(export.file_name(), "members-4-2026-11-30.xlsx");
        assert_eq!(export.file_key(), format!("exports/{id}.xlsx"));
        let key = id.request_key();
        assert_eq!(ExportId::from_request_key(&key), Some(id.clone()));
        assert_eq!(ExportId::from_request_key(&export.file_key()), None);
    }
}
