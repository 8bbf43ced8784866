//! `GET /api/members/{id}`: one member by its public id, in one read of the primary key.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Access;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, member_view};
use mpulse_shared::scope::Scope;
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
        async move { get(&function, request).await }
    }))
}

async fn get(function: &Function, request: Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require_reader(&request).await?;
    let scope = caller.map_or(Scope::ALL, |caller| caller.accounts);
    let member = member_view::requested(&function.members, &request, &scope).await?;
    member_view::answer(StatusCode::OK, &member)
}
