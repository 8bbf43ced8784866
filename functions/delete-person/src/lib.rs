//! `DELETE /api/persons?phone_number=…`: removes the members with a phone number, of all accounts.

use futures_util::{StreamExt, TryStreamExt, stream};
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::{self, ATTEMPTS, Service, person_view};
use mpulse_shared::key::Role;
use mpulse_shared::member::Member;
use mpulse_shared::phone::{DefaultRegion, Phone};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::members::Members;
use serde_json::json;

/// Removals at once.
const AT_ONCE: usize = 16;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Admin, delete)
}

async fn delete(
    (members, region): (Members, DefaultRegion),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let phone = person_view::requested(&request, region)?;
    let page = person_view::members(&members, &phone, &caller.accounts).await?;
    let removed: Vec<Option<String>> = stream::iter(page.members)
        .map(|member| remove(&members, &phone, member))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let removed: Vec<String> = removed.into_iter().flatten().collect();
    http::json(
        StatusCode::OK,
        &json!({
            "phone_number": phone.as_str(),
            "removed": removed,
            "has_more": page.has_more,
        }),
    )
}

/// Removes a member, as long as it has the phone number. Returns its id, or `None` if it is gone or has another number.
async fn remove(
    members: &Members,
    phone: &Phone,
    mut member: Member,
) -> Result<Option<String>, Problem> {
    // The index may be older than the member, and the member may change in between.
    for _ in 0..ATTEMPTS {
        if members.delete(&member).await? {
            return Ok(Some(member.profile.id.to_string()));
        }
        member = match members.get(&member.profile.id).await? {
            Some(found) if found.profile.phone_number == *phone => found,
            _ => return Ok(None),
        };
    }
    Err(Problem::busy())
}
