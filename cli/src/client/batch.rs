//! A batch and its upload, as the API returns them. Fields that this command does not show are not read, and
//! fields that an older or newer system omits have defaults: the contract grows by adding.

use std::collections::BTreeMap;
use std::fmt;

use mpulse_shared::batch::Limit;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of a request that creates a batch.
#[derive(Debug, Serialize)]
pub struct NewBatch {
    /// The file's name.
    pub file_name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is sent in parts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub multipart: bool,
    /// The account of rows, for a file without an account column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// How rows of existing members are handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// Which members may be removed, in mode `replace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removal: Option<NewRemoval>,
    /// Whether the batch reports its changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<bool>,
    /// Whether the batch only predicts its result.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The batch whose corrected report this file is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_batch_id: Option<String>,
    /// How to read the file.
    #[serde(flatten)]
    pub format: Format,
}

/// Which members a batch of mode `replace` may remove: a field of a request that creates a batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewRemoval {
    /// The most members that may be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Whether members are removed although there are rows whose client member id cannot be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub despite_unreadable_rows: bool,
}

/// How to read a file: fields of a request that creates a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Format {
    /// The fields of columns, by name or in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Value>,
    /// Whether the file has a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The country of phone numbers without a country code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_region: Option<String>,
    /// The charset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The sheet of a workbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Whether the batch stops if nearly all of the first rows are rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_early: Option<bool>,
}

/// The fields of a batch that this command shows.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Batch {
    /// Its id.
    #[serde(rename = "batch_id")]
    pub id: String,
    /// Its status; a text, since later versions may add values.
    pub status: String,
    /// How rows of existing members are handled; a text, since later versions may add values.
    #[serde(default)]
    pub mode: String,
    /// Whether it only predicts its result.
    #[serde(default)]
    pub dry_run: bool,
    /// The batch that applies this dry run.
    #[serde(default)]
    pub applied_by: Option<String>,
    /// The file's name.
    #[serde(default)]
    pub file_name: Option<String>,
    /// Bytes read.
    #[serde(default)]
    pub bytes: Bytes,
    /// Rows by outcome.
    #[serde(default)]
    pub rows: Rows,
    /// Rows per second; of the whole batch once it has ended.
    #[serde(default)]
    pub rows_per_second: Option<f64>,
    /// The remaining seconds.
    #[serde(default)]
    pub eta_seconds: Option<f64>,
    /// The number of runs.
    #[serde(default)]
    pub attempts: u32,
    /// The price of its reads and writes, by the list price; for a dry run, of those of applying it.
    #[serde(default)]
    pub price: Option<Price>,
    /// Columns of the file that are ignored.
    #[serde(default)]
    pub ignored_columns: Vec<String>,
    /// What was accepted and looks wrong.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Why it failed.
    #[serde(default)]
    pub problem: Option<Value>,
    /// Related URLs.
    #[serde(default)]
    pub links: Links,
}

/// One kind of warning.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Warning {
    /// Its code.
    pub code: String,
    /// What looks wrong.
    pub message: String,
    /// The number of rows.
    pub count: u64,
    /// The line of the first row.
    pub line: Option<u64>,
}

/// How much of the file has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Bytes {
    /// The file's size, if it is known.
    #[serde(default)]
    pub total: Option<u64>,
    /// Bytes read.
    #[serde(default)]
    pub done: Option<u64>,
}

/// Rows by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rows {
    /// Data rows of the file.
    pub read: u64,
    /// Members of the account that are not in the file, in mode `replace`.
    pub absent: u64,
    /// Rows that created a member.
    pub created: u64,
    /// Rows that changed a member.
    pub updated: u64,
    /// Rows that equal the existing member.
    pub unchanged: u64,
    /// Rows older than the last write of the member.
    pub superseded: u64,
    /// Rejected rows.
    pub rejected: u64,
    /// Members that were removed.
    pub removed: u64,
}

impl Rows {
    /// Returns the number of changes of members.
    pub fn changed(&self) -> u64 {
        self.created + self.updated + self.removed
    }
}

/// An estimated price.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Price {
    /// US dollars.
    pub usd: f64,
    /// The region of the prices.
    #[serde(default)]
    pub region: String,
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { usd, region } = self;
        write!(f, "${usd:.4} (DynamoDB on demand, {region})")
    }
}

/// URLs of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Links {
    /// The report of rejected rows.
    pub rejects: Option<String>,
    /// The parts of its file, while the batch waits for them.
    pub parts: Option<String>,
    /// The report of changes.
    pub changes: Option<String>,
    /// What applies it, if it is a dry run that can be applied.
    pub apply: Option<String>,
    /// What takes its changes back.
    pub revert: Option<String>,
}

impl Batch {
    /// Returns whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.is_complete() || matches!(&*self.status, "failed" | "cancelled" | "expired")
    }

    /// Returns whether every row was processed.
    pub fn is_complete(&self) -> bool {
        matches!(&*self.status, "completed" | "completed_with_rejects")
    }

    /// Returns whether it is a dry run that predicted the result of every row.
    pub fn is_plan(&self) -> bool {
        self.dry_run && self.is_complete()
    }

    /// Returns whether it may remove members.
    pub fn may_remove(&self) -> bool {
        matches!(&*self.mode, "replace" | "revert")
    }

    /// Returns whether it waits for its file.
    pub fn awaits_upload(&self) -> bool {
        self.status == "awaiting_upload"
    }

    /// Returns why it failed.
    pub fn problem_text(&self) -> Option<String> {
        let problem = self.problem.as_ref().filter(|value| !value.is_null())?;
        let word = |name: &str| problem.get(name)?.as_str();
        let text = word("message")
            .or_else(|| word("detail"))
            .or_else(|| word("title"));
        Some(match (text.or_else(|| problem.as_str()), word("code")) {
            (Some(text), Some(code)) => format!("{text} ({code})"),
            (Some(text), None) => text.to_owned(),
            (None, _) => problem.to_string(),
        })
    }
}

/// A batch that was just created.
#[derive(Debug, Deserialize)]
pub struct Created {
    /// The batch.
    #[serde(flatten)]
    pub batch: Batch,
    /// How to send its file.
    pub upload: Upload,
}

/// How to send a file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Upload {
    /// By one request.
    Whole(Request),
    /// In parts.
    InParts {
        /// The number of parts.
        part_count: u64,
    },
}

/// Where to download a report.
#[derive(Debug, Deserialize)]
pub struct ReportUrl {
    /// The URL, whose signature expires.
    pub url: String,
}

/// Some of the parts of a file.
#[derive(Debug, Deserialize)]
pub struct PartPage {
    /// The number of parts of the file.
    pub part_count: u64,
    /// The requested parts.
    pub results: Vec<Part>,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    #[serde(rename = "part_number")]
    pub number: u64,
    /// Its offset in the file, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag in S3, if it has arrived.
    pub etag: Option<String>,
    /// Its upload URL, whose signature expires.
    pub url: Option<String>,
}

/// The request that sends a whole file.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// The method, PUT.
    pub method: String,
    /// The URL, whose signature is valid for one object and expires.
    pub url: String,
    /// The headers that are part of the signature.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}
