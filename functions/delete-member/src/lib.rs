//! `DELETE /api/members/{id}`: removes a member.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::{self, ATTEMPTS, Service, member_view};
use mpulse_shared::key::Role;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Writer, delete)
}

async fn delete(
    members: Members,
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    // If the member changes between the read and the removal, the loop decides again.
    for _ in 0..ATTEMPTS {
        let was = member_view::requested(&members, &request, &caller.accounts).await?;
        member_view::check_version(&request, &was)?;
        if members.delete(&was).await? {
            return Ok(http::empty(StatusCode::NO_CONTENT));
        }
    }
    Err(Problem::busy())
}
