//! `POST /api/members/batch/{id}/complete`: makes one object of the parts of a batch's file,
//! once all of them have arrived. Called again it answers the same, since a client whose answer
//! was lost can't know that it was heard.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::batch::{Batch, Status};
use mpulse_shared::http::batch_view::{self, BatchView, Uploaded};
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::parts::{Cut, told};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::Files;
use mpulse_shared::store::parts::{Completion, Parts, Received};
use mpulse_shared::time::Timestamp;

/// The most runs of missing parts that a refusal names.
const MOST_RUNS: usize = 5;

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
        async move { complete(&function, &request).await }
    }))
}

async fn complete(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Writer, request).await?;
    let mine = &caller.accounts;
    // A part may be sent once more between the look and the joining; then it is looked at anew.
    for _ in 0..http::ATTEMPTS {
        let batch = batch_view::requested(&function.batches, request, mine).await?;
        let awaits_parts = awaits_file(&batch) && batch.multipart.is_some();
        let completion = if awaits_parts {
            join(function, &batch).await?
        } else {
            Completion::Unknown
        };
        if completion == Completion::PartsChanged {
            continue;
        }
        if completion == Completion::Done {
            tracing::info!(batch_id = %batch.batch_id, "completed an upload");
        }
        // It may be in work already, or cancelled. S3 is asked before the record is read again:
        // an object is gone only after that tells why.
        let uploaded = function.files.find_awaited(&batch).await?;
        let batch = batch_view::requested(&function.batches, request, mine).await?;
        return arrived(request, &batch, uploaded);
    }
    Err(Problem::conflict(
        "Parts are still being sent. Complete the upload when all have arrived.",
    ))
}

/// Whether the file may still come, as far as the record tells.
fn awaits_file(batch: &Batch) -> bool {
    batch.told_status(false, Timestamp::now()) == Status::AwaitingUpload
}

/// Joins the parts, if all are there and nobody has cancelled the batch.
async fn join(function: &Function, batch: &Batch) -> Result<Completion, Problem> {
    let Some((upload, cut)) = batch.multipart.as_ref().zip(batch.cut()) else {
        return Ok(Completion::Unknown);
    };
    let id = &batch.batch_id;
    let Some(received) = function.parts.all(id, upload).await? else {
        return Ok(Completion::Unknown);
    };
    let missing = missing(cut, &received);
    if !missing.is_empty() {
        return Err(incomplete(cut, &missing));
    }
    // The listing took a moment. What is cancelled after this look is deleted by who cancels.
    let now = function.batches.get(id).await?;
    if !now.is_some_and(|batch| awaits_file(&batch)) {
        return Ok(Completion::Unknown);
    }
    Ok(function.parts.complete(id, upload, &received).await?)
}

/// The answer where the file is there or was: 202 and the batch. Where it never came, or the
/// batch was cancelled, that is a conflict.
fn arrived(
    request: &Request,
    batch: &Batch,
    uploaded: Option<Uploaded>,
) -> Result<Response<Body>, Problem> {
    let now = Timestamp::now();
    // Once a run has begun, the record tells more than the object.
    let uploaded = uploaded.filter(|_| batch.status == Status::AwaitingUpload);
    let status = batch.told_status(uploaded.is_some(), now);
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
        return Err(batch_view::awaits_no_parts(batch, status));
    }
    let view = BatchView::new(batch, uploaded, &link::base(request), now);
    http::json(StatusCode::ACCEPTED, &view)
}

/// The numbers of the parts that haven't arrived whole.
fn missing(cut: Cut, received: &[Received]) -> Vec<u64> {
    let mut received = received.iter().peekable();
    cut.from(1, cut.count())
        .filter(|part| {
            let there = received.next_if(|there| there.number == part.number);
            !there.is_some_and(|there| there.is(*part))
        })
        .map(|part| part.number)
        .collect()
}

fn incomplete(cut: Cut, missing: &[u64]) -> Problem {
    let (numbers, count) = (told(missing, MOST_RUNS), cut.count());
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
        let cut = Cut {
            file: 25,
            part_size: 10,
        };
        let received = |number, size| Received {
            number,
            size,
            e_tag: String::new(),
        };
        let all = [received(1, 10), received(2, 10), received(3, 5)];
        assert!(missing(cut, &all).is_empty());
        assert_eq!(missing(cut, &all[1..]), [1]);
        assert_eq!(missing(cut, &[received(1, 10), received(3, 10)]), [2, 3]);
        assert_eq!(missing(cut, &[received(2, 10)]), [1, 3]);
    }
}
