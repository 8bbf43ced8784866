//! `GET /api/members/batch/{id}/parts`: which parts of a batch's file have arrived, and the URLs of
//! those that have not. The same call serves the start of an upload, the retry of a part whose URL
//! has expired, and resuming after a crash.

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::{Batch, Status, UPLOAD_URL_SECONDS};
use mpulse_shared::http::batch_view;
use mpulse_shared::http::fields::Fields;
use mpulse_shared::http::form::whole_number;
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::key::Role;
use mpulse_shared::member::FieldError;
use mpulse_shared::parts::{MAX_PARTS, Multipart, PartLayout};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::Files;
use mpulse_shared::store::parts::{MAX_PAGE, Parts, ReceivedPart};
use mpulse_shared::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Parts per page by default.
const DEFAULT_LIMIT: u64 = 100;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Writer, list)
}

/// The requested parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    /// The number of the first part.
    from: u64,
    /// The maximum number of parts.
    limit: u64,
    /// Whether parts that have arrived get a URL too, to be sent again.
    all_urls: bool,
}

async fn list(
    (batches, files, parts): (Batches, Files, Parts),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let wanted =
        parse(&http::query(&request)?).map_err(|error| Problem::invalid_fields(vec![error]))?;
    let batch = batch_view::requested(&batches, &request, &caller.accounts).await?;
    let now = Timestamp::now();
    if batch.status_at(false, now) == Status::AwaitingUpload
        && let Some((upload, layout)) = batch.multipart.as_ref().zip(batch.part_layout())
    {
        if wanted.from > layout.count() {
            return Err(Problem::invalid_fields(vec![out_of_bounds(layout.count())]));
        }
        let page = parts.page(&batch.batch_id, upload, wanted.from, wanted.limit);
        if let Some(received) = page.await? {
            let base = link::base(&request);
            return answer(&parts, &batch, (upload, layout), wanted, received, &base).await;
        }
    }
    // S3 is read before the record is read again: if the upload is gone, the record then says why.
    let uploaded = files.find_awaited(&batch).await?;
    let batch = batch_view::requested(&batches, &request, &caller.accounts).await?;
    let status = batch.status_at(uploaded.is_some(), now);
    Err(batch_view::not_awaiting_parts(&batch, status))
}

/// The fields about the whole file.
#[derive(Serialize)]
struct About {
    part_size: u64,
    part_count: u64,
    /// When the URLs expire.
    expires_at: Timestamp,
}

/// The fields of a part.
#[derive(Serialize)]
struct PartView {
    part_number: u64,
    offset: u64,
    size: u64,
    etag: Option<String>,
    url: Option<String>,
}

async fn answer(
    parts: &Parts,
    batch: &Batch,
    (upload, layout): (&Multipart, PartLayout),
    wanted: Wanted,
    received: Vec<ReceivedPart>,
    base: &str,
) -> Result<Response<Body>, Problem> {
    let lifetime = i64::try_from(UPLOAD_URL_SECONDS * 1000).unwrap_or(i64::MAX);
    // Taken before the first URL is signed, so that no URL expires earlier.
    let expires_at = Timestamp::now().plus_millis(lifetime);
    let mut received: BTreeMap<u64, ReceivedPart> = received
        .into_iter()
        .map(|part| (part.number, part))
        .collect();
    let mut results = Vec::new();
    for part in layout.parts_from(wanted.from, wanted.limit) {
        let there = received
            .remove(&part.number)
            .filter(|there| there.is_complete(part));
        let url = if there.is_none() || wanted.all_urls {
            Some(parts.url(&batch.batch_id, upload, part).await?)
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
    let next = (after <= layout.count()).then(|| {
        let url = batch_view::parts_url(base, &batch.batch_id);
        let urls = if wanted.all_urls { "&urls=all" } else { "" };
        format!("{url}?from={after}&limit={}{urls}", wanted.limit)
    });
    let about = About {
        part_size: layout.part_size,
        part_count: layout.count(),
        expires_at,
    };
    http::page_with(&about, next, &results)
}

fn parse(query: &Fields) -> Result<Wanted, FieldError> {
    let mut wanted = Wanted {
        from: 1,
        limit: DEFAULT_LIMIT,
        all_urls: false,
    };
    for (name, value) in query {
        let number = whole_number(value);
        match name.as_str() {
            "from" => {
                let number = number.filter(|number| (1..=MAX_PARTS).contains(number));
                wanted.from = number.ok_or_else(|| out_of_bounds(MAX_PARTS))?;
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
                wanted.all_urls = match value.as_str() {
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
                    "must be one of from, limit, urls",
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
