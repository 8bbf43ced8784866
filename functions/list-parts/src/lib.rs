//! `GET /api/members/batch/{id}/parts`: which parts of a batch's file have arrived, and where
//! to send those that haven't. The one call serves the start, another try of a part whose URL
//! has run out, and going on after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::batch::{Batch, Status, UPLOAD_URL_SECONDS};
use mpulse_shared::http::batch_view;
use mpulse_shared::http::form::whole_number;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::member::FieldError;
use mpulse_shared::parts::{Cut, MOST_PARTS, Multipart};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::Files;
use mpulse_shared::store::parts::{MAX_PAGE, Parts, Received};
use mpulse_shared::time::Timestamp;
use serde::Serialize;

/// Parts on a page unless the client says otherwise.
const DEFAULT_LIMIT: u64 = 100;

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
        async move { list(&function, &request).await }
    }))
}

/// Which parts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    /// The number of the first.
    from: u64,
    /// How many at most.
    limit: u64,
    /// Whether those that have arrived get a URL too, to be sent again.
    all_urls: bool,
}

async fn list(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Writer, request).await?;
    let wanted = parse(request.uri().query().unwrap_or_default())
        .map_err(|error| Problem::invalid_fields(vec![error]))?;
    let batch = batch_view::requested(&function.batches, request, &caller.accounts).await?;
    let now = Timestamp::now();
    if batch.told_status(false, now) == Status::AwaitingUpload
        && let Some((upload, cut)) = batch.multipart.as_ref().zip(batch.cut())
    {
        if wanted.from > cut.count() {
            return Err(Problem::invalid_fields(vec![out_of_bounds(cut.count())]));
        }
        let page = function
            .parts
            .page(&batch.batch_id, upload, wanted.from, wanted.limit);
        if let Some(received) = page.await? {
            let base = link::base(request);
            return answer(function, &batch, (upload, cut), wanted, received, &base).await;
        }
    }
    // S3 is asked before the record is read again: an object is gone only after that tells why.
    let uploaded = function.files.find_awaited(&batch).await?;
    let batch = batch_view::requested(&function.batches, request, &caller.accounts).await?;
    let status = batch.told_status(uploaded.is_some(), now);
    Err(batch_view::awaits_no_parts(&batch, status))
}

/// What is told of the whole file.
#[derive(Serialize)]
struct About {
    part_size: u64,
    part_count: u64,
    /// When the URLs run out.
    expires_at: Timestamp,
}

/// What is told of a part.
#[derive(Serialize)]
struct PartView {
    part_number: u64,
    offset: u64,
    size: u64,
    etag: Option<String>,
    url: Option<String>,
}

async fn answer(
    function: &Function,
    batch: &Batch,
    (upload, cut): (&Multipart, Cut),
    wanted: Wanted,
    received: Vec<Received>,
    base: &str,
) -> Result<Response<Body>, Problem> {
    let lifetime = i64::try_from(UPLOAD_URL_SECONDS * 1000).unwrap_or(i64::MAX);
    // Before the first is signed, so that none runs out sooner than is said.
    let expires_at = Timestamp::now().plus_millis(lifetime);
    let mut received: BTreeMap<u64, Received> = received
        .into_iter()
        .map(|part| (part.number, part))
        .collect();
    let mut results = Vec::new();
    for part in cut.from(wanted.from, wanted.limit) {
        let there = received.remove(&part.number).filter(|there| there.is(part));
        let url = if there.is_none() || wanted.all_urls {
            Some(function.parts.url(&batch.batch_id, upload, part).await?)
        } else {
            None
        };
        results.push(PartView {
            part_number: part.number,
            offset: part.offset,
            size: part.size,
            etag: there.map(|there| there.e_tag),
            url,
        });
    }
    let after = wanted.from + wanted.limit;
    let next = (after <= cut.count()).then(|| {
        let url = batch_view::parts_url(base, &batch.batch_id);
        let urls = if wanted.all_urls { "&urls=all" } else { "" };
        format!("{url}?from={after}&limit={}{urls}", wanted.limit)
    });
    let about = About {
        part_size: cut.part_size,
        part_count: cut.count(),
        expires_at,
    };
    http::page_with(&about, next, &results)
}

fn parse(query: &str) -> Result<Wanted, FieldError> {
    let mut wanted = Wanted {
        from: 1,
        limit: DEFAULT_LIMIT,
        all_urls: false,
    };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = whole_number(&value);
        match name.as_ref() {
            "from" => {
                let number = number.filter(|number| (1..=MOST_PARTS).contains(number));
                wanted.from = number.ok_or_else(|| out_of_bounds(MOST_PARTS))?;
            }
            "limit" => {
                let number = number.filter(|number| (1..=MAX_PAGE).contains(number));
                wanted.limit = number.ok_or_else(|| {
                    FieldError::new(
                        "limit",
                        "invalid_limit",
                        format!("must be a whole number from 1 to {MAX_PAGE}"),
                    )
                })?;
            }
            "urls" => {
                wanted.all_urls = match value.as_ref() {
                    "all" => true,
                    "missing" => false,
                    _ => {
                        let message = "must be missing or all";
                        return Err(FieldError::new("urls", "invalid_urls", message));
                    }
                }
            }
            other => {
                return Err(FieldError::new(
                    other,
                    "unknown_parameter",
                    "is not one of from, limit, urls",
                ));
            }
        }
    }
    Ok(wanted)
}

fn out_of_bounds(most: u64) -> FieldError {
    let message = format!("must be the number of a part, from 1 to {most}");
    FieldError::new("from", "invalid_part_number", message)
}
