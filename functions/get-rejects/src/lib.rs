//! `GET /api/members/batch/{id}/rejects`: the report of rejected rows. The response redirects to
//! S3, with a URL that is valid for a few minutes.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{ACCEPT, LOCATION};
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::REPORT_DAYS;
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
    let format = format(&request)?;
    let batch = batch_view::requested(&batches, &request, &caller.accounts).await?;
    let now = Timestamp::now();
    let status = batch.status_at(false, now);
    if !status.has_ended() {
        return Err(Problem::conflict(
            "The batch has not ended yet. Its report is made at the end.",
        ));
    }
    if !batch.has_report {
        return Err(Problem::not_found("The batch has no rejected rows."));
    }
    if !batch.report_is_available(now) {
        return Err(Problem::not_found(format!(
            "The report was deleted after {REPORT_DAYS} days."
        )));
    }
    if format == ReportKind::RejectsWorkbook && !batch.has_workbook {
        return Err(Problem::not_found(
            "The report has too many rows for a workbook. Download it as CSV.",
        ));
    }
    let url = files.report_url(&batch, format).await?;
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

/// Returns the form of the report that the query names.
fn format(request: &Request) -> Result<ReportKind, Problem> {
    match request.query_string_parameters().first("format") {
        None | Some("csv") => Ok(ReportKind::Rejects),
        Some("xlsx") => Ok(ReportKind::RejectsWorkbook),
        Some(_) => Err(Problem::invalid_field(
            "format",
            "invalid_format",
            "must be csv or xlsx",
        )),
    }
}

fn wants_json(request: &Request) -> bool {
    request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}
