//! `GET /api/members/{id}`: one member by its public id, in one read of the primary key.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::access::Access;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service};
use mpulse_shared::member::MemberId;
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
    function.access.require_reader(&request).await?;
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let missing = || Problem::not_found(format!("There is no member {id}."));
    // A text that can't be an id is an id that nobody has.
    let key: MemberId = id.parse().map_err(|_| missing())?;
    let member = function.members.get(&key).await?.ok_or_else(missing)?;
    http::json(StatusCode::OK, &member)
}
