//! A batch: one uploaded file on its way into the members table.
//!
//! This module is the record of a batch, its states and what is told about it. It does
//! no I/O: [`crate::store::batches`] keeps the record, and the ingest function moves it.
//!
//! ```text
//! awaiting_upload → processing → completed | completed_with_rejects | failed
//!        │               └→ cancelling → cancelled
//!        └→ cancelled
//! ```
//! `queued` (uploaded, not begun) and `expired` (the URL was never used) are not stored:
//! they are told when asked, from the object being there or not.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ulid::Ulid;

use crate::member::{AccountId, Field};
use crate::parts::{Cut, Multipart};
use crate::scope::Scope;
use crate::time::Timestamp;

/// How long the URL for an upload, or for a part of one, is good.
pub const UPLOAD_URL_SECONDS: u64 = 3600;

/// How long a batch waits for the parts of its file. The bucket's lifecycle in template.yaml
/// aborts multipart uploads a day after their start at the earliest, since what was half sent
/// is paid for: until then, not a byte is thrown away.
pub const MULTIPART_SECONDS: u64 = 24 * 3600;

/// How long an ended batch is remembered, in days.
pub const KEPT_DAYS: i64 = 90;

/// How long a report is kept, in days; the bucket's lifecycle in template.yaml says the same.
pub const REPORT_DAYS: i64 = 30;

/// The largest object that one PUT may send to S3, in bytes (an S3 limit); a larger one comes
/// as a multipart upload.
pub const MAX_PUT_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// The most batches that may name the same parent.
pub const MAX_CHILDREN: usize = 100;

/// Where uploads are put in the bucket; the notification in template.yaml has the same prefix.
const UPLOADS: &str = "uploads/";

/// Where reports of refused rows are put in the bucket.
const REJECTS: &str = "rejects/";

/// A batch's id: a ULID, so that ids sort by creation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchId(String);

/// The text is not a batch's id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is not a batch id")]
pub struct NotABatchId;

impl BatchId {
    /// A new id, later than those of earlier milliseconds.
    #[must_use]
    pub fn generate() -> Self {
        Self(Ulid::generate().to_string())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the uploaded file in the bucket.
    #[must_use]
    pub fn upload_key(&self) -> String {
        format!("{UPLOADS}{self}.csv")
    }

    /// The batch that an object in the bucket was uploaded for, if it is an upload.
    #[must_use]
    pub fn from_upload_key(key: &str) -> Option<Self> {
        key.strip_prefix(UPLOADS)?
            .strip_suffix(".csv")?
            .parse()
            .ok()
    }

    /// The key of the finished report of refused rows.
    #[must_use]
    pub fn rejects_key(&self) -> String {
        format!("{REJECTS}{self}.csv")
    }

    /// What the keys of the report's parts begin with, while the batch runs.
    #[must_use]
    pub fn reject_parts_prefix(&self) -> String {
        format!("{REJECTS}{self}/")
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BatchId {
    type Err = NotABatchId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Ulid::from_string(text).map_err(|_| NotABatchId)?;
        Ok(Self(id.to_string()))
    }
}

impl TryFrom<String> for BatchId {
    type Error = NotABatchId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BatchId> for String {
    fn from(id: BatchId) -> Self {
        id.0
    }
}

/// Where a batch is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No file yet.
    AwaitingUpload,
    /// A file is there and no run has begun. Told, never stored.
    Queued,
    /// A run has begun; between runs, another will.
    Processing,
    /// Every row was accepted.
    Completed,
    /// Every row was read, and some are in the report.
    CompletedWithRejects,
    /// The file or the system made it impossible; the problem says why.
    Failed,
    /// Someone asked to stop; the next checkpoint does.
    Cancelling,
    /// Stopped by request. What was written stays.
    Cancelled,
    /// The upload URL ran out unused. Told, never stored.
    Expired,
}

impl Status {
    /// Whether nothing more will happen to the batch.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::CompletedWithRejects
                | Self::Failed
                | Self::Cancelled
                | Self::Expired
        )
    }

    /// The status as stored and sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AwaitingUpload => "awaiting_upload",
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::CompletedWithRejects => "completed_with_rejects",
            Self::Failed => "failed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The status to move to when someone cancels; `None` where there is nothing to stop.
    #[must_use]
    pub fn when_cancelled(self) -> Option<Self> {
        match self {
            Self::AwaitingUpload | Self::Queued => Some(Self::Cancelled),
            Self::Processing | Self::Cancelling => Some(Self::Cancelling),
            _ => None,
        }
    }
}

/// What is done with a row whose member exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Written where it differs.
    #[default]
    Upsert,
    /// Left alone, and counted unchanged.
    Create,
    /// Written without a look at what exists, and counted updated.
    Overwrite,
}

/// What became of the rows, each counted once:
/// `read = created + updated + unchanged + superseded + rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rows {
    /// Rows of the file, the header and blank lines aside.
    pub read: u64,
    /// Members that were new.
    pub created: u64,
    /// Members that differed.
    pub updated: u64,
    /// Members that were the same already.
    pub unchanged: u64,
    /// Rows older than what a request or a newer file wrote.
    pub superseded: u64,
    /// Rows in the report.
    pub rejected: u64,
}

/// DynamoDB's request units, as it reported them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Capacity {
    /// One strongly consistent read of up to 4 KB each.
    pub read_units: f64,
    /// One write of up to 1 KB each, to the table or to an index.
    pub write_units: f64,
}

/// A place between two rows of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Bytes before it.
    pub offset: u64,
    /// The number of the line that begins there, from 1.
    pub line: u64,
}

/// What the header said, kept so that a later run can begin in the middle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// What separates the fields.
    pub delimiter: u8,
    /// The header's names as written.
    pub names: Vec<String>,
    /// Where each known field is, as (field, column).
    pub fields: Vec<(Field, usize)>,
}

impl Layout {
    /// The columns that mean nothing to us, as the header wrote them.
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

/// The part of the file that one run counted. A part of the report belongs to the batch
/// if its run counted the place that it begins at; what a run left behind beyond its last
/// checkpoint does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The run, as counted by `attempts`.
    pub run: u32,
    /// The first byte it counted.
    pub from: u64,
    /// The byte after the last it counted.
    pub to: u64,
}

/// How far a batch is. Rows below `counted` are in `rows` and, if refused, in the report;
/// rows below `durable` are in the table. Nothing at or beyond a saved `counted` is ever
/// written, so a later run can apply what lies between the two again, and count it once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Counted and saved up to here.
    pub counted: Position,
    /// Written up to here.
    pub durable: Position,
    /// The counters at `counted`.
    pub rows: Rows,
    /// Units consumed so far, lost runs' unsaved ones aside.
    pub capacity: Capacity,
    /// Requests that the table threw back, wholly or in part, for being too many.
    #[serde(default)]
    pub throttles: u64,
    /// What the header said; `None` until it was read.
    pub layout: Option<Layout>,
    /// Who counted what.
    pub segments: Vec<Segment>,
    /// Rows counted per second by the current run, or by the whole batch once it has ended.
    pub rows_per_second: u64,
    /// Bytes counted per second, for the time left.
    pub bytes_per_second: u64,
    /// The report that is being joined; `None` before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<Joining>,
}

/// How far the joining of the report is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// The multipart upload that the report is sent with.
    pub upload_id: String,
    /// Its pieces that are there.
    pub pieces: u32,
}

/// Why a batch didn't come to the end of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchProblem {
    /// A stable word for the kind of fault.
    pub code: String,
    /// What was found, in words.
    pub message: String,
}

/// A batch as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Partition key.
    pub batch_id: BatchId,
    /// The same for every batch: the partition of the index that lists them.
    pub listing: String,
    /// Where it is in its life.
    pub status: Status,
    /// What is done with rows whose member exists.
    pub mode: Mode,
    /// What the client calls the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The account of the rows of a file that has no such column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The batch whose report was corrected to make this one's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_batch_id: Option<BatchId>,
    /// The batches that name this one as their parent, at most [`MAX_CHILDREN`]. A set of
    /// strings in DynamoDB, which knows no empty one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub child_batch_ids: BTreeSet<BatchId>,
    /// Who asked for it: `key:<id>`.
    pub created_by: String,
    /// The request that asked for it, by which its story is found in the logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The accounts of who asked for it: what its rows may write to, and who may see it.
    #[serde(default = "Scope::all", skip_serializing_if = "Scope::is_all")]
    pub accounts: Scope,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// Until when the file may come: while the upload URL is good, or the parts are kept.
    pub upload_expires_at: Timestamp,
    /// The multipart upload that the file comes by; `None` where it comes by one PUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart: Option<Multipart>,
    /// The size of the file in bytes: as announced, then as found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// When S3 reported the upload complete: the time of every row of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded_at: Option<Timestamp>,
    /// The ETag of the object that its first run began to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When its first run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Runs begun.
    pub attempts: u32,
    /// Runs in a row that ended in an error without progress.
    pub stalled: u32,
    /// The run that works on it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_owner: Option<String>,
    /// Until when that run may be believed alive, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
    /// How far it is.
    pub checkpoint: Checkpoint,
    /// Whether the report is there.
    pub has_report: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<BatchProblem>,
    /// When DynamoDB may forget it, in seconds since 1970.
    pub expires_at: i64,
}

/// The one partition of the index that lists batches.
pub const LISTING: &str = "batch";

/// What a client may say when it opens a batch.
#[derive(Debug, Clone, Default)]
pub struct BatchRequest {
    /// What the client calls the file.
    pub file_name: Option<String>,
    /// Its size in bytes, signed into the URL.
    pub size: Option<u64>,
    /// Whether it is to come in parts.
    pub multipart: bool,
    /// The account of rows that don't say.
    pub account_id: Option<AccountId>,
    /// What is done with rows whose member exists.
    pub mode: Mode,
    /// The batch whose report was corrected to make this one's file.
    pub parent_batch_id: Option<BatchId>,
}

impl Batch {
    /// A batch that waits for its file.
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
            parent_batch_id: request.parent_batch_id,
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
            problem: None,
            expires_at: forget_at(now),
        }
    }

    /// The status to tell, given whether the uploaded object is there.
    #[must_use]
    pub fn told_status(&self, object_is_there: bool, now: Timestamp) -> Status {
        match self.status {
            Status::AwaitingUpload if object_is_there => Status::Queued,
            Status::AwaitingUpload if now > self.upload_expires_at => Status::Expired,
            status => status,
        }
    }

    /// How the file is cut, where it comes in parts.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        Some(Cut {
            part_size: self.multipart.as_ref()?.part_size,
            file: self.bytes_total?,
        })
    }

    /// Whether the report can be fetched. It is there from the batch's end until the bucket's
    /// lifecycle deletes it.
    #[must_use]
    pub fn keeps_report(&self, now: Timestamp) -> bool {
        let kept = REPORT_DAYS * 24 * 3600 * 1000;
        let ended = self.finished_at.unwrap_or(self.created_at);
        self.has_report && now.millis_since(ended) < kept
    }

    /// Whether rows were refused that no report tells of: it couldn't be made.
    #[must_use]
    pub fn owes_report(&self) -> bool {
        self.checkpoint.rows.rejected > 0 && !self.has_report
    }

    /// What stood in the way of the batch, if anything did: why it failed, or how far it was
    /// when it was cancelled.
    #[must_use]
    pub fn told_problem(&self) -> Option<BatchProblem> {
        if self.status != Status::Cancelled || self.problem.is_some() {
            return self.problem.clone();
        }
        let Rows { read, rejected, .. } = self.checkpoint.rows;
        let applied = read - rejected;
        let message = format!(
            "Cancelled after {read} rows: {applied} were applied and stay, {rejected} were \
             refused. No row after them was."
        );
        Some(BatchProblem {
            code: "cancelled".to_owned(),
            message,
        })
    }
}

/// When a batch that ended at `now` may be forgotten, in seconds since 1970.
#[must_use]
pub fn forget_at(now: Timestamp) -> i64 {
    now.seconds() + KEPT_DAYS * 24 * 3600
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_objects_lead_back_to_the_batch() {
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

    #[test]
    fn queued_and_expired_are_told_from_the_object() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), Scope::ALL, now);
        let late = batch.upload_expires_at.plus_millis(1);
        assert_eq!(batch.told_status(false, now), Status::AwaitingUpload);
        assert_eq!(batch.told_status(true, late), Status::Queued);
        assert_eq!(batch.told_status(false, late), Status::Expired);
        batch.status = Status::Completed;
        assert_eq!(batch.told_status(false, late), Status::Completed);
    }

    #[test]
    fn only_a_batch_that_has_not_ended_can_be_cancelled() {
        assert_eq!(
            Status::AwaitingUpload.when_cancelled(),
            Some(Status::Cancelled)
        );
        assert_eq!(
            Status::Processing.when_cancelled(),
            Some(Status::Cancelling)
        );
        for ended in [Status::Completed, Status::Failed, Status::Cancelled] {
            assert!(ended.has_ended());
            assert_eq!(ended.when_cancelled(), None);
        }
    }

    #[test]
    fn the_layout_knows_what_it_ignores() {
        let layout = Layout {
            delimiter: b',',
            names: vec!["id".into(), "Phone".into(), "notes".into()],
            fields: vec![(Field::PhoneNumber, 1)],
        };
        assert_eq!(layout.ignored(), ["id", "notes"]);
    }
}
