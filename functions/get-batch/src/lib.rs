//! `GET /api/members/batch/{id}`: how far a batch is.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::http::batch_view::{self, BatchView};
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;

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
    let uploaded = function.files.find_awaited(&batch).await?;
    let view = BatchView::new(&batch, uploaded, &link::base(request), Timestamp::now());
    http::json(StatusCode::OK, &view)
}
