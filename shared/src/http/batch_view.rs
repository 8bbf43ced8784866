//! The JSON view of a batch: its record without the fields that only ingest uses, and with derived
//! values. Also finds the batch that a request names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use lambda_http::{Request, RequestExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::batch::{
    Batch, BatchId, BatchProblem, Capacity, Columns, LateUploads, Layout, Mode, Removal, Rows,
    Status, UploadedObject,
};
use crate::price::Price;
use crate::problem::Problem;
use crate::scope::Scope;
use crate::store::batches::Batches;
use crate::time::Timestamp;

/// Returns the batch that the path names.
///
/// # Errors
/// Returns 404 if there is none, or if its accounts are not all within the scope.
pub async fn requested(
    batches: &Batches,
    request: &Request,
    scope: &Scope,
) -> Result<Batch, Problem> {
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let missing = || Problem::not_found(format!("The batch {id} does not exist."));
    let key: BatchId = id.parse().map_err(|_| missing())?;
    let batch = batches.get(&key).await?;
    batch
        .filter(|batch| scope.includes(&batch.accounts))
        .ok_or_else(missing)
}

/// Returns the problem of a request for parts of a batch that does not wait for parts.
#[must_use]
pub fn not_awaiting_parts(batch: &Batch, status: Status) -> Problem {
    let status_name = status.name();
    Problem::conflict(match (&batch.multipart, status) {
        (None, _) => {
            format!("The file of this batch is not sent in parts; its status is {status_name}.")
        }
        (Some(_), Status::AwaitingUpload) => {
            "The multipart upload of this batch no longer exists in S3, and \
             its parts are deleted. Create another batch."
                .to_owned()
        }
        (Some(_), _) => format!("The batch does not wait for parts: its status is {status_name}."),
    })
}

/// The JSON view of a batch.
#[derive(Debug, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are fields of the response"
)]
pub struct BatchView<'a> {
    batch_id: &'a BatchId,
    status: Status,
    mode: Mode,
    file_name: Option<&'a str>,
    account_id: Option<&'a str>,
    columns: Option<&'a Columns>,
    header: bool,
    default_region: Option<&'a str>,
    encoding: Option<&'a str>,
    sheet: Option<&'a str>,
    stop_early: bool,
    dry_run: bool,
    changes: bool,
    /// `None` unless the mode is `replace` or `erase`.
    removal: Option<Removal>,
    parent_batch_id: Option<&'a BatchId>,
    applied_by: Option<&'a BatchId>,
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
    /// `None` unless it is a dry run.
    predicted_capacity: Option<Capacity>,
    throttles: u64,
    /// The price of the predicted units of a dry run, and of the consumed ones otherwise.
    price: Price,
    ignored_columns: Vec<String>,
    warnings: Vec<WarningView>,
    problem: Option<BatchProblem>,
    links: Links,
    /// Where to send the file; only in the response that creates a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<UploadTarget>,
}

/// One kind of warning.
#[derive(Debug, Serialize)]
struct WarningView {
    code: Value,
    message: Cow<'static, str>,
    count: u64,
    /// The line of the first row; `None` if the warning is not about rows.
    line: Option<u64>,
}

/// Returns the warnings of a batch.
fn warnings(batch: &Batch) -> Vec<WarningView> {
    let about_rows = batch.checkpoint.warnings.iter();
    let mut warnings: Vec<WarningView> = about_rows
        .map(|(code, rows)| WarningView {
            code: json!(code),
            message: code.message().into(),
            count: rows.count,
            line: Some(rows.line),
        })
        .collect();
    if let Some(late) = &batch.late_uploads {
        let LateUploads {
            count,
            last_at,
            bytes,
        } = late;
        warnings.push(WarningView {
            code: json!("late_upload"),
            message: format!(
                "A file of {bytes} bytes arrived at {last_at}, after the end of the batch. It was deleted unread. Create another batch for it."
            )
            .into(),
            count: *count,
            line: None,
        });
    }
    warnings
}

/// The progress in bytes.
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
    rejects_xlsx: Option<String>,
    changes: Option<String>,
    apply: Option<String>,
    revert: Option<String>,
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
        /// The headers that are part of the signature.
        headers: BTreeMap<&'static str, String>,
        /// When the URL expires.
        expires_at: Timestamp,
    },
    /// In parts.
    Parts {
        /// The HTTP method of each part.
        method: &'static str,
        /// The size of each part except the last, in bytes.
        part_size: u64,
        /// The number of parts.
        part_count: u64,
        /// The URL of the list of parts, with their upload URLs.
        parts: String,
        /// The URL to call when all parts have been sent.
        complete: String,
        /// Until when parts are accepted.
        expires_at: Timestamp,
    },
}

/// Returns the URL of a batch.
#[must_use]
pub fn url(base: &str, id: &BatchId) -> String {
    format!("{base}/api/members/batch/{id}")
}

/// Returns the URL of the parts of a batch's file.
#[must_use]
pub fn parts_url(base: &str, id: &BatchId) -> String {
    format!("{}/parts", url(base, id))
}

/// Returns the URL that completes the upload of a batch's file.
#[must_use]
pub fn complete_url(base: &str, id: &BatchId) -> String {
    format!("{}/complete", url(base, id))
}

impl<'a> BatchView<'a> {
    /// Creates the view of a batch. `uploaded` is the object if the record still waits for it;
    /// `base` is the API's URL.
    #[must_use]
    pub fn new(
        batch: &'a Batch,
        uploaded: Option<UploadedObject>,
        base: &str,
        now: Timestamp,
    ) -> Self {
        let status = batch.status_at(uploaded.is_some(), now);
        let (at, format) = (&batch.checkpoint, &batch.format);
        // Records of before that field existed are of plain files.
        let done = match at.bytes_done {
            0 => at.counted.offset,
            done => done,
        };
        let reports = batch.report_is_available(now);
        let predicted_capacity = batch.predicted_capacity();
        let total = uploaded.map(|u| u.bytes).or(batch.bytes_total);
        let this = url(base, &batch.batch_id);
        let awaits_parts = status == Status::AwaitingUpload && batch.multipart.is_some();
        Self {
            batch_id: &batch.batch_id,
            status,
            mode: batch.mode,
            file_name: batch.file_name.as_deref(),
            account_id: batch.account_id.as_deref(),
            columns: format.columns.as_ref(),
            header: format.header,
            default_region: format.default_region.as_deref(),
            encoding: format.encoding.as_deref(),
            sheet: format.sheet.as_deref(),
            stop_early: format.stop_early,
            dry_run: batch.dry_run,
            changes: batch.changes,
            removal: batch.mode.removes_absent().then_some(batch.removal),
            parent_batch_id: batch.parent_batch_id.as_ref(),
            applied_by: batch.applied_by.as_ref(),
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
                done,
                percent: percent(done, total, status),
            },
            rows: at.rows,
            rows_per_second: at.rows_per_second,
            eta_seconds: eta(batch, total),
            capacity: at.capacity,
            predicted_capacity,
            throttles: at.throttles,
            price: Price::of(predicted_capacity.unwrap_or(at.capacity)),
            ignored_columns: at.layout.as_ref().map(Layout::ignored).unwrap_or_default(),
            warnings: warnings(batch),
            problem: batch.reported_problem(),
            links: Links {
                rejects: reports.then(|| format!("{this}/rejects")),
                rejects_xlsx: (reports && batch.has_workbook)
                    .then(|| format!("{this}/rejects?format=xlsx")),
                changes: (status.has_ended() && batch.changes_are_available(now))
                    .then(|| format!("{this}/changes")),
                apply: batch.can_be_applied(now).then(|| format!("{this}/apply")),
                revert: batch.can_be_reverted(now).then(|| format!("{this}/revert")),
                parts: awaits_parts.then(|| parts_url(base, &batch.batch_id)),
                this,
            },
            upload: None,
        }
    }

    /// Adds where to send the file.
    #[must_use]
    pub fn with_upload(mut self, upload: UploadTarget) -> Self {
        self.upload = Some(upload);
        self
    }
}

/// Returns `done` as a percentage of `total`, with one decimal.
fn percent(done: u64, total: Option<u64>, status: Status) -> f64 {
    match total {
        Some(total) if total > 0 => {
            let (done, total) = (u128::from(done), u128::from(total));
            let rounded = (done * 1000 + total / 2) / total;
            // Tenths of a percent are exact in a double. 100 is reserved for a finished file.
            #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
            let tenths = rounded.min(if done < total { 999 } else { 1000 }) as f64;
            tenths / 10.0
        }
        _ if status == Status::Completed || status == Status::CompletedWithRejects => 100.0,
        _ => 0.0,
    }
}

/// Returns the remaining seconds at the current rate; `None` before the first checkpoint of a run.
fn eta(batch: &Batch, total: Option<u64>) -> Option<u64> {
    if batch.status != Status::Processing {
        return None;
    }
    let remaining = total?.saturating_sub(batch.checkpoint.bytes_done);
    remaining.checked_div(batch.checkpoint.bytes_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchRequest;
    use crate::parts::Multipart;

    #[test]
    fn percent_and_remaining_time_are_computed_from_bytes() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), Scope::ALL, now);
        batch.status = Status::Processing;
        batch.bytes_total = Some(104_857_600);
        batch.checkpoint.bytes_done = 40_265_318;
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
    fn a_dry_run_shows_what_applying_it_would_cost() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), Scope::ALL, now);
        batch.checkpoint.capacity.read_units = 8.0;
        batch.checkpoint.predicted_write_units = 1e6;
        let view = |batch: &Batch| {
            serde_json::to_value(BatchView::new(batch, None, "http://x", now)).unwrap()
        };
        assert_eq!(view(&batch)["predicted_capacity"], Value::Null);
        assert_eq!(view(&batch)["price"]["usd"], 0.000_001);
        batch.dry_run = true;
        assert_eq!(
            view(&batch)["predicted_capacity"],
            json!({"read_units": 8.0, "write_units": 1e6})
        );
        assert_eq!(view(&batch)["price"]["usd"], 0.625_001);
    }

    #[test]
    fn removal_is_shown_in_mode_replace_only() {
        let now = Timestamp::now();
        let removal = |mode| {
            let request = BatchRequest {
                mode,
                ..BatchRequest::default()
            };
            let batch = Batch::new(request, "key:a".into(), Scope::ALL, now);
            let view = BatchView::new(&batch, None, "http://x", now);
            serde_json::to_value(view).unwrap()["removal"].take()
        };
        assert_eq!(removal(Mode::Upsert), Value::Null);
        assert_eq!(
            removal(Mode::Replace),
            json!({"limit": "10%", "despite_unreadable_rows": false})
        );
    }

    #[test]
    fn an_ended_batch_links_to_its_changes_and_to_what_can_be_done_with_them() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), Scope::ALL, now);
        let links = |batch: &Batch| {
            let view = BatchView::new(batch, None, "http://x", now);
            let links = &serde_json::to_value(view).unwrap()["links"];
            ["changes", "apply", "revert"].map(|name| !links[name].is_null())
        };
        batch.has_changes = true;
        assert_eq!(links(&batch), [false, false, false]);
        batch.status = Status::Completed;
        batch.finished_at = Some(now);
        assert_eq!(links(&batch), [true, false, true]);
        batch.dry_run = true;
        assert_eq!(links(&batch), [true, true, false]);
        batch.has_changes = false;
        assert_eq!(links(&batch), [false, true, false]);
        batch.applied_by = Some(BatchId::generate());
        assert_eq!(links(&batch), [false, false, false]);
    }

    #[test]
    fn parts_have_a_link_while_the_batch_waits_for_them() {
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
        assert!(link(&batch, Some(UploadedObject { bytes: 5 }), now).is_null());
        assert!(link(&batch, None, late).is_null());
        batch.status = Status::Cancelled;
        assert!(link(&batch, None, now).is_null());
    }
}
