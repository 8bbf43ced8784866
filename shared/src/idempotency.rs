//! Requests with an `Idempotency-Key`: a request that is repeated with the same key gets the first response again. This module
//! defines the record of such a request, and does no I/O. [`crate::http::idempotent`] handles the requests, and
//! [`crate::store::idempotency`] stores the records.
//!
//! A record is in flight until it has the response. An attempt to handle the request holds its lease; if the attempt is
//! stopped, the next repetition takes the lease over once it has expired. All attempts have the same [`Attempt::at`] and
//! [`Attempt::batch_id`], by which a later attempt recognises what a stopped one has created.

use std::collections::BTreeMap;

use lambda_http::http::header::{HeaderName, HeaderValue};
use lambda_http::http::{StatusCode, request};
use lambda_http::{Body, Response};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::batch::BatchId;
use crate::time::Timestamp;

/// How long a response is kept, in seconds.
pub const KEPT_SECONDS: i64 = 24 * 3600;

/// How long an attempt holds the lease, in milliseconds: longer than any function that responds to requests may run, which
/// is 30 seconds.
const LEASE_MILLIS: i64 = 40_000;

/// An attempt to handle a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When the first attempt began: the time of what the request creates.
    pub at: Timestamp,
    /// The id of a batch that the request creates.
    pub batch_id: BatchId,
    /// Whether the request has a key.
    pub has_key: bool,
    /// Whether an earlier attempt was stopped, perhaps after it had an effect.
    pub is_repeated: bool,
}

impl Attempt {
    /// Returns the only attempt of a request without a key.
    #[must_use]
    pub fn only() -> Self {
        Self {
            at: Timestamp::now(),
            batch_id: BatchId::generate(),
            has_key: false,
            is_repeated: false,
        }
    }
}

/// A request with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Partition key: a hash of what a repeated request has in common with the first, which is the caller, the method, the
    /// path and the key.
    pub request_hash: String,
    /// A hash of everything else that must be the same.
    pub fingerprint: String,
    /// When the first attempt began.
    pub first_at: Timestamp,
    /// The id of a batch that the request creates.
    pub batch_id: BatchId,
    /// The number of attempts.
    pub attempts: u32,
    /// The attempt that holds the lease.
    pub lease_owner: String,
    /// When the lease expires, in milliseconds since 1970.
    pub lease_until: i64,
    /// The response; `None` while the request is in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<StoredResponse>,
    /// When the record expires, in seconds since 1970. DynamoDB deletes it later, so readers compare the time.
    pub expires_at: i64,
}

impl Record {
    /// Creates the record of the first attempt.
    #[must_use]
    pub fn new(request_hash: String, fingerprint: String, now: Timestamp) -> Self {
        Self {
            request_hash,
            fingerprint,
            first_at: now,
            batch_id: BatchId::generate(),
            attempts: 1,
            lease_owner: Ulid::generate().to_string(),
            lease_until: now.millis() + LEASE_MILLIS,
            response: None,
            expires_at: now.seconds() + KEPT_SECONDS,
        }
    }

    /// Returns whether the attempt that holds the lease was stopped.
    #[must_use]
    pub fn lease_has_expired(&self, now: Timestamp) -> bool {
        self.lease_until <= now.millis()
    }

    /// Returns the record for the next attempt, which holds the lease of `own`.
    #[must_use]
    pub fn taken_over(self, own: &Self) -> Self {
        Self {
            attempts: self.attempts + 1,
            lease_owner: own.lease_owner.clone(),
            lease_until: own.lease_until,
            ..self
        }
    }

    /// Returns the attempt that holds the lease.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt {
            at: self.first_at,
            batch_id: self.batch_id.clone(),
            has_key: true,
            is_repeated: self.attempts > 1,
        }
    }

    /// Returns the record after the attempt. A response of 500 or more is not kept, because a repeated request may succeed:
    /// it may begin at once.
    #[must_use]
    pub fn responded(self, response: &Response<Body>) -> Self {
        if response.status().is_server_error() {
            return Self {
                lease_until: 0,
                ..self
            };
        }
        Self {
            response: Some(StoredResponse::new(response)),
            ..self
        }
    }
}

/// A response as stored. It may contain personal data, and the URL of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl StoredResponse {
    fn new(response: &Response<Body>) -> Self {
        let body: &[u8] = response.body();
        let headers = response.headers().iter();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            status: response.status().as_u16(),
            headers: headers
                .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                .collect(),
            body: text(body),
        }
    }

    /// Returns the response; `None` if what is stored is not one.
    #[must_use]
    pub fn into_response(self) -> Option<Response<Body>> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).ok()?;
        for (name, value) in self.headers {
            let name: HeaderName = name.parse().ok()?;
            let value: HeaderValue = value.parse().ok()?;
            response.headers_mut().insert(name, value);
        }
        Some(response)
    }
}

/// Returns the hash of what a repeated request has in common with the first. A trailing slash makes no difference.
#[must_use]
pub fn request_hash(caller: &str, head: &request::Parts, key: &str) -> String {
    let path = head.uri.path().trim_end_matches('/');
    hash([caller, head.method.as_str(), path, key].map(str::as_bytes))
}

/// Returns the hash of the query, the media type and the body. The boundary of a multipart body is left out, because clients
/// generate another one when they repeat a request.
#[must_use]
pub fn fingerprint(head: &request::Parts, media_type: &str, boundary: &str, body: &[u8]) -> String {
    let query = head.uri.query().unwrap_or_default();
    let coding = head.headers.get("content-encoding");
    let coding = coding.map(HeaderValue::as_bytes).unwrap_or_default();
    let start = [query.as_bytes(), media_type.as_bytes(), coding];
    if boundary.is_empty() {
        return hash(start.into_iter().chain([body]));
    }
    let found = memmem::find_iter(body, boundary);
    let ends: Vec<usize> = found.chain([body.len()]).collect();
    let starts = ends.iter().map(|end| end + boundary.len());
    let starts = std::iter::once(0).chain(starts);
    let pieces = starts.zip(&ends).map(|(from, &to)| &body[from..to]);
    hash(start.into_iter().chain(pieces))
}

/// Returns a SHA-256 over texts and their lengths, in hexadecimal.
fn hash<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use lambda_http::Request;

    use super::*;
    use crate::problem::Problem;

    fn head(method: &str, uri: &str) -> request::Parts {
        let request = lambda_http::http::Request::builder();
        let request: Request = request.method(method).uri(uri).body(Body::Empty).unwrap();
        request.into_parts().0
    }

    fn record() -> Record {
        Record::new("r".into(), "f".into(), Timestamp::from_millis(1_000_500))
    }

    #[test]
    fn the_caller_method_path_and_key_identify_a_request() {
        let of = |caller, method, uri, key| request_hash(caller, &head(method, uri), key);
        let one = of("ops", "POST", "/api/members", "k");
        assert_eq!(of("ops", "POST", "/api/members/?x=1", "k"), one);
        for other in [
            of("op", "POST", "/api/members", "k"),
            of("ops", "PUT", "/api/members", "k"),
            of("ops", "POST", "/api/members/batch", "k"),
            of("ops", "POST", "/api/members", "l"),
            of("opsP", "OST", "/api/members", "k"),
        ] {
            assert_ne!(other, one);
        }
    }

    #[test]
    fn everything_else_is_in_the_fingerprint() {
        let of = |uri, media_type, body: &str| {
            fingerprint(&head("POST", uri), media_type, "", body.as_bytes())
        };
        let one = of("/x?a=1", "text/csv", "a");
        assert_eq!(of("/y?a=1", "text/csv", "a"), one);
        for other in [
            of("/x?a=2", "text/csv", "a"),
            of("/x", "text/csv", "a"),
            of("/x?a=1", "text/plain", "a"),
            of("/x?a=1", "text/csv", "b"),
            of("/x?a=1", "text/csva", ""),
        ] {
            assert_ne!(other, one);
        }
    }

    #[test]
    fn the_boundary_of_a_multipart_body_makes_no_difference() {
        let of = |boundary: &str, content: &str| {
            let body = format!("--{boundary}\r\n\r\n{content}\r\n--{boundary}--\r\n");
            let head = head("POST", "/x");
            fingerprint(&head, "multipart/form-data", boundary, body.as_bytes())
        };
        assert_eq!(of("aaaa", "1"), of("bbbbbb", "1"));
        assert_ne!(of("aaaa", "1"), of("aaaa", "2"));
        assert_ne!(of("aaaa", "1aaaa"), of("aaaa", "1"));
    }

    #[test]
    fn an_attempt_after_an_expired_lease_knows_what_the_first_began() {
        let first = record();
        assert!(!first.attempt().is_repeated);
        let end = Timestamp::from_millis(1_000_500 + LEASE_MILLIS);
        assert!(!first.lease_has_expired(end.plus_millis(-1)));
        assert!(first.lease_has_expired(end));
        let own = Record::new("r".into(), "f".into(), end);
        let next = first.clone().taken_over(&own);
        assert!(next.attempt().is_repeated);
        assert_eq!(next.attempt().batch_id, first.batch_id);
        assert_eq!(next.attempt().at, first.first_at);
        assert_eq!(next.lease_owner, own.lease_owner);
        assert_eq!(next.expires_at, first.expires_at);
    }

    #[test]
    fn a_response_is_returned_as_it_was_unless_it_is_an_error_of_the_server() {
        let mut created = Response::new(Body::from("{\"name\": \"Zoë\"}"));
        *created.status_mut() = StatusCode::CREATED;
        let location = HeaderValue::from_static("/x");
        created.headers_mut().insert("location", location);
        let stored = record().responded(&created).response.unwrap();
        let item: crate::store::item::Item = serde_dynamo::to_item(&stored).unwrap();
        let stored: StoredResponse = serde_dynamo::from_item(item).unwrap();
        let again = stored.into_response().unwrap();
        assert_eq!(again.status(), created.status());
        assert_eq!(again.headers(), created.headers());
        assert_eq!(again.body(), created.body());

        let failed = record().responded(&Problem::busy().into_response());
        assert_eq!(failed.response, None);
        assert!(failed.lease_has_expired(Timestamp::from_millis(1)));
        let refused = record().responded(&Problem::conflict("x").into_response());
        assert!(refused.response.is_some());
    }
}
