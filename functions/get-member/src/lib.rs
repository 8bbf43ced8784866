//! `GET /api/members/{id}`: one member by its public id, with one read of the primary key.

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::{self, Service, member_view};
use mpulse_shared::problem::Problem;
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized_or_anonymous(setup, get)
}

async fn get(
    members: Members,
    caller: Option<Caller>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let scope = caller.map_or(Scope::ALL, |caller| caller.accounts);
    let member = member_view::requested(&members, &request, &scope).await?;
    member_view::show(&request, &member)
}
