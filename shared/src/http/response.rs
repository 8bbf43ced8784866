//! Builds the responses of handlers.

use lambda_http::http::header::{CONTENT_TYPE, HeaderName, LINK, LOCATION};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

use crate::media_type;
use crate::problem::Problem;

/// Returns a response with a JSON body.
///
/// # Errors
/// Returns an internal problem if the value cannot be written as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let body = serde_json::to_string(value).map_err(|error| Problem::internal(&error))?;
    Ok(with_body(status, "application/json", body))
}

/// Returns the response to a request that created something: its JSON, and its URL in `Location`.
///
/// # Errors
/// Returns an internal problem if the value cannot be written as JSON.
pub fn json_at(
    status: StatusCode,
    value: &impl Serialize,
    location: &str,
) -> Result<Response<Body>, Problem> {
    let mut response = json(status, value)?;
    set_header(&mut response, LOCATION, location)?;
    Ok(response)
}

/// Returns a page of a list, as JSON and with a `Link` header (RFC 8288) to the next page.
///
/// # Errors
/// Returns an internal problem if a result cannot be written as JSON.
pub fn page<T: Serialize>(next: Option<String>, results: &[T]) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct NoFields {}
    page_with(&NoFields {}, next, results)
}

/// Like [`page`], with the fields of the struct `fields` beside the results.
///
/// # Errors
/// Returns an internal problem if it cannot be written as JSON.
pub fn page_with<A: Serialize, T: Serialize>(
    fields: &A,
    next: Option<String>,
    results: &[T],
) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct Page<'a, A, T> {
        #[serde(flatten)]
        fields: &'a A,
        next: Option<&'a str>,
        results: &'a [T],
    }
    let body = Page {
        fields,
        next: next.as_deref(),
        results,
    };
    let mut response = json(StatusCode::OK, &body)?;
    if let Some(next) = next {
        set_next(&mut response, &next)?;
    }
    Ok(response)
}

/// Adds a `Link` header (RFC 8288) to the next page.
///
/// # Errors
/// Returns an internal problem if the URL is not valid in a header.
pub fn set_next(response: &mut Response<Body>, next: &str) -> Result<(), Problem> {
    set_header(response, LINK, &format!("<{next}>; rel=\"next\""))
}

/// Returns a CSV file. `text` begins with the mark ([`crate::csv::BOM`]).
#[must_use]
pub fn csv(text: &str) -> Response<Body> {
    // There are two marks, because `lambda_http` removes one.
    let body = format!("{}{text}", crate::csv::BOM);
    with_body(StatusCode::OK, media_type::CSV, body)
}

/// Returns a response with a body of a media type.
pub fn with_body(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Returns a response without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// Adds a header.
///
/// # Errors
/// Returns an internal problem if the value is not valid in a header.
pub fn set_header(
    response: &mut Response<Body>,
    name: HeaderName,
    value: &str,
) -> Result<(), Problem> {
    let value = HeaderValue::from_str(value).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(name, value);
    Ok(())
}
