//! `GET /api/exports/{id}`: the status of an export, with a signed URL of its file.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::export_view::{self, ExportView};
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::key::Role;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::exports::Exports;
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Reader, get)
}

async fn get(
    (exports, files): (Exports, Files),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let export = export_view::requested(&exports, &request, &caller.accounts).await?;
    let base = link::base(&request);
    let view = ExportView::new(&export, &files, &base, Timestamp::now()).await?;
    http::json(StatusCode::OK, &view)
}
