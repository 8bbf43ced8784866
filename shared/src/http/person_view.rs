//! A person, addressed by a phone number: the members with that number, of all accounts.

use lambda_http::Request;

use crate::member::{FieldError, Member};
use crate::phone::{DefaultRegion, Phone};
use crate::problem::Problem;
use crate::scope::Scope;
use crate::store::members::{Filter, Members, Page};

/// The parameter that names the person.
const PHONE_NUMBER: &str = "phone_number";

/// The most members that one request returns or removes.
pub const MAX_MEMBERS: usize = 500;

/// Returns the phone number in the query string of a request.
///
/// # Errors
/// Returns 400 if it is missing or is not a phone number, or if there is another parameter.
pub fn requested(request: &Request, region: DefaultRegion) -> Result<Phone, Problem> {
    let query = request.uri().query().unwrap_or_default();
    phone(query, region).map_err(|error| Problem::invalid_fields(vec![error]))
}

fn phone(query: &str, region: DefaultRegion) -> Result<Phone, FieldError> {
    let mut phone = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != PHONE_NUMBER {
            let message = format!("must be {PHONE_NUMBER}");
            return Err(FieldError::new(name, "unknown_parameter", message));
        }
        phone = Some(phone_number(PHONE_NUMBER, &value, region)?);
    }
    phone.ok_or_else(|| FieldError::new(PHONE_NUMBER, "required", "is required"))
}

/// Reads a phone number in a query string.
///
/// # Errors
/// Returns an error for the parameter `name` if it is not a phone number.
pub fn phone_number(name: &str, value: &str, region: DefaultRegion) -> Result<Phone, FieldError> {
    region
        .parse(unplussed(value).as_ref())
        .map_err(|error| FieldError::new(name, "invalid_phone", error.to_string()))
}

/// Restores a plus sign that was not escaped in the URL and arrived as a space: people type
/// `?ph=+17145550123`.
#[must_use]
pub fn unplussed(value: &str) -> std::borrow::Cow<'_, str> {
    match value.strip_prefix(' ') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => format!("+{rest}").into(),
        _ => value.into(),
    }
}

/// Returns the members with a phone number within the scope, at most [`MAX_MEMBERS`].
///
/// # Errors
/// Returns an error if a request to DynamoDB fails.
pub async fn members(members: &Members, phone: &Phone, scope: &Scope) -> Result<Page, Problem> {
    let filter = Filter {
        phone_number: Some(phone.clone()),
        ..Filter::default()
    };
    let mut page = members.find(&filter, scope, MAX_MEMBERS, None).await?;
    page.members.sort_by(|a, b| id(a).cmp(&id(b)));
    Ok(page)
}

fn id(member: &Member) -> String {
    member.profile.id.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_named_by_any_notation_of_a_phone() {
        let parse = |query| {
            phone(query, "US".parse().unwrap())
                .map(|phone| phone.as_str().to_owned())
                .map_err(|error| error.code)
        };
        let found = Ok("+17145550123".to_owned());
        assert_eq!(parse("phone_number=%2B17145550123"), found);
        assert_eq!(parse("phone_number=+1+714+555+0123"), found);
        assert_eq!(parse("phone_number=(714)%20555-0123"), found);
        assert_eq!(parse(""), Err("required"));
        assert_eq!(parse("phone_number=12"), Err("invalid_phone"));
        assert_eq!(parse("ph=7145550123"), Err("unknown_parameter"));
    }
}
