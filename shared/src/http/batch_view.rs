//! A batch as clients see it: the record without what is only ingest's business, and
//! with what can be worked out.

use lambda_http::{Request, RequestExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::problem::Problem;
use crate::batch::{Batch, BatchId, Status};
use crate::store::batches::Batches;
use crate::time::Timestamp;

/// The batch that the path names.
///
/// # Errors
/// 404 where there is none.
pub async fn requested(batches: &Batches, request: &Request) -> Result<Batch, Problem> {
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let missing = || Problem::not_found(format!("There is no batch {id}."));
    let key: BatchId = id.parse().map_err(|_| missing())?;
    batches.get(&key).await?.ok_or_else(missing)
}

/// What S3 says of the uploaded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploaded {
    /// Its size.
    pub bytes: u64,
}

/// The batch as JSON. `uploaded` is what S3 says where the record still awaits the upload.
#[must_use]
pub fn batch_json(batch: &Batch, uploaded: Option<Uploaded>, base: &str, now: Timestamp) -> Value {
    let status = batch.told_status(uploaded.is_some(), now);
    let at = &batch.checkpoint;
    let total = uploaded.map(|u| u.bytes).or(batch.bytes_total);
    let this = format!("{base}/api/members/batch/{}", batch.batch_id);
    json!({
        "batch_id": batch.batch_id,
        "status": status,
        "mode": batch.mode,
        "file_name": batch.file_name,
        "account_id": batch.account_id,
        "created_by": batch.created_by,
        "created_at": batch.created_at,
        "started_at": batch.started_at,
        "updated_at": batch.updated_at,
        "finished_at": batch.finished_at,
        "attempts": batch.attempts,
        "bytes": {
            "total": total,
            "done": at.counted.offset,
            "percent": percent(at.counted.offset, total, status),
        },
        "rows": at.rows,
        "rows_per_second": at.rows_per_second,
        "eta_seconds": eta(batch, total),
        "capacity": at.capacity,
        "ignored_columns": at.layout.as_ref().map(crate::batch::Layout::ignored).unwrap_or_default(),
        "problem": batch.problem,
        "links": Links {
            rejects: batch.has_report.then(|| format!("{this}/rejects")),
            this,
        },
    })
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    this: String,
    rejects: Option<String>,
}

/// Done of total in percent, with one decimal.
fn percent(done: u64, total: Option<u64>, status: Status) -> f64 {
    match total {
        Some(total) if total > 0 => {
            // Tenths of a percent fit a double exactly.
            #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
            let tenths = (u128::from(done) * 1000 / u128::from(total)).min(1000) as f64;
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

    #[test]
    fn percent_and_time_left_follow_from_bytes() {
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), now);
        batch.status = Status::Processing;
        batch.bytes_total = Some(104_857_600);
        batch.checkpoint.counted.offset = 40_265_318;
        batch.checkpoint.bytes_per_second = 1_000_000;
        let view = batch_json(&batch, None, "http://x", now);
        assert_eq!(view["bytes"]["percent"], 38.3);
        assert_eq!(view["eta_seconds"], 64);
        assert_eq!(
            view["links"]["self"],
            format!("http://x/api/members/batch/{}", batch.batch_id)
        );
        assert_eq!(view["links"]["rejects"], Value::Null);
    }
}
