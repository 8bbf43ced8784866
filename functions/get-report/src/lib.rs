//! `GET /api/members/batch/{id}/rejects` and `GET /api/members/batch/{id}/changes`: the reports of a batch. The response
//! redirects to S3, with a URL that is valid for a few minutes. It is signed for the method of the request, GET or HEAD,
//! because clients repeat the method at the target of a redirection.

use lambda_http::http::header::{ACCEPT, LOCATION};
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::{Batch, REPORT_DAYS};
use mpulse_shared::http::{self, Service, batch_view};
use mpulse_shared::key::Role;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::{Files, REPORT_URL_SECONDS, ReportKind};
use mpulse_shared::time::Timestamp;
use serde_json::json;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Reader, get)
}

async fn get(
    (batches, files): (Batches, Files),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let kind = kind(&request)?;
    let batch = batch_view::requested(&batches, &request, &caller.accounts).await?;
    let now = Timestamp::now();
    check(&batch, kind, now)?;
    let is_head = *request.method() == Method::HEAD;
    let url = files.report_url(&batch, kind, is_head).await?;
    // Some clients send their Authorization header to the redirect's target, and S3 rejects a
    // request that has both the header and a signed URL. They can request the URL as JSON instead.
    if wants_json(&request) {
        let seconds = i64::try_from(REPORT_URL_SECONDS).unwrap_or(i64::MAX);
        let expires_at = now.plus_millis(seconds * 1000);
        return http::json(
            StatusCode::OK,
            &json!({"url": url, "expires_at": expires_at}),
        );
    }
    let mut response = http::with_body(StatusCode::FOUND, "text/plain", Body::Empty);
    http::set_header(&mut response, LOCATION, &url)?;
    Ok(response)
}

/// Returns the report that the path and the query name.
fn kind(request: &Request) -> Result<ReportKind, Problem> {
    if request
        .uri()
        .path()
        .trim_end_matches('/')
        .ends_with("/changes")
    {
        return Ok(ReportKind::Changes);
    }
    match http::query(request)?.get("format").map(String::as_str) {
        None | Some("csv") => Ok(ReportKind::Rejects),
        Some("xlsx") => Ok(ReportKind::RejectsWorkbook),
        Some(_) => Err(Problem::invalid_field(
            "format",
            "invalid_format",
            "must be csv or xlsx",
        )),
    }
}

/// Checks that a batch has a report.
fn check(batch: &Batch, kind: ReportKind, now: Timestamp) -> Result<(), Problem> {
    if !batch.status_at(false, now).has_ended() {
        return Err(Problem::conflict(
            "The batch has not ended yet. Its report is made at the end.",
        ));
    }
    let (missing, is_available) = match kind {
        ReportKind::Changes => (batch.why_no_changes(), batch.changes_are_available(now)),
        ReportKind::Rejects | ReportKind::RejectsWorkbook => (
            (!batch.has_report).then_some("The batch has no rejected rows."),
            batch.report_is_available(now),
        ),
    };
    if let Some(reason) = missing {
        return Err(Problem::not_found(reason));
    }
    if !is_available {
        return Err(Problem::not_found(format!(
            "The report was deleted after {REPORT_DAYS} days."
        )));
    }
    if kind == ReportKind::RejectsWorkbook && !batch.has_workbook {
        return Err(Problem::not_found(
            "The report has too many rows for a workbook. Download it as CSV.",
        ));
    }
    Ok(())
}

fn wants_json(request: &Request) -> bool {
    request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}

#[cfg(test)]
mod tests {
    use mpulse_shared::batch::{BatchRequest, Mode, Status};
    use mpulse_shared::scope::Scope;

    use super::*;

    #[test]
    fn the_changes_of_a_batch_are_available_from_its_end_for_thirty_days() {
        let now = Timestamp::now();
        let request = BatchRequest::default();
        let mut batch = Batch::new(request, "key:a".into(), Scope::ALL, now);
        let has = |batch: &Batch, now| check(batch, ReportKind::Changes, now).is_ok();
        batch.has_changes = true;
        assert!(!has(&batch, now), "it has not ended");
        batch.status = Status::Completed;
        batch.finished_at = Some(now);
        assert!(has(&batch, now));
        assert!(check(&batch, ReportKind::Rejects, now).is_err());
        assert!(!has(
            &batch,
            now.plus_millis(REPORT_DAYS * 24 * 3600 * 1000)
        ));
        batch.has_changes = false;
        for (mode, changes) in [
            (Mode::Upsert, true),
            (Mode::Upsert, false),
            (Mode::Overwrite, false),
        ] {
            (batch.mode, batch.changes) = (mode, changes);
            assert!(!has(&batch, now), "{mode:?} {changes}");
        }
    }
}
