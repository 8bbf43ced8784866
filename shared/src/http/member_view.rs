//! A member addressed by its path: finds it, compares its version (`ETag`), and builds the response.

use lambda_http::http::StatusCode;
use lambda_http::http::header::ETAG;
use lambda_http::{Body, Request, RequestExt, Response};

use super::conditional::{etag_of, if_match_holds, tagged};
use super::response::{json, set_header};
use crate::member::{Member, MemberId};
use crate::problem::Problem;
use crate::scope::Scope;
use crate::store::members::Members;

/// Returns the member that the path names.
///
/// # Errors
/// Returns 404 if there is none within the scope; members of other accounts are not revealed.
pub async fn requested(
    members: &Members,
    request: &Request,
    scope: &Scope,
) -> Result<Member, Problem> {
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let missing = || Problem::not_found(format!("The member {id} does not exist."));
    // No member has an id that is not valid.
    let key: MemberId = id.parse().map_err(|_| missing())?;
    if !scope.covers(&key.account_id) {
        return Err(missing());
    }
    members.get(&key).await?.ok_or_else(missing)
}

/// Compares the version of a member with the one that the client read (`If-Match`, RFC 9110).
///
/// # Errors
/// Returns 412 if it differs.
pub fn check_version(request: &Request, member: &Member) -> Result<(), Problem> {
    let tag = etag(member);
    if if_match_holds(request.headers(), &tag) {
        return Ok(());
    }
    Err(Problem::precondition_failed(&tag))
}

/// Returns the response to a GET of a member: 304 if the client has this version.
///
/// # Errors
/// Returns an internal problem if it cannot be written as JSON.
pub fn show(request: &Request, member: &Member) -> Result<Response<Body>, Problem> {
    tagged(
        json(StatusCode::OK, member)?,
        request.headers(),
        &etag(member),
    )
}

/// Returns the response to a change of a member, which shows it.
///
/// # Errors
/// Returns an internal problem if it cannot be written as JSON.
pub fn answer(status: StatusCode, member: &Member) -> Result<Response<Body>, Problem> {
    let mut response = json(status, member)?;
    set_header(&mut response, ETAG, &etag(member))?;
    Ok(response)
}

/// Returns the tag of a version: a hash of all fields.
fn etag(member: &Member) -> String {
    let profile = &member.profile;
    let id = profile.id.to_string();
    let (created, updated) = (member.created_at.to_string(), member.updated_at.to_string());
    etag_of([
        id.as_str(),
        &profile.first_name,
        &profile.last_name,
        profile.phone_number.as_str(),
        &created,
        &updated,
        member.created_by.as_str(),
        member.updated_by.as_str(),
    ])
}

#[cfg(test)]
mod tests {
    use lambda_http::http::header::IF_MATCH;

    use super::*;
    use crate::member::{Author, Profile};
    use crate::phone::Phone;
    use crate::time::Timestamp;

    fn member(first_name: &str) -> Member {
        let profile = Profile {
            id: "4~1".parse().unwrap(),
            first_name: first_name.to_owned(),
            last_name: "Lee".to_owned(),
            phone_number: Phone::from_stored("+17145550123".to_owned()),
        };
        Member::new(profile, Timestamp::from_millis(1), Author::key("ops"))
    }

    fn passes(if_match: &str) -> bool {
        let request = lambda_http::http::Request::builder()
            .header(IF_MATCH, if_match)
            .body(Body::Empty)
            .unwrap();
        check_version(&request, &member("Ann")).is_ok()
    }

    #[test]
    fn only_the_version_that_was_read_passes() {
        let tag = etag(&member("Ann"));
        assert!(passes(&tag) && passes("*") && passes(&format!("\"x\", {tag}")));
        let other = etag(&member("Bob"));
        assert!(!passes(&other) && !passes(&format!("W/{tag}")) && !passes("") && !passes("\"\""));
        assert!(check_version(&Request::default(), &member("Ann")).is_ok());
    }
}
