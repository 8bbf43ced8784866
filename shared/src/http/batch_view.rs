//! A batch as clients see it: the record without what is only ingest's business, and
//! with what can be worked out.

use std::collections::{BTreeMap, BTreeSet};

use lambda_http::{Request, RequestExt};
use serde::Serialize;

use super::problem::Problem;
use crate::batch::{Batch, BatchId, BatchProblem, Capacity, Layout, Mode, Rows, Status};
use crate::price::Price;
use crate::scope::Scope;
use crate::store::batches::Batches;
use crate::time::Timestamp;

/// The batch that the path names.
///
/// # Errors
/// 404 where there is none whose accounts are all within the scope.
pub async fn requested(
    batches: &Batches,
    request: &Request,
    scope: &Scope,
) -> Result<Batch, Problem> {
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let missing = || Problem::not_found(format!("There is no batch {id}."));
    let key: BatchId = id.parse().map_err(|_| missing())?;
    let batch = batches.get(&key).await?;
    batch
        .filter(|batch| scope.includes(&batch.accounts))
        .ok_or_else(missing)
}

/// The refusal of what is about the parts of a file, for a batch that awaits none (any more).
#[must_use]
pub fn awaits_no_parts(batch: &Batch, status: Status) -> Problem {
    let status_name = status.name();
    Problem::conflict(match (&batch.multipart, status) {
        (None, _) => format!("The file of this batch doesn't come in parts; it is {status_name}."),
        (Some(_), Status::AwaitingUpload) => "S3 has no such upload any more, so its parts are \
             gone. Open another batch."
            .to_owned(),
        (Some(_), _) => format!("The batch awaits no parts: it is {status_name}."),
    })
}

/// What S3 says of the uploaded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploaded {
    /// Its size.
    pub bytes: u64,
}

/// A batch as clients see it.
#[derive(Debug, Serialize)]
pub struct BatchView<'a> {
    batch_id: &'a BatchId,
    status: Status,
    mode: Mode,
    file_name: Option<&'a str>,
    account_id: Option<&'a str>,
    parent_batch_id: Option<&'a BatchId>,
    child_batch_ids: &'a BTreeSet<BatchId>,
    created_by: &'a str,
    accounts: &'a Scope,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    updated_at: Timestamp,
    finished_at: Option<Timestamp>,
    attempts: u32,
    bytes: Progress,
    rows: Rows,
    rows_per_second: u64,
    eta_seconds: Option<u64>,
    capacity: Capacity,
    throttles: u64,
    price: Price,
    ignored_columns: Vec<String>,
    problem: Option<BatchProblem>,
    links: Links,
    /// Where to send the file; only in the answer that opens a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<UploadTarget>,
}

/// How much of the file is behind.
#[derive(Debug, Serialize)]
struct Progress {
    total: Option<u64>,
    done: u64,
    percent: f64,
}

#[derive(Debug, Serialize)]
struct Links {
    #[serde(rename = "self")]
    this: String,
    rejects: Option<String>,
    parts: Option<String>,
}

/// Where and how to send the file of a batch.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum UploadTarget {
    /// By one request.
    Whole {
        /// The HTTP method.
        method: &'static str,
        /// The signed URL.
        url: String,
        /// The headers that were signed with it.
        headers: BTreeMap<&'static str, String>,
        /// When the URL runs out.
        expires_at: Timestamp,
    },
    /// In parts.
    Parts {
        /// The HTTP method of each.
        method: &'static str,
        /// The size of each but the last, in bytes.
        part_size: u64,
        /// How many there are.
        part_count: u64,
        /// The URL that tells which are missing and where to send them.
        parts: String,
        /// The URL to call when all are sent.
        complete: String,
        /// Until when they are kept.
        expires_at: Timestamp,
    },
}

/// The URL of a batch.
#[must_use]
pub fn url(base: &str, id: &BatchId) -> String {
    format!("{base}/api/members/batch/{id}")
}

/// The URL of the parts of a batch's file.
#[must_use]
pub fn parts_url(base: &str, id: &BatchId) -> String {
    format!("{}/parts", url(base, id))
}

/// The URL that completes the upload of a batch's file.
#[must_use]
pub fn complete_url(base: &str, id: &BatchId) -> String {
    format!("{}/complete", url(base, id))
}

impl<'a> BatchView<'a> {
    /// The view of a batch. `uploaded` is what S3 says where the record still awaits the
    /// upload; `base` is the API's URL.
    #[must_use]
    pub fn new(batch: &'a Batch, uploaded: Option<Uploaded>, base: &str, now: Timestamp) -> Self {
        let status = batch.told_status(uploaded.is_some(), now);
        let at = &batch.checkpoint;
        let total = uploaded.map(|u| u.bytes).or(batch.bytes_total);
        let this = url(base, &batch.batch_id);
        let awaits_parts = status == Status::AwaitingUpload && batch.multipart.is_some();
        Self {
            batch_id: &batch.batch_id,
            status,
            mode: batch.mode,
            file_name: batch.file_name.as_deref(),
            account_id: batch.account_id.as_deref(),
            parent_batch_id: batch.parent_batch_id.as_ref(),
            child_batch_ids: &batch.child_batch_ids,
            created_by: &batch.created_by,
            accounts: &batch.accounts,
            created_at: batch.created_at,
            started_at: batch.started_at,
            updated_at: batch.updated_at,
            finished_at: batch.finished_at,
            attempts: batch.attempts,
            bytes: Progress {
                total,
                done: at.counted.offset,
                percent: percent(at.counted.offset, total, status),
            },
            rows: at.rows,
            rows_per_second: at.rows_per_second,
            eta_seconds: eta(batch, total),
            capacity: at.capacity,
            throttles: at.throttles,
            price: Price::of(at.capacity),
            ignored_columns: at.layout.as_ref().map(Layout::ignored).unwrap_or_default(),
            problem: batch.told_problem(),
            links: Links {
                rejects: batch.keeps_report(now).then(|| format!("{this}/rejects")),
                parts: awaits_parts.then(|| parts_url(base, &batch.batch_id)),
                this,
            },
            upload: None,
        }
    }

    /// The same, with where to send the file.
    #[must_use]
    pub fn with_upload(mut self, upload: UploadTarget) -> Self {
        self.upload = Some(upload);
        self
    }
}

/// Done of total in percent, with one decimal.
fn percent(done: u64, total: Option<u64>, status: Status) -> f64 {
    match total {
        Some(total) if total > 0 => {
            let (done, total) = (u128::from(done), u128::from(total));
            let rounded = (done * 1000 + total / 2) / total;
            // Tenths of a percent fit a double exactly. 100 is for what is done.
            #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
            let tenths = rounded.min(if done < total { 999 } else { 1000 }) as f64;
            tenths / 10.0
        }
        _ if status == Status::Completed || status == Status::CompletedWithRejects => 100.0,
        _ => 0.0,
    }
}

/// Seconds left at the present speed; unknown before the first checkpoint of a run.
fn eta(batch: &Batch, total: Option<u64>) -> Option<u64> {
    if batch.status != Status::Processing {
        return None;
    }
    let left = total?.saturating_sub(batch.checkpoint.counted.offset);
    left.checked_div(batch.checkpoint.bytes_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchRequest;
    use crate::parts::Multipart;

    #[test]
    fn percent_and_time_left_follow_from_bytes() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), Scope::ALL, now);
        batch.status = Status::Processing;
        batch.bytes_total = Some(104_857_600);
        batch.checkpoint.counted.offset = 40_265_318;
        batch.checkpoint.bytes_per_second = 1_000_000;
        let view = BatchView::new(&batch, None, "http://x", now);
        let view = serde_json::to_value(view).unwrap();
        assert_eq!(view["bytes"]["percent"], 38.4);
        assert_eq!(view["eta_seconds"], 64);
        assert_eq!(
            view["links"]["self"],
            format!("http://x/api/members/batch/{}", batch.batch_id)
        );
        assert_eq!(view["links"]["rejects"], serde_json::Value::Null);
        assert_eq!(view["links"]["parts"], serde_json::Value::Null);
    }

    #[test]
    fn the_parts_have_a_link_while_they_are_awaited() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), Scope::ALL, now);
        let late = batch.upload_expires_at.plus_millis(1);
        let link = |batch: &Batch, uploaded, now| {
            let view = BatchView::new(batch, uploaded, "http://x", now);
            serde_json::to_value(view).unwrap()["links"]["parts"].clone()
        };
        assert!(link(&batch, None, now).is_null());
        batch.multipart = Some(Multipart {
            upload_id: "7".into(),
            part_size: 5,
        });
        assert_eq!(
            link(&batch, None, now),
            format!("http://x/api/members/batch/{}/parts", batch.batch_id)
        );
        assert!(link(&batch, Some(Uploaded { bytes: 5 }), now).is_null());
        assert!(link(&batch, None, late).is_null());
        batch.status = Status::Cancelled;
        assert!(link(&batch, None, now).is_null());
    }
}
