//! `POST` or `PUT /api/members/batch`: creates a batch. With JSON or no body, the response contains
//! a URL to send the file to, or the way to send it in parts. A small file in the body is stored as
//! if it had been sent to that URL.

use std::collections::BTreeMap;

use bytes::Bytes;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::{Batch, BatchId, BatchRequest, MAX_CHILDREN, Status, UploadedObject};
use mpulse_shared::http::batch_view::{self, BatchView, UploadTarget};
use mpulse_shared::http::fields::{Fields, unique};
use mpulse_shared::http::{self, Service, body, form, link};
use mpulse_shared::idempotency::Attempt;
use mpulse_shared::key::Role;
use mpulse_shared::media_type;
use mpulse_shared::member::{AccountId, Author};
use mpulse_shared::parts::{Multipart, part_size};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{FromSetup, Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::{Files, UPLOAD_MEDIA_TYPE};
use mpulse_shared::store::parts::Parts;
use mpulse_shared::time::Timestamp;

mod format;
#[doc(hidden)]
pub mod request;

/// The largest file in the body, in bytes: what fits into Lambda's 6 MB with the Base64 encoding of
/// a multipart body.
const MAX_INLINE: usize = 4 * 1024 * 1024;

/// The largest body when it is decompressed, in bytes: what fits into Lambda's 6 MB without compression.
const MAX_DECOMPRESSED: usize = 6 * 1024 * 1024;

/// The field that names the batch whose corrected report the file is.
const PARENT: &str = "parent_batch_id";

/// The supported media types of the body.
const BODY_TYPES: &str = "application/json, multipart/form-data, text/csv, application/gzip, application/zip, \
     application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// What the function uses.
#[derive(Clone)]
struct Context {
    batches: Batches,
    files: Files,
    parts: Parts,
    /// The largest file size that may be announced, in bytes.
    max_size: u64,
}

impl FromSetup for Context {
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            batches: Batches::from_setup(setup)?,
            files: Files::from_setup(setup)?,
            parts: Parts::from_setup(setup)?,
            max_size: setup.max_upload_bytes()?,
        })
    }
}

/// Who creates a batch: the caller and the request.
struct Origin {
    caller: Caller,
    attempt: Attempt,
    request_id: Option<String>,
}

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::idempotent(setup, Role::Writer, create)
}

async fn create(
    context: Context,
    caller: Caller,
    attempt: Attempt,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let by = Origin {
        caller,
        attempt,
        request_id: http::request_id(&request),
    };
    let base = link::base(&request);
    // A file as text has no place for fields, so they may be in the URL. Fields in the body take
    // precedence. Errors in either are reported.
    let mut fields = http::query(&request)?;
    request::parse(fields.clone(), context.max_size).map_err(Problem::invalid_fields)?;
    let request = body::decompressed(request, MAX_DECOMPRESSED)?;
    match form::media_type(&request).as_str() {
        "multipart/form-data" => {
            let parts = form::parts(request).await?.into_iter();
            let mut parts = unique(parts.map(|part| (part.name.clone(), part)))?;
            let file = parts.remove("file").ok_or_else(|| {
                Problem::invalid_field("file", "required", "the body has no part with this name")
            })?;
            for (name, part) in parts {
                let text = String::from_utf8_lossy(&part.content).into_owned();
                fields.insert(name, text);
            }
            if let Some(name) = file.file_name {
                fields.entry("file_name".to_owned()).or_insert(name);
            }
            store(&context, &by, fields, file.content, &base).await
        }
        "text/csv" => {
            let file = body::bytes(request.into_body());
            // API Gateway passes a text body on as a JSON string, in which bytes that are not UTF-8
            // have become U+FFFD: the original bytes are lost.
            if String::from_utf8_lossy(&file).contains('\u{FFFD}') {
                return Err(Problem::malformed_body(
                    "The body is not UTF-8. Send the file as the field `file` of a multipart \
                     form, or to a presigned URL, where it arrives as it is.",
                ));
            }
            store(&context, &by, fields, file, &base).await
        }
        "application/gzip" | "application/zip" | media_type::WORKBOOK => {
            let file = body::bytes(request.into_body());
            store(&context, &by, fields, file, &base).await
        }
        media_type if form::is_json(media_type) => {
            form::check_size(&request)?;
            let body = body::bytes(request.into_body());
            if !body.trim_ascii().is_empty() {
                fields.extend(form::json_fields(&body, request::NOT_TEXT)?);
            }
            open(&context, &by, fields, &base).await
        }
        _ if body::bytes(request.into_body()).is_empty() => {
            open(&context, &by, fields, &base).await
        }
        _ => Err(Problem::media_type(form::ACCEPT_POST, BODY_TYPES)),
    }
}

/// Creates a batch and returns where to send its file.
async fn open(
    context: &Context,
    by: &Origin,
    fields: Fields,
    base: &str,
) -> Result<Response<Body>, Problem> {
    let asked = request::parse(fields, context.max_size).map_err(Problem::invalid_fields)?;
    request::whole(&asked).map_err(|error| Problem::invalid_fields(vec![error]))?;
    let batch = record(context, by, asked).await?;
    let target = target(context, &batch, base).await?;
    let view = BatchView::new(&batch, None, base, batch.created_at).with_upload(target);
    answer(StatusCode::CREATED, &batch, &view, base)
}

/// Returns where and how to send the file of a batch.
async fn target(context: &Context, batch: &Batch, base: &str) -> Result<UploadTarget, Problem> {
    const METHOD: &str = "PUT";
    if let Some(layout) = batch.part_layout() {
        return Ok(UploadTarget::Parts {
            method: METHOD,
            part_size: layout.part_size,
            part_count: layout.count(),
            parts: batch_view::parts_url(base, &batch.batch_id),
            complete: batch_view::complete_url(base, &batch.batch_id),
            expires_at: batch.upload_expires_at,
        });
    }
    let mut headers = BTreeMap::from([("content-type", UPLOAD_MEDIA_TYPE.to_owned())]);
    if let Some(size) = batch.bytes_total {
        headers.insert("content-length", size.to_string());
    }
    Ok(UploadTarget::Whole {
        method: METHOD,
        url: context.files.upload_url(batch).await?,
        headers,
        expires_at: batch.upload_expires_at,
    })
}

/// Creates a batch for a file in the body, and stores the file.
async fn store(
    context: &Context,
    by: &Origin,
    fields: Fields,
    file: Bytes,
    base: &str,
) -> Result<Response<Body>, Problem> {
    if file.len() > MAX_INLINE {
        return Err(Problem::too_large(format!(
            "A file of more than {MAX_INLINE} bytes needs an upload URL: send \
             {{\"file_name\": …, \"size\": {}}} as JSON to this path, then the file to the URL \
             in the response.",
            file.len()
        )));
    }
    let mut asked = request::parse(fields, context.max_size).map_err(Problem::invalid_fields)?;
    if asked.multipart {
        let message = "must not be true for a file in the body";
        return Err(Problem::invalid_field(
            "multipart",
            "invalid_multipart",
            message,
        ));
    }
    let size = file.len() as u64;
    if asked.size.is_some_and(|said| said != size) {
        let message = format!("is not the size of the file, which has {size} bytes");
        return Err(Problem::invalid_field("size", "invalid_size", message));
    }
    request::whole(&asked).map_err(|error| Problem::invalid_fields(vec![error]))?;
    asked.size = Some(size);
    let batch = record(context, by, asked).await?;
    if lacks_file(context, by, &batch).await? {
        context.files.put_upload(&batch, file).await?;
    }
    let uploaded = UploadedObject {
        bytes: batch.bytes_total.unwrap_or_default(),
    };
    let view = BatchView::new(&batch, Some(uploaded), base, batch.created_at);
    answer(StatusCode::ACCEPTED, &batch, &view, base)
}

/// Returns whether the file must still be stored. If an earlier attempt of the same request has stored it, the batch may have
/// ended already.
async fn lacks_file(context: &Context, by: &Origin, batch: &Batch) -> Result<bool, Problem> {
    let may_be_stored = by.attempt.is_repeated;
    Ok(!may_be_stored
        || (batch.status == Status::AwaitingUpload
            && context.files.find_awaited(batch).await?.is_none()))
}

/// Stores the new batch, unless an earlier attempt of the same request has stored it, and adds it to its parent's record. The
/// child is stored first: a crash between the two leaves a batch that no client knows of, and that expires.
async fn record(context: &Context, by: &Origin, mut asked: BatchRequest) -> Result<Batch, Problem> {
    let parent = match &asked.parent_batch_id {
        Some(id) => Some(parent(context, by, id).await?),
        None => None,
    };
    // A report has the columns of its file: if the parent named the account, its child does too.
    if let (None, Some(parent)) = (&asked.account_id, &parent)
        && let Some(account_id) = &parent.account_id
    {
        asked.account_id = AccountId::parse(account_id).ok();
    }
    if let Some(parent) = &parent {
        asked.format.inherit(&parent.format);
    }
    if let Some(account) = &asked.account_id {
        by.caller.require_account(account)?;
    }
    let stored = if by.attempt.is_repeated {
        context.batches.get(&by.attempt.batch_id).await?
    } else {
        None
    };
    let batch = match stored {
        Some(batch) => batch,
        None => new_record(context, by, asked).await?,
    };
    if let Some(parent) = &parent {
        add_child(context, parent, &batch).await?;
    }
    Ok(batch)
}

/// Stores a new batch.
async fn new_record(context: &Context, by: &Origin, asked: BatchRequest) -> Result<Batch, Problem> {
    let part_size = asked.size.filter(|_| asked.multipart).map(part_size);
    let author = Author::key(by.caller.key_id.as_str());
    let mut batch = Batch::new(
        asked,
        author.as_str().to_owned(),
        by.caller.accounts.clone(),
        Timestamp::now(),
    );
    batch.batch_id.clone_from(&by.attempt.batch_id);
    batch.request_id.clone_from(&by.request_id);
    if let Some(part_size) = part_size {
        // The S3 upload is created first: a crash before the record is stored leaves an upload that
        // no client knows of, and that the bucket's lifecycle rule aborts.
        let upload_id = context.parts.start(&batch.batch_id).await?;
        batch.multipart = Some(Multipart {
            upload_id,
            part_size,
        });
    }
    context.batches.create(&batch).await?;
    tracing::info!(batch_id = %batch.batch_id, "created a batch");
    Ok(batch)
}

/// Returns the batch that a request names as its parent.
async fn parent(context: &Context, by: &Origin, id: &BatchId) -> Result<Batch, Problem> {
    let parent = context.batches.get(id).await?;
    let parent = parent
        .filter(|parent| by.caller.accounts.includes(&parent.accounts))
        .ok_or_else(|| {
            Problem::invalid_field(
                PARENT,
                "unknown_batch",
                format!("the batch {id} does not exist"),
            )
        })?;
    let children = &parent.child_batch_ids;
    if children.len() >= MAX_CHILDREN && !children.contains(&by.attempt.batch_id) {
        return Err(too_many_children());
    }
    Ok(parent)
}

async fn add_child(context: &Context, parent: &Batch, child: &Batch) -> Result<(), Problem> {
    let id = &child.batch_id;
    if context.batches.add_child(&parent.batch_id, id).await? {
        return Ok(());
    }
    // Concurrent requests reached the limit first. The client will not learn of the new batch, so
    // it is cancelled.
    let (from, to) = (Status::AwaitingUpload, Status::Cancelled);
    context
        .batches
        .cancel(id, from, to, Timestamp::now())
        .await?;
    Err(too_many_children())
}

fn too_many_children() -> Problem {
    Problem::invalid_field(
        PARENT,
        "too_many_children",
        format!("has {MAX_CHILDREN} children already, the maximum"),
    )
}

fn answer(
    status: StatusCode,
    batch: &Batch,
    view: &BatchView<'_>,
    base: &str,
) -> Result<Response<Body>, Problem> {
    http::json_at(status, view, &batch_view::url(base, &batch.batch_id))
}
