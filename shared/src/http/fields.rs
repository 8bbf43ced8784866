//! The fields of a request, by name: the parameters of the query, and the fields of a body. A name that is given twice is an
//! error, because a client that sends it expects both values to have an effect, or does not know that it sends two.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use lambda_http::Request;

use crate::member::FieldError;
use crate::phone::{DefaultRegion, Phone};
use crate::problem::Problem;

/// Fields by name.
pub type Fields = BTreeMap<String, String>;

/// Returns the parameters of the query. They are read from the query as sent: where the gateway lists the parameters, it
/// joins the values of a name by commas.
///
/// # Errors
/// Returns 400 if a name is given twice.
pub fn query(request: &Request) -> Result<Fields, Problem> {
    let text = request.uri().query().unwrap_or_default();
    unique(form_urlencoded::parse(text.as_bytes()).into_owned())
}

/// Collects fields by name.
///
/// # Errors
/// Returns 400 with every name that is given twice.
pub fn unique<V>(
    pairs: impl IntoIterator<Item = (String, V)>,
) -> Result<BTreeMap<String, V>, Problem> {
    let mut fields = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for (name, value) in pairs {
        match fields.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(entry) => {
                twice.insert(entry.key().clone());
            }
        }
    }
    if twice.is_empty() {
        return Ok(fields);
    }
    let errors = twice.into_iter().map(repeated);
    Err(Problem::invalid_fields(errors.collect()))
}

/// Returns the parameter called `name`, the only one that the request may have. `required` is the message if it is missing.
///
/// # Errors
/// Returns an error if it is missing, or if there is another parameter.
pub fn only<'a>(parameters: &'a Fields, name: &str, required: &str) -> Result<&'a str, FieldError> {
    if let Some(other) = parameters.keys().find(|other| *other != name) {
        let message = format!("must be {name}");
        return Err(FieldError::new(other, "unknown_parameter", message));
    }
    let value = parameters.get(name).map(String::as_str);
    value.ok_or_else(|| FieldError::new(name, "required", required))
}

/// Reads a phone number in the query.
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
pub fn unplussed(value: &str) -> Cow<'_, str> {
    match value.strip_prefix(' ') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => format!("+{rest}").into(),
        _ => value.into(),
    }
}

/// Returns the error for a field that is given twice.
pub fn repeated(name: impl Into<String>) -> FieldError {
    FieldError::new(name, "repeated", "must not be given more than once")
}

#[cfg(test)]
mod tests {
    use lambda_http::Body;

    use super::*;

    fn of(uri: &str) -> Result<Fields, Problem> {
        let request = lambda_http::http::Request::get(uri);
        query(&request.body(Body::Empty).unwrap())
    }

    #[test]
    fn a_parameter_is_given_once() {
        let fields = of("/x?a=1&b=%2B+2&c").unwrap();
        let expected = [("a", "1"), ("b", "+ 2"), ("c", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields, Fields::from(expected));
        assert_eq!(of("/x").unwrap(), Fields::new());
    }

    #[test]
    fn every_repeated_name_is_in_the_problem() {
        for uri in ["/x?b=1&a=1&c=1&b=1&a=2", "/x?a=1&%61=1&b=&b="] {
            let problem = serde_json::to_value(of(uri).unwrap_err()).unwrap();
            assert_eq!(problem["detail"], "Invalid: a, b.", "{uri}");
            assert_eq!(problem["errors"][0]["code"], "repeated");
        }
    }
}
