//! `DELETE /api/members/batch/{id}`: cancels a batch. If no run has started, the batch is cancelled
//! at once: what has arrived of its file is deleted, and so is a file that arrives later. A running
//! batch stops at its next checkpoint and keeps what it has written.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::Status;
use mpulse_shared::http::batch_view::{self, BatchView};
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::key::Role;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::events::{Event, Events};
use mpulse_shared::store::files::Files;
use mpulse_shared::store::parts::Parts;
use mpulse_shared::time::Timestamp;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Writer, cancel)
}

async fn cancel(
    (batches, files, parts, events): (Batches, Files, Parts, Events),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let mine = &caller.accounts;
    // If the status changes between the read and the write, the loop decides again.
    loop {
        let batch = batch_view::requested(&batches, &request, mine).await?;
        let now = Timestamp::now();
        let uploaded = files.find_awaited(&batch).await?;
        let status = batch.status_at(uploaded.is_some(), now);
        let Some(to) = status.when_cancelled() else {
            // An earlier request may have been interrupted before it sent the event.
            if batch.status == Status::Cancelled && batch.started_at.is_none() {
                events.send(Event::batch_ended(&batch)).await?;
            }
            return Err(Problem::conflict(format!(
                "The batch has already ended: its status is {}.",
                status.name()
            )));
        };
        let moved = batches
            .cancel(&batch.batch_id, batch.status, to, now)
            .await?;
        if !moved {
            continue;
        }
        if to == Status::Cancelled {
            // In this order: an upload that is completed before it is aborted becomes an object.
            if let Some(upload) = &batch.multipart {
                parts.abort(&batch.batch_id, upload).await?;
            }
            files.delete_upload(&batch).await?;
        }
        let batch = batch_view::requested(&batches, &request, mine).await?;
        tracing::info!(batch_id = %batch.batch_id, status = batch.status.name(), "cancelled a batch");
        if to == Status::Cancelled {
            events.send(Event::batch_ended(&batch)).await?;
        }
        let status = match batch.status {
            Status::Cancelled => StatusCode::OK,
            _ => StatusCode::ACCEPTED,
        };
        let view = BatchView::new(&batch, None, &link::base(&request), now);
        return http::json(status, &view);
    }
}
