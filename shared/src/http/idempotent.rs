//! Services for requests that create something: with the header `Idempotency-Key`, a repeated request gets the first response
//! again. The header is an Internet draft (draft-ietf-httpapi-idempotency-key-header).
//!
//! Of several concurrent requests with one key, one is handled, and the others wait for its response. A request without the
//! header is handled as by [`super::authorized()`].

use std::future::Future;
use std::time::Duration;

use lambda_http::http::HeaderMap;
use lambda_http::{Body, Request, Response};

use super::authorized::public;
use super::form;
use super::service::Service;
use crate::access::{Access, Caller};
use crate::idempotency::{Attempt, Record, StoredResponse, fingerprint, request_hash};
use crate::key::Role;
use crate::problem::Problem;
use crate::setup::{FromSetup, Setup, SetupError};
use crate::store::idempotency::Records;
use crate::time::Timestamp;

/// The header.
const HEADER: &str = "Idempotency-Key";

/// The longest key, in bytes.
const MAX_KEY: usize = 255;

/// How long a request waits for the response of another with its key: 6.4 seconds in all, less than the shortest timeout of
/// a function, which is ten.
const WAITS_MS: [u64; 7] = [50, 100, 200, 400, 800, 1600, 3200];

/// Creates a service like [`super::authorized()`] for requests that may have a key. The handler gets the attempt; what it
/// creates has the attempt's time or id, so that a later attempt recognises it.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn idempotent<C, H, F>(setup: &Setup, role: Role, handler: H) -> Result<Service, SetupError>
where
    C: FromSetup + Clone + Send + Sync + 'static,
    H: Fn(C, Caller, Attempt, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Problem>> + Send + 'static,
{
    public(setup, move |context: (Access, Records, C), request| {
        let handler = handler.clone();
        async move {
            let (access, records, context) = context;
            let caller = access.require(role, &request).await?;
            let Some(key) = key(request.headers())? else {
                return handler(context, caller, Attempt::only(), request).await;
            };
            let (request, own) = identified(request, &caller, &key);
            let record = match claim(&records, own).await? {
                Claim::Handle(record) => record,
                Claim::Respond(stored) => return restored(stored),
            };
            let response = handler(context, caller, record.attempt(), request).await;
            let response = response.unwrap_or_else(Problem::into_response);
            finish(&records, record, &response).await;
            Ok(response)
        }
    })
}

/// Returns the key of a request, if it has one.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(None);
    };
    let is_valid = |key: &&str| {
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = value.to_str().ok().filter(is_valid).ok_or_else(|| {
        let message = format!("must be 1 to {MAX_KEY} visible ASCII characters, without spaces");
        Problem::invalid_field(HEADER, "invalid_idempotency_key", message)
    })?;
    Ok(Some(key.to_owned()))
}

/// Returns the request, and the record of its first attempt.
fn identified(request: Request, caller: &Caller, key: &str) -> (Request, Record) {
    let media_type = form::media_type(&request);
    let boundary = form::boundary(&request).unwrap_or_default();
    let (head, body) = request.into_parts();
    let request_hash = request_hash(caller.key_id.as_str(), &head, key);
    let fingerprint = fingerprint(&head, &media_type, &boundary, &body);
    let own = Record::new(request_hash, fingerprint, Timestamp::now());
    (Request::from_parts(head, body), own)
}

/// What to do with a request.
enum Claim {
    /// Handle it: this attempt holds the lease of the record.
    Handle(Record),
    /// Respond as before.
    Respond(StoredResponse),
}

/// Acquires the lease, or waits for the response of the attempt that holds it.
///
/// # Errors
/// Returns 422 if the key was sent with another request, and 409 if there is no response yet.
async fn claim(records: &Records, own: Record) -> Result<Claim, Problem> {
    let mut waits = WAITS_MS.iter();
    loop {
        let now = Timestamp::now();
        let Some(existing) = records.create(&own, now).await? else {
            return Ok(Claim::Handle(own));
        };
        // The response to an earlier write of this attempt was lost.
        if existing.lease_owner == own.lease_owner {
            return Ok(Claim::Handle(existing));
        }
        if existing.fingerprint != own.fingerprint {
            return Err(Problem::idempotency_key_reused());
        }
        if let Some(response) = existing.response {
            return Ok(Claim::Respond(response));
        }
        if existing.lease_has_expired(now) {
            let stopped = existing.lease_owner.clone();
            let taken = existing.taken_over(&own);
            if records.replace(&taken, &stopped).await? {
                return Ok(Claim::Handle(taken));
            }
        }
        let Some(&millis) = waits.next() else {
            return Err(Problem::request_in_progress());
        };
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// Stores the response, or ends the lease if it is an error of the server. If this fails, the client gets the response
/// nevertheless, and a repeated request is another attempt once the lease has expired.
async fn finish(records: &Records, record: Record, response: &Response<Body>) {
    let owner = record.lease_owner.clone();
    let record = record.responded(response);
    match records.replace(&record, &owner).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("another attempt has taken the request over"),
        Err(error) => {
            tracing::warn!(cause = %crate::store::chain(&error), "the response could not be stored");
        }
    }
}

fn restored(stored: StoredResponse) -> Result<Response<Body>, Problem> {
    tracing::info!("responding as before");
    stored.into_response().ok_or_else(|| {
        let cause = std::io::Error::other("the stored response cannot be read");
        Problem::internal(&cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii() {
        let of = |value: &[u8]| {
            let value = lambda_http::http::HeaderValue::from_bytes(value).unwrap();
            key(&HeaderMap::from_iter([(
                HEADER.parse().expect("a name"),
                value,
            )]))
        };
        for valid in ["a", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", "~!"] {
            assert_eq!(of(valid.as_bytes()).unwrap().as_deref(), Some(valid));
        }
        let longest = [b'k'; MAX_KEY];
        assert!(of(&longest).is_ok());
        assert!(of(&[longest.as_slice(), b"k"].concat()).is_err());
        for invalid in ["", "a b", "\u{e9}", "a\tb"] {
            assert!(of(invalid.as_bytes()).is_err(), "{invalid}");
        }
        assert_eq!(key(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn the_waits_end_before_the_function_does() {
        assert!(WAITS_MS.iter().sum::<u64>() < 10_000 * 3 / 4);
    }
}
