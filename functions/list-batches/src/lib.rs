//! `GET /api/members/batch`: batches, newest first, page by page.

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::BatchId;
use mpulse_shared::http::batch_view::BatchView;
use mpulse_shared::http::fields::Fields;
use mpulse_shared::http::form::whole_number;
use mpulse_shared::http::{self, Service, cursor, link};
use mpulse_shared::key::Role;
use mpulse_shared::member::FieldError;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::{Batches, MAX_PAGE};
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;

/// Batches per page by default.
const DEFAULT_LIMIT: usize = 50;

/// Distinguishes the cursors of this list from those of others.
const LIST: &str = "batches";

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Reader, list)
}

async fn list(
    (batches, files): (Batches, Files),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (limit, before) =
        parse(&http::query(&request)?).map_err(|error| Problem::invalid_fields(vec![error]))?;
    let (batches, next) = batches
        .list(&caller.accounts, limit, before.as_ref())
        .await?;
    let base = link::base(&request);
    let now = Timestamp::now();
    let mut results = Vec::with_capacity(batches.len());
    for batch in &batches {
        let uploaded = files.find_awaited(batch).await?;
        results.push(BatchView::new(batch, uploaded, &base, now));
    }
    let next = next.map(|last| {
        let cursor = cursor::encode(last.as_str(), LIST);
        format!("{base}/api/members/batch?limit={limit}&cursor={cursor}")
    });
    http::page(next, &results)
}

fn parse(query: &Fields) -> Result<(usize, Option<BatchId>), FieldError> {
    let mut limit = DEFAULT_LIMIT;
    let mut before = None;
    for (name, value) in query {
        match name.as_str() {
            "limit" => {
                limit = whole_number(value)
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
                let last = cursor::decode(value, LIST).and_then(|last| last.parse().ok());
                before = Some(last.ok_or_else(|| {
                    FieldError::new("cursor", "invalid_cursor", "is not a cursor of this list")
                })?);
            }
            other => {
                return Err(FieldError::new(
                    other,
                    "unknown_parameter",
                    "must be one of limit, cursor",
                ));
            }
        }
    }
    Ok((limit, before))
}
