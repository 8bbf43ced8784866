//! `GET /api/members/batch/{id}`: the status of a batch.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::batch_view::{self, BatchView};
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::key::Role;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
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
    (batches, files): (Batches, Files),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let batch = batch_view::requested(&batches, &request, &caller.accounts).await?;
    let uploaded = files.find_awaited(&batch).await?;
    let view = BatchView::new(&batch, uploaded, &link::base(&request), Timestamp::now());
    http::json(StatusCode::OK, &view)
}
