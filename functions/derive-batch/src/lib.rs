//! `POST /api/members/batch/{id}/apply` and `POST /api/members/batch/{id}/revert`: create a batch whose file is that of
//! another one. To apply a dry run, the file is a copy of the dry run's upload; to revert a batch, of its report of changes.
//! S3 makes the copy, under the ETag of the original, and announces it like any upload.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::{Batch, BatchId, MAX_CHILDREN, Status, UploadedObject};
use mpulse_shared::http::batch_view::{self, BatchView};
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::idempotency::Attempt;
use mpulse_shared::key::Role;
use mpulse_shared::member::Author;
use mpulse_shared::problem::Problem;
use mpulse_shared::run::Point;
use mpulse_shared::run::point::reached;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::copies::{Copied, Original, Source};
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;

mod apply;
mod revert;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::idempotent(setup, Role::Writer, derive)
}

async fn derive(
    (batches, files): (Batches, Files),
    caller: Caller,
    attempt: Attempt,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let parent = batch_view::requested(&batches, &request, &caller.accounts).await?;
    let origin = Origin {
        author: Author::key(caller.key_id.as_str()),
        request_id: http::request_id(&request),
        now: Timestamp::now(),
        attempt,
    };
    let path = request.uri().path();
    let child = if path.trim_end_matches('/').ends_with("/apply") {
        apply(&batches, &files, &parent, &origin).await?
    } else {
        revert(&batches, &files, &parent, &origin).await?
    };
    let uploaded = UploadedObject {
        bytes: child.bytes_total.unwrap_or_default(),
    };
    let base = link::base(&request);
    let view = BatchView::new(&child, Some(uploaded), &base, origin.now);
    let location = batch_view::url(&base, &child.batch_id);
    http::json_at(StatusCode::ACCEPTED, &view, &location)
}

/// Who creates a batch, and when.
struct Origin {
    author: Author,
    request_id: Option<String>,
    now: Timestamp,
    attempt: Attempt,
}

/// Applies a dry run. The steps are in this order, so that a repeated call completes what a crash left: the child is stored,
/// the dry run names it, the parent lists it, the file is copied.
async fn apply(
    batches: &Batches,
    files: &Files,
    dry_run: &Batch,
    origin: &Origin,
) -> Result<Batch, Problem> {
    apply::check(dry_run, origin.now)?;
    let stored = stored(batches, origin).await?;
    if let Some(child) = &stored
        && dry_run.applied_by.as_ref() == Some(&child.batch_id)
        && !lacks_file(files, child).await?
    {
        return Ok(child.clone());
    }
    if let Some(applied_by) = &dry_run.applied_by {
        let child = awaiting(batches, files, applied_by).await?;
        return complete_apply(batches, files, dry_run, child).await;
    }
    check_children(dry_run, origin)?;
    let original = upload_of(files, dry_run).await?;
    let child = apply::child(dry_run, original.bytes, origin.author.as_str(), origin.now);
    let mut child = match stored {
        Some(child) => child,
        None => store(batches, child, origin).await?,
    };
    reached(Point::ChildStored, dry_run.batch_id.as_str()).await;
    let applied_by = batches
        .set_applied_by(&dry_run.batch_id, &child.batch_id)
        .await?;
    reached(Point::ChildNamed, dry_run.batch_id.as_str()).await;
    match applied_by {
        Some(id) if id == child.batch_id => {}
        // A concurrent request was first.
        Some(id) => {
            cancel(batches, &child).await?;
            child = awaiting(batches, files, &id).await?;
        }
        None => {
            cancel(batches, &child).await?;
            let id = &dry_run.batch_id;
            return Err(Problem::not_found(format!(
                "The batch {id} does not exist."
            )));
        }
    }
    complete_apply(batches, files, dry_run, child).await
}

/// Makes the last steps of applying a dry run. All of them can be repeated.
async fn complete_apply(
    batches: &Batches,
    files: &Files,
    dry_run: &Batch,
    child: Batch,
) -> Result<Batch, Problem> {
    if !batches
        .add_child(&dry_run.batch_id, &child.batch_id)
        .await?
    {
        // Concurrent requests reached the limit first. The dry run names the child nevertheless.
        tracing::warn!(batch_id = %child.batch_id, "the parent has too many children");
    }
    reached(Point::ChildListed, dry_run.batch_id.as_str()).await;
    let original = upload_of(files, dry_run).await?;
    match files.copy_original(&original, &child.batch_id).await? {
        Copied::Made => {}
        Copied::Gone => return Err(apply::file_gone()),
        Copied::TooSlow => return Err(too_slow(&original)),
    }
    reached(Point::FileCopied, dry_run.batch_id.as_str()).await;
    tracing::info!(batch_id = %child.batch_id, dry_run = %dry_run.batch_id, "applied a dry run");
    Ok(child)
}

/// Returns the upload of a dry run, which must be the one that the dry run has read.
async fn upload_of(files: &Files, dry_run: &Batch) -> Result<Original, Problem> {
    let found = files
        .find_original(&dry_run.batch_id, Source::Upload)
        .await?;
    let e_tag = dry_run.etag.as_deref().unwrap_or_default();
    found
        .filter(|found| found.has_e_tag(e_tag))
        .ok_or_else(apply::file_gone)
}

/// Returns the batch that applies a dry run, if it still waits for its file.
async fn awaiting(batches: &Batches, files: &Files, id: &BatchId) -> Result<Batch, Problem> {
    let Some(child) = batches.get(id).await? else {
        return Err(Problem::conflict(format!(
            "The dry run was applied already, by the batch {id}."
        )));
    };
    // Its record is not asked whether it has expired: it never had an upload URL.
    let uploaded = files.find_awaited(&child).await?;
    if child.status == Status::AwaitingUpload && uploaded.is_none() {
        return Ok(child);
    }
    Err(apply::applied_already(
        &child,
        child.status_at(uploaded.is_some(), Timestamp::now()),
    ))
}

/// Reverts a batch. If the file cannot be copied, no client knows of the child, so it is cancelled, unless a repeated request
/// may continue it.
async fn revert(
    batches: &Batches,
    files: &Files,
    parent: &Batch,
    origin: &Origin,
) -> Result<Batch, Problem> {
    revert::check(parent, origin.now)?;
    let stored = stored(batches, origin).await?;
    if let Some(child) = &stored
        && !lacks_file(files, child).await?
    {
        return Ok(child.clone());
    }
    check_children(parent, origin)?;
    let id = &parent.batch_id;
    let original = files.find_original(id, Source::Changes).await?;
    let original = original.ok_or_else(revert::report_gone)?;
    let child = revert::child(parent, original.bytes, origin.author.as_str(), origin.now);
    let child = match stored {
        Some(child) => child,
        None => store(batches, child, origin).await?,
    };
    reached(Point::ChildStored, id.as_str()).await;
    if !batches.add_child(id, &child.batch_id).await? {
        cancel(batches, &child).await?;
        return Err(too_many_children());
    }
    reached(Point::ChildListed, id.as_str()).await;
    let problem = match files.copy_original(&original, &child.batch_id).await {
        Ok(Copied::Made) => {
            reached(Point::FileCopied, id.as_str()).await;
            tracing::info!(batch_id = %child.batch_id, parent = %id, "created a batch that reverts another");
            return Ok(child);
        }
        Ok(Copied::Gone) => {
            cancel(batches, &child).await?;
            return Err(revert::report_gone());
        }
        Ok(Copied::TooSlow) => too_slow(&original),
        Err(error) => error.into(),
    };
    if !origin.attempt.has_key {
        cancel(batches, &child).await?;
    }
    Err(problem)
}

/// Returns the batch that an earlier attempt of the same request has stored.
async fn stored(batches: &Batches, origin: &Origin) -> Result<Option<Batch>, Problem> {
    if !origin.attempt.is_repeated {
        return Ok(None);
    }
    Ok(batches.get(&origin.attempt.batch_id).await?)
}

/// Stores a new batch.
async fn store(batches: &Batches, mut child: Batch, origin: &Origin) -> Result<Batch, Problem> {
    child.batch_id.clone_from(&origin.attempt.batch_id);
    child.request_id.clone_from(&origin.request_id);
    batches.create(&child).await?;
    Ok(child)
}

/// Returns whether a batch waits for its file.
async fn lacks_file(files: &Files, child: &Batch) -> Result<bool, Problem> {
    Ok(child.status == Status::AwaitingUpload && files.find_awaited(child).await?.is_none())
}

async fn cancel(batches: &Batches, child: &Batch) -> Result<(), Problem> {
    let (from, to) = (Status::AwaitingUpload, Status::Cancelled);
    batches
        .cancel(&child.batch_id, from, to, Timestamp::now())
        .await?;
    Ok(())
}

fn check_children(parent: &Batch, origin: &Origin) -> Result<(), Problem> {
    let children = &parent.child_batch_ids;
    if children.len() >= MAX_CHILDREN && !children.contains(&origin.attempt.batch_id) {
        return Err(too_many_children());
    }
    Ok(())
}

fn too_many_children() -> Problem {
    Problem::conflict(format!(
        "The batch has {MAX_CHILDREN} children already, the maximum."
    ))
}

fn too_slow(original: &Original) -> Problem {
    let bytes = original.bytes;
    Problem::unavailable(format!(
        "S3 did not copy the {bytes} bytes of the file in time. Try again, or send the file as a new batch."
    ))
}
