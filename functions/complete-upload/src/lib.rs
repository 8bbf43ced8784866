//! `POST /api/members/batch/{id}/complete`: makes one object of the parts of a batch's file, once
//! all of them have arrived. A repeated call returns the same response, because a client may have
//! lost the first one.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::{Batch, Status, UploadedObject};
use mpulse_shared::http::batch_view::{self, BatchView};
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::key::Role;
use mpulse_shared::parts::{PartLayout, numbers_as_text};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::Files;
use mpulse_shared::store::parts::{Completion, Parts, ReceivedPart};
use mpulse_shared::time::Timestamp;

/// The maximum number of runs of missing parts that a problem lists.
const MAX_RUNS: usize = 5;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Writer, complete)
}

async fn complete(
    (batches, files, parts): (Batches, Files, Parts),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let mine = &caller.accounts;
    // A part may be sent again between the listing and the completion; then the parts are listed
    // again.
    for _ in 0..http::ATTEMPTS {
        let batch = batch_view::requested(&batches, &request, mine).await?;
        let awaits_parts = awaits_file(&batch) && batch.multipart.is_some();
        let completion = if awaits_parts {
            join(&batches, &parts, &batch).await?
        } else {
            Completion::NoSuchUpload
        };
        if completion == Completion::PartsChanged {
            continue;
        }
        if completion == Completion::Completed {
            tracing::info!(batch_id = %batch.batch_id, "completed an upload");
        }
        // The batch may be running already, or cancelled. S3 is read before the record is read
        // again: if the object is gone, the record then says why.
        let uploaded = files.find_awaited(&batch).await?;
        let batch = batch_view::requested(&batches, &request, mine).await?;
        return arrived(&request, &batch, uploaded);
    }
    Err(Problem::conflict(
        "Parts are still being sent. Complete the upload when all have arrived.",
    ))
}

/// Returns whether the batch waits for its file, according to its record.
fn awaits_file(batch: &Batch) -> bool {
    batch.status_at(false, Timestamp::now()) == Status::AwaitingUpload
}

/// Completes the upload, if all parts have arrived and the batch is not cancelled.
async fn join(batches: &Batches, parts: &Parts, batch: &Batch) -> Result<Completion, Problem> {
    let Some((upload, layout)) = batch.multipart.as_ref().zip(batch.part_layout()) else {
        return Ok(Completion::NoSuchUpload);
    };
    let id = &batch.batch_id;
    let Some(received) = parts.all(id, upload).await? else {
        return Ok(Completion::NoSuchUpload);
    };
    let missing = missing(layout, &received);
    if !missing.is_empty() {
        return Err(incomplete(layout, &missing));
    }
    // Listing takes time. If the batch is cancelled after this read, the cancellation deletes the
    // object.
    let now = batches.get(id).await?;
    if !now.is_some_and(|batch| awaits_file(&batch)) {
        return Ok(Completion::NoSuchUpload);
    }
    Ok(parts.complete(id, upload, &received).await?)
}

/// Returns the response if the file has arrived: 202 and the batch. If it never arrived, or the
/// batch was cancelled, that is a conflict.
fn arrived(
    request: &Request,
    batch: &Batch,
    uploaded: Option<UploadedObject>,
) -> Result<Response<Body>, Problem> {
    let now = Timestamp::now();
    // Once a run has started, the record has more information than the object.
    let uploaded = uploaded.filter(|_| batch.status == Status::AwaitingUpload);
    let status = batch.status_at(uploaded.is_some(), now);
    let has_file = match status {
        Status::Queued
        | Status::Processing
        | Status::Cancelling
        | Status::Completed
        | Status::CompletedWithRejects
        | Status::Failed => true,
        Status::AwaitingUpload | Status::Cancelled | Status::Expired => false,
    };
    if batch.multipart.is_none() || !has_file {
        return Err(batch_view::not_awaiting_parts(batch, status));
    }
    let view = BatchView::new(batch, uploaded, &link::base(request), now);
    http::json(StatusCode::ACCEPTED, &view)
}

/// Returns the numbers of the parts that have not arrived completely.
fn missing(layout: PartLayout, received: &[ReceivedPart]) -> Vec<u64> {
    let mut received = received.iter().peekable();
    layout
        .parts_from(1, layout.count())
        .filter(|part| {
            let there = received.next_if(|there| there.number == part.number);
            !there.is_some_and(|there| there.is_complete(*part))
        })
        .map(|part| part.number)
        .collect()
}

fn incomplete(layout: PartLayout, missing: &[u64]) -> Problem {
    let (numbers, count) = (numbers_as_text(missing, MAX_RUNS), layout.count());
    Problem::conflict(match missing {
        [_] => format!("Part {numbers} of {count} has not arrived."),
        _ => format!("Parts {numbers} of {count} have not arrived."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_another_size_is_missing() {
        let layout = PartLayout {
            file: 25,
            part_size: 10,
        };
        let received = |number, size| ReceivedPart {
            number,
            size,
            e_tag: String::new(),
        };
        let all = [received(1, 10), received(2, 10), received(3, 5)];
        assert!(missing(layout, &all).is_empty());
        assert_eq!(missing(layout, &all[1..]), [1]);
        assert_eq!(missing(layout, &[received(1, 10), received(3, 10)]), [2, 3]);
        assert_eq!(missing(layout, &[received(2, 10)]), [1, 3]);
    }
}
