//! `PATCH /api/members/{id}`: changes names or the phone of a member. What equals the member
//! already changes nothing, not even its time.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Caller, Role};
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, ATTEMPTS, Service, form, member_view};
use mpulse_shared::member::{Author, Rules};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;
use mpulse_shared::time::Timestamp;

mod change;

struct Function {
    access: Access,
    members: Members,
    rules: Rules,
}

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    let function = Arc::new(Function {
        access: Access::from_setup(setup)?,
        members: Members::from_setup(setup)?,
        rules: Rules {
            region: setup.default_region()?,
        },
    });
    Ok(http::service(move |request| {
        let function = Arc::clone(&function);
        async move { update(&function, request).await }
    }))
}

async fn update(function: &Function, request: Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Writer, &request).await?;
    // The body is read apart, since what else the request says is needed after it.
    let (head, body) = request.into_parts();
    let fields = form::fields(Request::from_parts(head.clone(), body)).await?;
    let request = Request::from_parts(head, Body::Empty);
    change(function, &caller, &request, &fields).await
}

async fn change(
    function: &Function,
    caller: &Caller,
    request: &Request,
    fields: &form::Fields,
) -> Result<Response<Body>, Problem> {
    // The member may change between the look and the write; then the new one decides.
    for _ in 0..ATTEMPTS {
        let was = member_view::requested(&function.members, request, &caller.accounts).await?;
        member_view::check_version(request, &was)?;
        let profile =
            change::apply(fields, &was, function.rules).map_err(Problem::invalid_fields)?;
        if profile == was.profile {
            return member_view::answer(StatusCode::OK, &was);
        }
        let author = Author::key(caller.key_id.as_str());
        let is = was.changed(profile, Timestamp::now(), author);
        if function.members.replace(&was, &is).await? {
            return member_view::answer(StatusCode::OK, &is);
        }
    }
    Err(Problem::busy())
}
