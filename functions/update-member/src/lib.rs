//! `PATCH /api/members/{id}`: changes names or the phone number of a member. If the values equal
//! the existing member, nothing changes, not even its time.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::fields::Fields;
use mpulse_shared::http::{self, ATTEMPTS, Service, form, member_view};
use mpulse_shared::key::Role;
use mpulse_shared::member::{Author, Rules};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;
use mpulse_shared::time::Timestamp;

mod change;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Writer, update)
}

async fn update(
    (members, rules): (Members, Rules),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    // The body is read separately, because the rest of the request is needed afterwards.
    let (head, body) = request.into_parts();
    let fields = form::fields(Request::from_parts(head.clone(), body)).await?;
    let request = Request::from_parts(head, Body::Empty);
    change(&members, rules, &caller, &request, &fields).await
}

async fn change(
    members: &Members,
    rules: Rules,
    caller: &Caller,
    request: &Request,
    fields: &Fields,
) -> Result<Response<Body>, Problem> {
    // If the member changes between the read and the write, the loop decides again.
    for _ in 0..ATTEMPTS {
        let was = member_view::requested(members, request, &caller.accounts).await?;
        member_view::check_version(request, &was)?;
        let profile = change::apply(fields, &was, rules).map_err(Problem::invalid_fields)?;
        if profile == was.profile {
            return member_view::answer(StatusCode::OK, &was);
        }
        let author = Author::key(caller.key_id.as_str());
        let is = was.changed(profile, Timestamp::now(), author);
        if members.replace(&was, &is).await? {
            return member_view::answer(StatusCode::OK, &is);
        }
    }
    Err(Problem::busy())
}
