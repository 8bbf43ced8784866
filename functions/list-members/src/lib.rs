//! `GET /api/members/`: members by id, phone, client id or account, alone or together,
//! page by page.

use std::sync::Arc;

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Access;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, cursor, link};
use mpulse_shared::phone::DefaultRegion;
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::{Members, Page};

use query::Query;

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
    let scope = caller.map_or(Scope::ALL, |caller| caller.accounts);
    let identity = query.identity(&scope);
    let after = query
        .after(&identity)
        .map_err(|error| Problem::invalid_fields(vec![error]))?;
    let page = match query.filter() {
        Some(filter) => {
            function
                .members
                .find(&filter, &scope, query.limit, after.as_ref())
                .await?
        }
        None => Page::default(),
    };
    let last = page.members.last().filter(|_| page.more);
    let next = last.map(|last| {
        let cursor = cursor::encode(&last.profile.id.to_string(), &identity);
        let base = link::base(request);
        format!("{base}/api/members/?{}", query::with_cursor(text, &cursor))
    });
    http::page(next, &page.members)
}
