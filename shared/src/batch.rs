//! A batch: one uploaded file and its processing.
//!
//! This module defines the record of a batch, its states and its progress. It does no I/O:
//! [`crate::store::batches`] stores the record, and the ingest function advances it.
//!
//! ```text
//! awaiting_upload → processing → completed | completed_with_rejects | failed
//!        │               └→ cancelling → cancelled
//!        └→ cancelled
//! ```
//! `queued` (the file has arrived, no run has started) and `expired` (the file did not arrive in time)
//! are not stored. They are derived from whether the uploaded object exists.

mod checkpoint;
mod format;
mod id;
mod removal;
mod status;
mod warning;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::member::AccountId;
use crate::parts::{Multipart, PartLayout};
use crate::readable::readable;
use crate::scope::Scope;
use crate::time::Timestamp;

pub use checkpoint::{
    Capacity, Checkpoint, Container, Joining, Layout, Position, Rows, Segment, Sweep,
};
pub use format::{Columns, FileFormat};
pub use id::{BatchId, InvalidBatchId};
pub use removal::{Limit, MAX_REMOVED, Removal};
pub use status::Status;
pub use warning::{LateUploads, WarnedRows, WarningCode, Warnings};

/// How long the URL of an upload, or of a part, is valid.
pub const UPLOAD_URL_SECONDS: u64 = 3600;

/// How long parts of a file are accepted. The bucket's lifecycle rule in template.yaml aborts an
/// incomplete multipart upload one day after its start at the earliest; parts that have arrived are
/// kept until then.
pub const MULTIPART_SECONDS: u64 = 24 * 3600;

/// How long an ended batch is kept, in days.
pub const KEPT_DAYS: i64 = 90;

/// How long a report is kept, in days. The bucket's lifecycle rule in template.yaml is the same.
pub const REPORT_DAYS: i64 = 30;

/// How long the upload of a dry run is kept, in days. The bucket's lifecycle rule in template.yaml is the same.
pub const UPLOAD_DAYS: i64 = 7;

/// The largest object that one PUT may send to S3, in bytes (an S3 limit). A larger one needs a
/// multipart upload.
pub const MAX_PUT_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// The maximum number of batches with the same parent.
pub const MAX_CHILDREN: usize = 100;

/// How ingest handles a row whose member exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Written if it differs from the member.
    #[default]
    Upsert,
    /// Not written; counted as unchanged.
    Create,
    /// Written without reading the existing member; counted as updated.
    Overwrite,
    /// Written if it differs from the member. Then the account's members that are not in the file are removed.
    Replace,
    /// Takes back a change of another batch: the file is that batch's change report.
    Revert,
    /// Removes every member of the account; the file is empty.
    Erase,
}

impl Mode {
    /// Returns whether the batch compares rows with existing members, so that it knows its changes.
    #[must_use]
    pub fn compares(self) -> bool {
        self != Self::Overwrite
    }

    /// Returns whether the batch removes members that are not in its file.
    #[must_use]
    pub fn removes_absent(self) -> bool {
        matches!(self, Self::Replace | Self::Erase)
    }
}

/// Why a batch did not reach the end of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchProblem {
    /// A stable code.
    pub code: String,
    /// A message for people.
    pub message: String,
}

/// The most characters of a message. A header of 64 KiB could be in it.
const MAX_MESSAGE: usize = 4000;

impl BatchProblem {
    /// Returns the problem as it is stored: what the message quotes of a file is of a bounded length, and visible.
    #[must_use]
    pub fn readable(&self) -> Self {
        Self {
            code: self.code.clone(),
            message: readable(&self.message, MAX_MESSAGE),
        }
    }
}

/// The uploaded file of a batch, as reported by S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadedObject {
    /// Its size.
    pub bytes: u64,
}

/// A batch as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are attributes of the item"
)]
pub struct Batch {
    /// Partition key.
    pub batch_id: BatchId,
    /// A constant: the partition of the index that lists batches.
    pub listing: String,
    /// Its stored state; [`Batch::status_at`] returns the state to report.
    pub status: Status,
    /// How ingest handles rows of existing members.
    pub mode: Mode,
    /// The file's name, given by the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The account of rows, for a file without an account column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// How to read the file.
    #[serde(default, skip_serializing_if = "FileFormat::is_default")]
    pub format: FileFormat,
    /// Whether the batch only predicts its result: it writes no member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Whether the batch reports its changes.
    #[serde(default)]
    pub changes: bool,
    /// Which members a `replace` or `erase` may remove.
    #[serde(default, skip_serializing_if = "Removal::is_default")]
    pub removal: Removal,
    /// The batch whose corrected report this file is, that previewed this file, or that this batch reverts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_batch_id: Option<BatchId>,
    /// The batch that applies this dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<BatchId>,
    /// The batches that name this one as their parent, at most [`MAX_CHILDREN`]. A string set in
    /// DynamoDB, which must not be empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub child_batch_ids: BTreeSet<BatchId>,
    /// The key that created it: `key:<id>`.
    pub created_by: String,
    /// The id of the request that created it, which is also in the logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The accounts of the key that created it: rows may write to them, and keys with access to
    /// them may see the batch.
    #[serde(default = "Scope::all", skip_serializing_if = "Scope::is_all")]
    pub accounts: Scope,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When the upload expires: the upload URL, or the parts that have arrived.
    pub upload_expires_at: Timestamp,
    /// The multipart upload of the file; `None` if the file is sent by one PUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart: Option<Multipart>,
    /// The size of the file in bytes: first as announced, then as stored in S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// When S3 reported the upload complete: the time of every row of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded_at: Option<Timestamp>,
    /// The ETag of the object, as found by the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When the first run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The number of runs.
    pub attempts: u32,
    /// The number of consecutive runs that ended in an error without progress.
    pub stalled: u32,
    /// The run that holds the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_owner: Option<String>,
    /// When the lease expires, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
    /// Its progress.
    pub checkpoint: Checkpoint,
    /// Whether the report exists.
    pub has_report: bool,
    /// Whether the report exists as a workbook too.
    #[serde(default)]
    pub has_workbook: bool,
    /// Whether the report of changes exists.
    #[serde(default)]
    pub has_changes: bool,
    /// Files that arrived after the end. The attribute is separate, so that no run writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_uploads: Option<LateUploads>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<BatchProblem>,
    /// When DynamoDB may delete it, in seconds since 1970.
    pub expires_at: i64,
}

/// Milliseconds of a day.
const MILLIS_PER_DAY: i64 = 24 * 3600 * 1000;

/// The partition of the index that lists batches.
pub const LISTING: &str = "batch";

/// The fields of a request that creates a batch.
#[derive(Debug, Clone, Default)]
pub struct BatchRequest {
    /// The file's name.
    pub file_name: Option<String>,
    /// Its size in bytes, which becomes part of the URL's signature.
    pub size: Option<u64>,
    /// Whether the file is sent in parts.
    pub multipart: bool,
    /// The account of rows, for a file without an account column.
    pub account_id: Option<AccountId>,
    /// How ingest handles rows of existing members.
    pub mode: Mode,
    /// How to read the file.
    pub format: FileFormat,
    /// Whether the batch only predicts its result.
    pub dry_run: bool,
    /// Whether the batch reports its changes; `None` if the client does not say.
    pub changes: Option<bool>,
    /// Which members a `replace` may remove.
    pub removal: Option<Removal>,
    /// The batch whose corrected report this file is.
    pub parent_batch_id: Option<BatchId>,
}

impl Batch {
    /// Creates a batch that waits for its file.
    #[must_use]
    pub fn new(request: BatchRequest, created_by: String, accounts: Scope, now: Timestamp) -> Self {
        let seconds = if request.multipart {
            MULTIPART_SECONDS
        } else {
            UPLOAD_URL_SECONDS
        };
        let lifetime = i64::try_from(seconds * 1000).unwrap_or(i64::MAX);
        Self {
            batch_id: BatchId::generate(),
            listing: LISTING.to_owned(),
            status: Status::AwaitingUpload,
            mode: request.mode,
            file_name: request.file_name,
            account_id: request.account_id.map(|id| id.as_str().to_owned()),
            format: request.format,
            dry_run: request.dry_run,
            changes: request.changes.unwrap_or_else(|| request.mode.compares()),
            removal: request.removal.unwrap_or_default(),
            parent_batch_id: request.parent_batch_id,
            applied_by: None,
            child_batch_ids: BTreeSet::new(),
            created_by,
            request_id: None,
            accounts,
            created_at: now,
            updated_at: now,
            upload_expires_at: now.plus_millis(lifetime),
            multipart: None,
            bytes_total: request.size,
            uploaded_at: None,
            etag: None,
            started_at: None,
            finished_at: None,
            attempts: 0,
            stalled: 0,
            lease_owner: None,
            lease_until: None,
            checkpoint: Checkpoint::default(),
            has_report: false,
            has_workbook: false,
            has_changes: false,
            late_uploads: None,
            problem: None,
            expires_at: expiry_of(now),
        }
    }

    /// Returns the status to report, given whether the uploaded object exists.
    #[must_use]
    pub fn status_at(&self, object_exists: bool, now: Timestamp) -> Status {
        match self.status {
            Status::AwaitingUpload if object_exists => Status::Queued,
            Status::AwaitingUpload if now > self.upload_expires_at => Status::Expired,
            status => status,
        }
    }

    /// Returns how the file is divided into parts, if it is sent in parts.
    #[must_use]
    pub fn part_layout(&self) -> Option<PartLayout> {
        Some(PartLayout {
            part_size: self.multipart.as_ref()?.part_size,
            file: self.bytes_total?,
        })
    }

    /// Returns whether the report can be downloaded: from the end of the batch until the bucket's
    /// lifecycle rule deletes the report.
    #[must_use]
    pub fn report_is_available(&self, now: Timestamp) -> bool {
        self.has_report && self.keeps_reports(now)
    }

    /// Returns whether the report of changes can be downloaded, as [`Batch::report_is_available`].
    #[must_use]
    pub fn changes_are_available(&self, now: Timestamp) -> bool {
        self.has_changes && self.keeps_reports(now)
    }

    fn keeps_reports(&self, now: Timestamp) -> bool {
        let ended = self.finished_at.unwrap_or(self.created_at);
        now.millis_since(ended) < REPORT_DAYS * MILLIS_PER_DAY
    }

    /// Returns why a batch that has ended has no report of changes, or `None` if it made one.
    #[must_use]
    pub fn why_no_changes(&self) -> Option<&'static str> {
        if self.has_changes {
            return None;
        }
        Some(match (self.mode.compares(), self.changes) {
            (false, _) => {
                "A batch in mode overwrite does not report its changes, because it reads no members."
            }
            (true, false) => "The batch does not report its changes: it has \"changes\": false.",
            (true, true) => "The batch changed no member.",
        })
    }

    /// Returns whether the batch is a dry run that can be applied: it was completed, no batch applies it, and its file
    /// is kept.
    #[must_use]
    pub fn can_be_applied(&self, now: Timestamp) -> bool {
        let uploaded = self.uploaded_at.unwrap_or(self.created_at);
        self.dry_run
            && self.status.is_completed()
            && self.applied_by.is_none()
            && now.millis_since(uploaded) < UPLOAD_DAYS * MILLIS_PER_DAY
    }

    /// Returns whether the batch has ended with changes that can be reverted.
    #[must_use]
    pub fn can_be_reverted(&self, now: Timestamp) -> bool {
        !self.dry_run && self.status.has_ended() && self.changes_are_available(now)
    }

    /// Returns the request units that applying a dry run is expected to consume: the reads of the dry run, and the writes
    /// that it predicts. `None` if the batch is not a dry run.
    #[must_use]
    pub fn predicted_capacity(&self) -> Option<Capacity> {
        self.dry_run.then_some(Capacity {
            read_units: self.checkpoint.capacity.read_units,
            write_units: self.checkpoint.predicted_write_units,
        })
    }

    /// Returns whether rows were rejected and there is no report of them.
    #[must_use]
    pub fn lacks_report(&self) -> bool {
        self.checkpoint.rows.rejected > 0 && !self.has_report
    }

    /// Returns whether members were changed and there is no report of it, although there should be.
    #[must_use]
    pub fn lacks_changes(&self) -> bool {
        let rows = self.checkpoint.rows;
        let changes = rows.created + rows.updated + rows.removed;
        self.changes && changes > 0 && !self.has_changes
    }

    /// Returns whether the uploaded object with this ETag is kept after the end: that of a dry run that can be applied.
    #[must_use]
    pub fn keeps_upload(&self, etag: &str) -> bool {
        self.dry_run && self.status.is_completed() && self.etag.as_deref() == Some(etag)
    }

    /// Returns the problem to report: why the batch failed, or how many rows were applied when it
    /// was cancelled.
    #[must_use]
    pub fn reported_problem(&self) -> Option<BatchProblem> {
        if self.status != Status::Cancelled || self.problem.is_some() {
            return self.problem.clone();
        }
        let Rows { read, rejected, .. } = self.checkpoint.rows;
        let applied = read - rejected;
        let message = format!(
            "Cancelled after {read} rows: {applied} were applied and stay, {rejected} were \
             rejected. The rows after them were not processed."
        );
        Some(BatchProblem {
            code: "cancelled".to_owned(),
            message,
        })
    }
}

/// Returns when a batch that ended at `ended` may be deleted, in seconds since 1970.
#[must_use]
pub fn expiry_of(ended: Timestamp) -> i64 {
    ended.seconds() + KEPT_DAYS * 24 * 3600
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_and_expired_are_derived_from_the_object() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), Scope::ALL, now);
        let late = batch.upload_expires_at.plus_millis(1);
        assert_eq!(batch.status_at(false, now), Status::AwaitingUpload);
        assert_eq!(batch.status_at(true, late), Status::Queued);
        assert_eq!(batch.status_at(false, late), Status::Expired);
        batch.status = Status::Completed;
        assert_eq!(batch.status_at(false, late), Status::Completed);
    }

    #[test]
    fn a_completed_dry_run_can_be_applied_once_while_its_file_is_kept() {
        let now = Timestamp::now();
        let request = BatchRequest {
            dry_run: true,
            ..BatchRequest::default()
        };
        let mut batch = Batch::new(request, "key:a".into(), Scope::ALL, now);
        batch.uploaded_at = Some(now);
        assert!(!batch.can_be_applied(now));
        batch.status = Status::CompletedWithRejects;
        assert!(batch.can_be_applied(now));
        assert!(!batch.can_be_applied(now.plus_millis(UPLOAD_DAYS * MILLIS_PER_DAY)));
        batch.status = Status::Failed;
        assert!(!batch.can_be_applied(now));
        batch.status = Status::Completed;
        batch.applied_by = Some(BatchId::generate());
        assert!(!batch.can_be_applied(now));
    }

    #[test]
    fn an_ended_batch_can_be_reverted_while_its_changes_are_kept() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), Scope::ALL, now);
        batch.finished_at = Some(now);
        batch.has_changes = true;
        assert!(!batch.can_be_reverted(now), "it has not ended");
        for status in [Status::Completed, Status::Failed, Status::Cancelled] {
            batch.status = status;
            assert!(batch.can_be_reverted(now), "{status:?}");
        }
        assert!(!batch.can_be_reverted(now.plus_millis(REPORT_DAYS * MILLIS_PER_DAY)));
        batch.dry_run = true;
        assert!(batch.changes_are_available(now) && !batch.can_be_reverted(now));
    }
}
