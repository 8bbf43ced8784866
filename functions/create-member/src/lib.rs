//! `POST /api/members/` and `/api/members/create/`: adds one member.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::http::header::LOCATION;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, form, link, member_view};
use mpulse_shared::member::{Author, Field, Member, RawProfile, Rules};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;
use mpulse_shared::time::Timestamp;

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
        async move { create(&function, request).await }
    }))
}

async fn create(function: &Function, request: Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Writer, &request).await?;
    let base = link::base(&request);
    let fields = form::fields(request).await?;
    let mut raw = RawProfile::default();
    for field in Field::ALL {
        if let Some(text) = fields.get(field.name()) {
            raw.set(field, text);
        }
    }
    let profile = function
        .rules
        .check(&raw)
        .map_err(Problem::invalid_fields)?;
    caller.may_write_to(&profile.id.account_id)?;
    let member = Member::new(
        profile,
        Timestamp::now(),
        Author::key(caller.key_id.as_str()),
    );
    let id = &member.profile.id;
    if !function.members.create(&member).await? {
        return Err(Problem::conflict(format!(
            "The member {id} exists already."
        )));
    }
    let mut response = member_view::answer(StatusCode::CREATED, &member)?;
    http::set_header(&mut response, LOCATION, &format!("{base}/api/members/{id}"))?;
    Ok(response)
}
