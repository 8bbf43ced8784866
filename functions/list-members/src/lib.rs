//! `GET /api/members/`: members by id, phone, client id or account, alone or combined, page by
//! page, as JSON or CSV.

use lambda_http::http::header::VARY;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::csv;
use mpulse_shared::http::{self, Service, accept, cursor, link};
use mpulse_shared::member::Member;
use mpulse_shared::phone::DefaultRegion;
use mpulse_shared::problem::Problem;
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::{Members, Page};

use query::Query;

mod query;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized_or_anonymous(setup, list)
}

async fn list(
    (members, region): (Members, DefaultRegion),
    caller: Option<Caller>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let parameters = http::query(&request)?;
    let query = Query::parse(&parameters, region).map_err(Problem::invalid_fields)?;
    if caller.is_none() && query.is_unfiltered() {
        return Err(Problem::invalid_field(
            "aid",
            "required",
            "is required without a key: filter by id, ph, cmid or aid",
        ));
    }
    let scope = caller.map_or(Scope::ALL, |caller| caller.accounts);
    let identity = query.identity(&scope);
    let after = query
        .after(&identity)
        .map_err(|error| Problem::invalid_fields(vec![error]))?;
    let page = match query.filter() {
        Some(filter) => {
            members
                .find(&filter, &scope, query.limit, after.as_ref())
                .await?
        }
        None => Page::default(),
    };
    let last = page.members.last().filter(|_| page.has_more);
    let next = last.map(|last| {
        let cursor = cursor::encode(&last.profile.id.to_string(), &identity);
        let base = link::base(&request);
        format!(
            "{base}/api/members/?{}",
            query::with_cursor(&parameters, &cursor)
        )
    });
    let mut response = if accept::prefers(&request, "text/csv") {
        as_csv(&page.members, next.as_deref())?
    } else {
        http::page(next, &page.members)?
    };
    http::set_header(&mut response, VARY, "Accept")?;
    Ok(response)
}

/// Returns a page as CSV, with a `Link` header to the next page.
fn as_csv(members: &[Member], next: Option<&str>) -> Result<Response<Body>, Problem> {
    let mut text = csv::member_header();
    for member in members {
        csv::push_member(&mut text, &member.profile);
    }
    let mut response = http::csv(&text);
    if let Some(next) = next {
        http::set_next(&mut response, next)?;
    }
    Ok(response)
}
