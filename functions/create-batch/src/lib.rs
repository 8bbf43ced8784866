//! `POST` or `PUT /api/members/batch`: opens a batch. With JSON or no body it answers a URL
//! to send the file to, or how to send it in parts; a small file in the body is stored as if
//! it had been sent there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lambda_http::http::StatusCode;
use lambda_http::http::header::LOCATION;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Caller, Role};
use mpulse_shared::batch::{Batch, BatchId, BatchRequest, MAX_CHILDREN, Status};
use mpulse_shared::http::batch_view::{self, BatchView, UploadTarget, Uploaded};
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, form, link};
use mpulse_shared::member::{AccountId, Author};
use mpulse_shared::parts::{Multipart, part_size};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::{Files, UPLOAD_MEDIA_TYPE};
use mpulse_shared::store::parts::Parts;
use mpulse_shared::time::Timestamp;

mod request;

/// The largest file that is taken in the body, in bytes: what fits Lambda's 6 MB with the
/// Base64 that a multipart body needs.
const MAX_INLINE: usize = 4 * 1024 * 1024;

/// The field that names the batch whose report was corrected.
const PARENT: &str = "parent_batch_id";

/// What the body may be.
const BODY_TYPES: &str = "application/json, multipart/form-data, text/csv";

struct Function {
    access: Access,
    batches: Batches,
    files: Files,
    parts: Parts,
    /// The largest file that may be announced, in bytes.
    most: u64,
}

/// Who asks for a batch, and in which request.
struct Asker {
    caller: Caller,
    request_id: Option<String>,
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
        most: setup.max_upload_bytes()?,
    });
    Ok(http::service(move |request| {
        let function = Arc::clone(&function);
        async move { create(&function, request).await }
    }))
}

async fn create(function: &Function, request: Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Writer, &request).await?;
    let by = Asker {
        caller,
        request_id: http::request_id(&request),
    };
    let base = link::base(&request);
    // What is said of a batch may stand in the URL, for a file has no place for it; a body
    // that has one wins. A fault is told all the same.
    let query = request.uri().query().unwrap_or_default();
    let mut fields: form::Fields = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    request::parse(fields.clone(), function.most).map_err(Problem::invalid_fields)?;
    match form::media_type(&request).as_str() {
        "multipart/form-data" => {
            let mut file = None;
            for part in form::parts(request).await? {
                if part.name == "file" {
                    file = Some(part);
                } else {
                    let text = String::from_utf8_lossy(&part.content).into_owned();
                    fields.insert(part.name, text);
                }
            }
            let file = file.ok_or_else(|| {
                Problem::invalid_field("file", "required", "the body has no part of that name")
            })?;
            if let Some(name) = file.file_name {
                fields.entry("file_name".to_owned()).or_insert(name);
            }
            store(function, &by, fields, file.content, &base).await
        }
        "text/csv" => {
            let content = form::bytes(request.into_body());
            // API Gateway hands a text body on as a JSON string, in which bytes that are
            // no UTF-8 have become U+FFFD: what was sent can't be known any more.
            if String::from_utf8_lossy(&content).contains('\u{FFFD}') {
                return Err(Problem::malformed_body(
                    "The body is not UTF-8. Send the file as the field `file` of a multipart \
                     form, or to a presigned URL, where it arrives as it is.",
                ));
            }
            store(function, &by, fields, content, &base).await
        }
        "application/json" => {
            form::check_size(&request)?;
            let body = form::bytes(request.into_body());
            if !body.trim_ascii().is_empty() {
                fields.extend(form::json_fields(&body, request::FLAGS)?);
            }
            open(function, &by, fields, &base).await
        }
        _ if form::bytes(request.into_body()).is_empty() => {
            open(function, &by, fields, &base).await
        }
        _ => Err(Problem::media_type(form::ACCEPT_POST, BODY_TYPES)),
    }
}

/// Opens a batch and answers where to send its file.
async fn open(
    function: &Function,
    by: &Asker,
    fields: form::Fields,
    base: &str,
) -> Result<Response<Body>, Problem> {
    let asked = request::parse(fields, function.most).map_err(Problem::invalid_fields)?;
    request::whole(&asked).map_err(|error| Problem::invalid_fields(vec![error]))?;
    let batch = record(function, by, asked).await?;
    let target = target(function, &batch, base).await?;
    let view = BatchView::new(&batch, None, base, batch.created_at).with_upload(target);
    answer(StatusCode::CREATED, &batch, &view, base)
}

/// Where and how to send the file of a batch.
async fn target(function: &Function, batch: &Batch, base: &str) -> Result<UploadTarget, Problem> {
    const METHOD: &str = "PUT";
    if let Some(cut) = batch.cut() {
        return Ok(UploadTarget::Parts {
            method: METHOD,
            part_size: cut.part_size,
            part_count: cut.count(),
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
        url: function.files.upload_url(batch).await?,
        headers,
        expires_at: batch.upload_expires_at,
    })
}

/// Opens a batch for a file that is there already, and stores the file.
async fn store(
    function: &Function,
    by: &Asker,
    fields: form::Fields,
    content: Bytes,
    base: &str,
) -> Result<Response<Body>, Problem> {
    if content.len() > MAX_INLINE {
        return Err(Problem::too_large(format!(
            "A file of more than {MAX_INLINE} bytes needs an upload URL: send \
             {{\"file_name\": …, \"size\": {}}} as JSON to this path, then the file to the URL \
             that it answers.",
            content.len()
        )));
    }
    let mut asked = request::parse(fields, function.most).map_err(Problem::invalid_fields)?;
    if asked.multipart {
        let message = "a file in the body doesn't come in parts";
        return Err(Problem::invalid_field(
            "multipart",
            "invalid_multipart",
            message,
        ));
    }
    let size = content.len() as u64;
    if asked.size.is_some_and(|said| said != size) {
        let message = format!("is not the size of the file, which has {size} bytes");
        return Err(Problem::invalid_field("size", "invalid_size", message));
    }
    asked.size = Some(size);
    let batch = record(function, by, asked).await?;
    function.files.put_upload(&batch, content).await?;
    let uploaded = Uploaded {
        bytes: batch.bytes_total.unwrap_or_default(),
    };
    let view = BatchView::new(&batch, Some(uploaded), base, batch.created_at);
    answer(StatusCode::ACCEPTED, &batch, &view, base)
}

/// Stores the new batch, and notes it in its parent's record. The child comes first: a crash
/// between the two leaves a batch that nobody was told of, and that expires.
async fn record(
    function: &Function,
    by: &Asker,
    mut asked: BatchRequest,
) -> Result<Batch, Problem> {
    let parent = match &asked.parent_batch_id {
        Some(id) => Some(parent(function, &by.caller, id).await?),
        None => None,
    };
    // A report has the columns of its file: where the parent named the account of rows that
    // don't, so do its rows.
    if let (None, Some(parent)) = (&asked.account_id, &parent)
        && let Some(account_id) = &parent.account_id
    {
        asked.account_id = AccountId::parse(account_id).ok();
    }
    if let Some(account) = &asked.account_id {
        by.caller.may_write_to(account)?;
    }
    let part_size = asked.size.filter(|_| asked.multipart).map(part_size);
    let author = Author::key(by.caller.key_id.as_str());
    let mut batch = Batch::new(
        asked,
        author.as_str().to_owned(),
        by.caller.accounts.clone(),
        Timestamp::now(),
    );
    batch.request_id.clone_from(&by.request_id);
    if let Some(part_size) = part_size {
        // S3 first: a crash before the record leaves an upload that nobody was told of, and
        // that the bucket's lifecycle aborts.
        let upload_id = function.parts.start(&batch.batch_id).await?;
        batch.multipart = Some(Multipart {
            upload_id,
            part_size,
        });
    }
    function.batches.create(&batch).await?;
    if let Some(parent) = &parent {
        add_child(function, parent, &batch).await?;
    }
    tracing::info!(batch_id = %batch.batch_id, "opened a batch");
    Ok(batch)
}

/// The batch that a request names as its parent.
async fn parent(function: &Function, caller: &Caller, id: &BatchId) -> Result<Batch, Problem> {
    let parent = function.batches.get(id).await?;
    let parent = parent
        .filter(|parent| caller.accounts.includes(&parent.accounts))
        .ok_or_else(|| {
            Problem::invalid_field(PARENT, "unknown_batch", format!("there is no batch {id}"))
        })?;
    if parent.child_batch_ids.len() >= MAX_CHILDREN {
        return Err(too_many_children());
    }
    Ok(parent)
}

async fn add_child(function: &Function, parent: &Batch, child: &Batch) -> Result<(), Problem> {
    let id = &child.batch_id;
    if function.batches.add_child(&parent.batch_id, id).await? {
        return Ok(());
    }
    // Others were quicker. The new batch will not be told of, so nothing is to come of it.
    let (from, to) = (Status::AwaitingUpload, Status::Cancelled);
    function
        .batches
        .cancel(id, from, to, Timestamp::now())
        .await?;
    Err(too_many_children())
}

fn too_many_children() -> Problem {
    Problem::invalid_field(
        PARENT,
        "too_many_children",
        format!("is the parent of {MAX_CHILDREN} batches already"),
    )
}

fn answer(
    status: StatusCode,
    batch: &Batch,
    view: &BatchView<'_>,
    base: &str,
) -> Result<Response<Body>, Problem> {
    let mut response = http::json(status, view)?;
    let location = batch_view::url(base, &batch.batch_id);
    http::set_header(&mut response, LOCATION, &location)?;
    Ok(response)
}
