//! `POST /api/members/` and `/api/members/create/`: creates a member.

use lambda_http::http::StatusCode;
use lambda_http::http::header::LOCATION;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::{self, Service, form, link, member_view};
use mpulse_shared::idempotency::Attempt;
use mpulse_shared::key::Role;
use mpulse_shared::member::{Author, Field, Member, RawProfile, Rules};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::idempotent(setup, Role::Writer, create)
}

async fn create(
    (members, rules): (Members, Rules),
    caller: Caller,
    attempt: Attempt,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let base = link::base(&request);
    let fields = form::fields(request).await?;
    let mut raw = RawProfile::default();
    for field in Field::ALL {
        if let Some(text) = fields.get(field.name()) {
            raw.set(field, text);
        }
    }
    let profile = rules.check(&raw).map_err(Problem::invalid_fields)?;
    caller.require_account(&profile.id.account_id)?;
    let author = Author::key(caller.key_id.as_str());
    let member = Member::new(profile, attempt.at, author);
    let id = &member.profile.id;
    if !members.create(&member).await? && !was_created(&members, &member, &attempt).await? {
        return Err(Problem::conflict(format!(
            "The member {id} already exists."
        )));
    }
    let mut response = member_view::answer(StatusCode::CREATED, &member)?;
    http::set_header(&mut response, LOCATION, &format!("{base}/api/members/{id}"))?;
    Ok(response)
}

/// Returns whether this request has created the member that exists: an earlier attempt of it, as its time and author show, or
/// this one, if it is the same member and only the response of the database was lost.
async fn was_created(
    members: &Members,
    member: &Member,
    attempt: &Attempt,
) -> Result<bool, Problem> {
    if !attempt.has_key {
        return Ok(false);
    }
    let Some(existing) = members.get(&member.profile.id).await? else {
        return Ok(false);
    };
    let is_of_attempt =
        existing.created_at == member.created_at && existing.created_by == member.created_by;
    Ok(existing == *member || (attempt.is_repeated && is_of_attempt))
}
