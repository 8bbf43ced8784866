//! `DELETE /api/members/batch/{id}`: stops a batch. One that no run has begun is cancelled
//! at once, with what has come of its file, and a file that comes late is deleted; a running one
//! stops at its next checkpoint and keeps what it wrote.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::batch::Status;
use mpulse_shared::http::batch_view::{self, BatchView};
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::Files;
use mpulse_shared::store::parts::Parts;
use mpulse_shared::time::Timestamp;

struct Function {
    access: Access,
    batches: Batches,
    files: Files,
    parts: Parts,
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
        parts: Parts::from_setup(setup)?,
    });
    Ok(http::service(move |request| {
        let function = Arc::clone(&function);
        async move { cancel(&function, &request).await }
    }))
}

async fn cancel(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Writer, request).await?;
    let mine = &caller.accounts;
    // The status may move on between the look and the change; then the new one decides.
    loop {
        let batch = batch_view::requested(&function.batches, request, mine).await?;
        let now = Timestamp::now();
        let uploaded = function.files.find_awaited(&batch).await?;
        let told = batch.told_status(uploaded.is_some(), now);
        let Some(to) = told.when_cancelled() else {
            return Err(Problem::conflict(format!(
                "The batch has ended already: it is {}.",
                told.name()
            )));
        };
        let moved = function
            .batches
            .cancel(&batch.batch_id, batch.status, to, now)
            .await?;
        if !moved {
            continue;
        }
        if to == Status::Cancelled {
            // In this order: an upload that is completed before it is aborted is an object.
            if let Some(upload) = &batch.multipart {
                function.parts.abort(&batch.batch_id, upload).await?;
            }
            function.files.delete_upload(&batch).await?;
        }
        let batch = batch_view::requested(&function.batches, request, mine).await?;
        tracing::info!(batch_id = %batch.batch_id, status = batch.status.name(), "cancelled a batch");
        let status = match batch.status {
            Status::Cancelled => StatusCode::OK,
            _ => StatusCode::ACCEPTED,
        };
        let view = BatchView::new(&batch, None, &link::base(request), now);
        return http::json(status, &view);
    }
}
