//! `GET /api/members/batch/{id}/rejects`: the way to the report of refused rows. The report
//! itself comes from S3, by a URL that is good for a few minutes.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::http::header::{ACCEPT, LOCATION};
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::batch::REPORT_DAYS;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, batch_view};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::{Files, REPORT_URL_SECONDS};
use mpulse_shared::time::Timestamp;
use serde_json::json;

struct Function {
    access: Access,
    batches: Batches,
    files: Files,
}

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    let function = Arc::new(Function {
        access: Access::from_setup(setup)?,
        batches: Batches::from_setup(setup)?,
        files: Files::from_setup(setup)?,
    });
    Ok(http::service(move |request| {
        let function = Arc::clone(&function);
        async move { get(&function, &request).await }
    }))
}

async fn get(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Reader, request).await?;
    let batch = batch_view::requested(&function.batches, request, &caller.accounts).await?;
    let now = Timestamp::now();
    let told = batch.told_status(false, now);
    if !told.has_ended() {
        return Err(Problem::conflict(
            "The batch has not ended yet; its report is made at the end.",
        ));
    }
    if !batch.has_report {
        return Err(Problem::not_found("The batch has no refused rows."));
    }
    if !batch.keeps_report(now) {
        return Err(Problem::not_found(format!(
            "The report was kept for {REPORT_DAYS} days and is gone."
        )));
    }
    let url = function.files.report_url(&batch).await?;
    // Some clients forward their Authorization header along a redirect, which S3 refuses
    // beside a signed URL. They can ask for the URL instead.
    if wants_json(request) {
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

fn wants_json(request: &Request) -> bool {
    request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}
