//! Every refusal and failure that a function answers with, as RFC 9457
//! `application/problem+json`. The cause of an internal failure is logged, never sent.

use lambda_http::http::header::{ALLOW, ETAG, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

use super::with_body;
use crate::access::Role;
use crate::member::{ACCOUNT_NOT_ALLOWED, FieldError};
use crate::store::StoreError;

/// What a client is told when its request did not succeed.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// A stable URI reference for the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in a few words, the same every time.
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// What happened this time.
    detail: String,
    /// Where fields are at fault: which, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn as_number<S: serde::Serializer>(status: &StatusCode, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn challenge(self) -> Self {
        self.with(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"mpulse\", charset=\"UTF-8\""),
        )
    }

    /// 400: fields are at fault.
    #[must_use]
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let names: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-fields",
            "Invalid fields",
            format!("Not accepted: {}.", names.join(", ")),
        );
        problem.errors = errors;
        problem
    }

    /// 400: one field, or parameter of the query, is at fault.
    pub fn invalid_field(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError::new(field, code, message)])
    }

    /// 400: the body can't be read as what it says it is.
    pub fn malformed_body(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed-body",
            "Malformed body",
            detail,
        )
    }

    /// 401: a key is needed.
    #[must_use]
    pub fn no_key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "no-key",
            "A key is needed",
            "Send a key id and its secret by HTTP Basic authentication.",
        )
        .challenge()
    }

    /// 401: the key is unknown, its secret is wrong, or it was revoked. Which, is not told.
    #[must_use]
    pub fn wrong_key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "wrong-key",
            "The key opens nothing",
            "The key is unknown or revoked, or its secret is wrong.",
        )
        .challenge()
    }

    /// 403: the key's role doesn't include this.
    #[must_use]
    pub fn role_too_low(has: Role, needs: Role) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "role-too-low",
            "The key may not do this",
            format!("This needs the role {needs}; the key is a {has}."),
        )
    }

    /// 403: the key is bound to accounts, and what a field names is beyond them.
    #[must_use]
    pub fn account_not_allowed(field: &str) -> Self {
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            "account-not-allowed",
            "Not an account of this key",
            "The key is bound to accounts, and this goes beyond them.",
        );
        problem.errors = vec![FieldError::new(
            field,
            ACCOUNT_NOT_ALLOWED,
            "goes beyond the accounts of the key",
        )];
        problem
    }

    /// 404: nothing is there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405: the path exists, but not with this method.
    #[must_use]
    pub fn method_not_allowed(allowed: &[&str]) -> Self {
        let list = allowed.join(", ");
        let problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            format!("This path takes {list}."),
        );
        match HeaderValue::from_str(&list) {
            Ok(value) => problem.with(ALLOW, value),
            Err(_) => problem,
        }
    }

    /// 409: what is stored forbids it.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 412: what is stored is no longer what the client saw; its tag is `etag` now.
    #[must_use]
    pub fn precondition_failed(etag: &str) -> Self {
        let problem = Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition-failed",
            "Changed in the meantime",
            "The member is not the version that If-Match names. Read it again, then decide.",
        );
        match HeaderValue::from_str(etag) {
            Ok(value) => problem.with(ETAG, value),
            Err(_) => problem,
        }
    }

    /// 413: the body is too large for this road.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Too large",
            detail,
        )
    }

    /// 415: the body is of a type that isn't read here; `accepted` is told in `header`, which
    /// is `Accept-Post` or `Accept-Patch`.
    #[must_use]
    pub fn media_type(header: HeaderName, accepted: &'static str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "Unsupported media type",
            format!("The body may be {accepted}."),
        )
        .with(header, HeaderValue::from_static(accepted))
    }

    /// 500: our fault. The cause goes to the log only.
    #[must_use]
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(cause = %crate::store::chain(cause), "internal failure");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal failure",
            "Something failed on our side. It was logged; trying again may help.",
        )
    }

    /// 503: the store is busy.
    #[must_use]
    pub fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "Busy",
            "The store takes no more requests for a moment. Try again.",
        )
        .with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The answer that tells it.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = with_body(self.status, "application/problem+json", body);
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_throttling() {
            tracing::warn!(cause = %crate::store::chain(&error), "store is busy");
            return Self::busy();
        }
        Self::internal(&error)
    }
}
