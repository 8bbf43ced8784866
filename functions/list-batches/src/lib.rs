//! `GET /api/members/batch`: batches, newest first, page by page.

use std::sync::Arc;

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::batch::BatchId;
use mpulse_shared::http::batch_view::BatchView;
use mpulse_shared::http::form::whole_number;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, cursor, link};
use mpulse_shared::member::FieldError;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::{Batches, MAX_PAGE};
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;

/// Batches on a page unless the client says otherwise.
const DEFAULT_LIMIT: usize = 50;

/// What the cursors of this list are told apart by.
const LIST: &str = "batches";

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
        async move { list(&function, &request).await }
    }))
}

async fn list(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Reader, request).await?;
    let (limit, before) = parse(request.uri().query().unwrap_or_default())
        .map_err(|error| Problem::invalid_fields(vec![error]))?;
    let (batches, next) = function
        .batches
        .list(&caller.accounts, limit, before.as_ref())
        .await?;
    let base = link::base(request);
    let now = Timestamp::now();
    let mut results = Vec::with_capacity(batches.len());
    for batch in &batches {
        let uploaded = function.files.find_awaited(batch).await?;
        results.push(BatchView::new(batch, uploaded, &base, now));
    }
    let next = next.map(|last| {
        let cursor = cursor::encode(last.as_str(), LIST);
        format!("{base}/api/members/batch?limit={limit}&cursor={cursor}")
    });
    http::page(next, &results)
}

fn parse(query: &str) -> Result<(usize, Option<BatchId>), FieldError> {
    let mut limit = DEFAULT_LIMIT;
    let mut before = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "limit" => {
                limit = whole_number(&value)
                    .and_then(|limit| usize::try_from(limit).ok())
                    .filter(|limit| (1..=MAX_PAGE).contains(limit))
                    .ok_or_else(|| {
                        FieldError::new(
                            "limit",
                            "invalid_limit",
                            format!("must be a whole number from 1 to {MAX_PAGE}"),
                        )
                    })?;
            }
            "cursor" => {
                let last = cursor::decode(&value, LIST).and_then(|last| last.parse().ok());
                before = Some(last.ok_or_else(|| {
                    FieldError::new("cursor", "invalid_cursor", "is not a cursor of this list")
                })?);
            }
            other => {
                return Err(FieldError::new(
                    other,
                    "unknown_parameter",
                    "is not one of limit, cursor",
                ));
            }
        }
    }
    Ok((limit, before))
}
