//! A person, addressed by a phone number: the members with that number, of all accounts.

use lambda_http::Request;

use super::fields::{self, Fields};
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
    let parameters = fields::query(request)?;
    phone(&parameters, region).map_err(|error| Problem::invalid_fields(vec![error]))
}

fn phone(parameters: &Fields, region: DefaultRegion) -> Result<Phone, FieldError> {
    let value = fields::only(parameters, PHONE_NUMBER, "is required")?;
    fields::phone_number(PHONE_NUMBER, value, region)
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
    page.members.sort_by_key(id);
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
        let parse = |name: &str, value: &str| {
            let parameters = [(name.to_owned(), value.to_owned())].into();
            phone(&parameters, "US".parse().unwrap())
                .map(|phone| phone.as_str().to_owned())
                .map_err(|error| error.code)
        };
        for notation in ["+17145550123", " 1 714 555 0123", "(714) 555-0123"] {
            assert_eq!(parse(PHONE_NUMBER, notation), Ok("+17145550123".to_owned()));
        }
        assert_eq!(parse(PHONE_NUMBER, "12"), Err("invalid_phone"));
        assert_eq!(parse("ph", "7145550123"), Err("unknown_parameter"));
        let none = phone(&Fields::new(), "US".parse().unwrap());
        assert_eq!(none.unwrap_err().code, "required");
    }
}
