//! `DELETE /api/members/{id}`: removes a member.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, ATTEMPTS, Service, member_view};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;

struct Function {
    access: Access,
    members: Members,
}

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    let function = Arc::new(Function {
        access: Access::from_setup(setup)?,
        members: Members::from_setup(setup)?,
    });
    Ok(http::service(move |request| {
        let function = Arc::clone(&function);
        async move { delete(&function, request).await }
    }))
}

async fn delete(function: &Function, request: Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Writer, &request).await?;
    // The member may change between the look and the removal; then the new one decides.
    for _ in 0..ATTEMPTS {
        let was = member_view::requested(&function.members, &request, &caller.accounts).await?;
        member_view::check_version(&request, &was)?;
        if function.members.delete(&was).await? {
            return Ok(http::empty(StatusCode::NO_CONTENT));
        }
    }
    Err(Problem::busy())
}
