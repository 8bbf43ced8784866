//! `GET /api/persons?phone_number=…`: the members with a phone number, of all accounts.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::{self, Service, person_view};
use mpulse_shared::key::Role;
use mpulse_shared::phone::DefaultRegion;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;
use serde_json::json;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Admin, get)
}

async fn get(
    (members, region): (Members, DefaultRegion),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let phone = person_view::requested(&request, region)?;
    let page = person_view::members(&members, &phone, &caller.accounts).await?;
    http::json(
        StatusCode::OK,
        &json!({
            "phone_number": phone.as_str(),
            "members": page.members,
            "has_more": page.has_more,
        }),
    )
}
