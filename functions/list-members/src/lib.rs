//! `GET /api/members/`: members by id, phone, client id or account, alone or together,
//! page by page.

use std::sync::Arc;

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Access;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::phone::DefaultRegion;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::{After, Filter, Members, Page};

use query::Query;

mod cursor;
mod query;

struct Function {
    access: Access,
    members: Members,
    region: DefaultRegion,
}

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    let function = Arc::new(Function {
        access: Access::from_setup(setup)?,
        members: Members::from_setup(setup)?,
        region: setup.default_region()?,
    });
    Ok(http::service(move |request| {
        let function = Arc::clone(&function);
        async move { list(&function, &request).await }
    }))
}

async fn list(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require_reader(request).await?;
    let text = request.uri().query().unwrap_or_default();
    let query = Query::parse(text, function.region).map_err(Problem::invalid_fields)?;
    if caller.is_none() && query.is_unfiltered() {
        return Err(Problem::invalid_field(
            "aid",
            "required",
            "without a key, a list needs a filter: id, ph, cmid or aid",
        ));
    }
    let page = find(&function.members, &query).await?;
    let next = page
        .more
        .then(|| page.members.last())
        .flatten()
        .map(|last| {
            let cursor = cursor::encode(&After {
                id: last.profile.id.clone(),
                phone_number: last.profile.phone_number.clone(),
            });
            let base = link::base(request);
            format!("{base}/api/members/?{}", query::with_cursor(text, &cursor))
        });
    http::page(next, &page.members)
}

async fn find(members: &Members, query: &Query) -> Result<Page, Problem> {
    let nothing = Page {
        members: Vec::new(),
        more: false,
    };
    // The id is a filter like the others: it names the account and the client id.
    let filter = match &query.id {
        None => query.filter.clone(),
        Some(id) => {
            let same = Filter {
                account_id: Some(id.account_id.clone()),
                client_member_id: Some(id.client_member_id.clone()),
                phone_number: query.filter.phone_number.clone(),
            };
            let differs = |asked: Option<&str>, is: &str| asked.is_some_and(|asked| asked != is);
            let asked = &query.filter;
            if differs(
                asked
                    .account_id
                    .as_ref()
                    .map(mpulse_shared::member::AccountId::as_str),
                id.account_id.as_str(),
            ) || differs(
                asked
                    .client_member_id
                    .as_ref()
                    .map(mpulse_shared::member::ClientMemberId::as_str),
                id.client_member_id.as_str(),
            ) {
                return Ok(nothing);
            }
            same
        }
    };
    Ok(members
        .find(&filter, query.limit, query.after.as_ref())
        .await?)
}
