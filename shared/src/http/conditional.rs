//! Conditional requests (RFC 9110, section 13): compares the tags that a client sends in `If-Match` or `If-None-Match` with
//! the one of the current version.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use lambda_http::http::{HeaderMap, HeaderName, StatusCode};
use lambda_http::{Body, Response};
use sha2::{Digest, Sha256};

use super::response::set_header;
use crate::problem::Problem;

/// Bytes of a tag: enough to make equal tags of different versions practically impossible.
const TAG: usize = 16;

/// Returns the `ETag` of a content: a hash of its parts.
#[must_use]
pub fn etag_of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.finalize()[..TAG]))
}

/// Returns whether `If-Match` is absent or names the tag. The comparison is strong: a weak tag does not match.
#[must_use]
pub fn if_match_holds(headers: &HeaderMap, tag: &str) -> bool {
    tags(headers, IF_MATCH).is_none_or(|mut tags| tags.any(|sent| sent == "*" || sent == tag))
}

/// Adds the tag to a response to GET. If the client has this version (`If-None-Match`), the response becomes 304 without a
/// body. The comparison is weak: gateways and caches that compress a response make its tag weak.
///
/// # Errors
/// Returns an internal problem if the tag is not valid in a header.
pub fn tagged(
    mut response: Response<Body>,
    headers: &HeaderMap,
    tag: &str,
) -> Result<Response<Body>, Problem> {
    set_header(&mut response, ETAG, tag)?;
    let is_known = tags(headers, IF_NONE_MATCH).is_some_and(|mut tags| {
        tags.any(|sent| sent == "*" || sent.strip_prefix("W/").unwrap_or(sent) == tag)
    });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::Empty;
        response.headers_mut().remove(CONTENT_TYPE);
    }
    Ok(response)
}

/// Returns the tags of a header, or `None` if it is absent. A tag that contains a comma is divided, but no part of it equals
/// a tag of ours, because those begin and end with a quotation mark.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<impl Iterator<Item = &str>> {
    let mut values = headers.get_all(name).into_iter().peekable();
    values.peek()?;
    let texts = values.filter_map(|value| value.to_str().ok());
    Some(texts.flat_map(|text| text.split(',')).map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::with_body;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_tag_depends_on_the_borders_between_parts() {
        assert_eq!(etag_of(["a", "b"]), etag_of(["a", "b"]));
        assert_ne!(etag_of(["a", "b"]), etag_of(["ab", ""]));
    }

    #[test]
    fn if_match_needs_a_strong_tag() {
        let holds = |value| if_match_holds(&headers(IF_MATCH, value), "\"a\"");
        assert!(holds("\"a\"") && holds("*") && holds("\"x\" , \"a\""));
        assert!(!holds("\"b\"") && !holds("W/\"a\"") && !holds("") && !holds("a"));
        assert!(if_match_holds(&HeaderMap::new(), "\"a\""));
    }

    #[test]
    fn a_known_version_is_not_sent_again() {
        let status = |headers: &HeaderMap| {
            let page = with_body(StatusCode::OK, "text/html", "x");
            let response = tagged(page, headers, "\"a\"").unwrap();
            assert_eq!(response.headers()[ETAG], "\"a\"");
            let is_empty = response.body().is_empty();
            assert_eq!(is_empty, response.headers().get(CONTENT_TYPE).is_none());
            assert_eq!(is_empty, response.status() == StatusCode::NOT_MODIFIED);
            response.status().as_u16()
        };
        for known in ["\"a\"", "W/\"a\"", "*", "\"x\",W/\"a\""] {
            assert_eq!(status(&headers(IF_NONE_MATCH, known)), 304, "{known}");
        }
        for other in ["\"b\"", "a", "", "\"a,\"", "W/\"b\""] {
            assert_eq!(status(&headers(IF_NONE_MATCH, other)), 200, "{other}");
        }
        assert_eq!(status(&HeaderMap::new()), 200);
    }
}
