//! Every error response of a function, as RFC 9457 `application/problem+json`. The cause of an
//! internal error is logged, never sent.

use lambda_http::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, ETAG, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

use crate::key::Role;
use crate::member::{ACCOUNT_NOT_ALLOWED, FieldError};
use crate::store::StoreError;

/// The body and headers of an error response.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// A stable URI reference for the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// A short summary of the kind; it does not vary.
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// What happened in this request.
    detail: String,
    /// The invalid fields, if any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
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

    /// 400: fields are invalid.
    #[must_use]
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let names: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-fields",
            "Invalid fields",
            format!("Invalid: {}.", names.join(", ")),
        );
        problem.errors = errors;
        problem
    }

    /// 400: one field, or parameter of the query, is invalid.
    pub fn invalid_field(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError::new(field, code, message)])
    }

    /// 400: the body does not match its media type.
    pub fn malformed_body(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed-body",
            "Malformed body",
            detail,
        )
    }

    /// 401: the request has no credentials.
    #[must_use]
    pub fn authentication_required() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "no-key",
            "Authentication required",
            "Send the id and secret of a key by HTTP Basic authentication.",
        )
        .challenge()
    }

    /// 401: the key is unknown or revoked, or the secret is wrong. The response does not say which.
    #[must_use]
    pub fn invalid_credentials() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "wrong-key",
            "Invalid credentials",
            "The key is unknown or revoked, or the secret is wrong.",
        )
        .challenge()
    }

    /// 429: there were too many wrong secrets for this key id. The right one is still accepted.
    #[must_use]
    pub fn too_many_wrong_secrets() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-wrong-secrets",
            "Too many wrong secrets",
            "This key id was sent with too many wrong secrets. Check the secret; the right one is still accepted.",
        )
        .with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 403: the key's role is insufficient.
    #[must_use]
    pub fn insufficient_role(has: Role, needs: Role) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "role-too-low",
            "Insufficient role",
            format!("This request requires the role {needs}; the key has the role {has}."),
        )
    }

    /// 403: the key has no access to an account that a field names.
    #[must_use]
    pub fn account_not_allowed(field: &str) -> Self {
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            "account-not-allowed",
            "Account not allowed",
            "The key has no access to this account.",
        );
        problem.errors = vec![FieldError::new(
            field,
            ACCOUNT_NOT_ALLOWED,
            "is not an account of this key",
        )];
        problem
    }

    /// 404: not found.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405: the path exists, but does not support this method.
    #[must_use]
    pub fn method_not_allowed(allowed: &[&str]) -> Self {
        let list = allowed.join(", ");
        let problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            format!("This path supports {list}."),
        );
        match HeaderValue::from_str(&list) {
            Ok(value) => problem.with(ALLOW, value),
            Err(_) => problem,
        }
    }

    /// 409: the stored state does not allow the request.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 409: the first request with this `Idempotency-Key` has no response yet.
    #[must_use]
    pub fn request_in_progress() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "request-in-progress",
            "Request in progress",
            "An earlier request with this Idempotency-Key is being handled, or was stopped less than 40 seconds ago. Repeat the request later.",
        )
        .with(RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// 422: the `Idempotency-Key` was sent with another request.
    #[must_use]
    pub fn idempotency_key_reused() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "Idempotency key reused",
            "This Idempotency-Key was sent to this path in the last 24 hours with another query, media type or body. Send another request with another key.",
        )
    }

    /// 412: the member has changed since the client read it; `etag` is its current tag.
    #[must_use]
    pub fn precondition_failed(etag: &str) -> Self {
        let problem = Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition-failed",
            "Precondition failed",
            "The member has changed: its version is not the one in If-Match. Read the member again before you repeat the change.",
        );
        match HeaderValue::from_str(etag) {
            Ok(value) => problem.with(ETAG, value),
            Err(_) => problem,
        }
    }

    /// 413: the body is too large.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Content too large",
            detail,
        )
    }

    /// 415: the media type of the body is not supported; `header` (`Accept-Post` or `Accept-Patch`)
    /// lists the `accepted` ones.
    #[must_use]
    pub fn media_type(header: HeaderName, accepted: &'static str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "Unsupported media type",
            format!("The media type of the body must be {accepted}."),
        )
        .with(header, HeaderValue::from_static(accepted))
    }

    /// 415: the content coding of the body is not supported; `Accept-Encoding` names the supported one (RFC 9110, 12.5.3).
    #[must_use]
    pub fn content_coding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-coding",
            "Unsupported content coding",
            "The Content-Encoding of the body must be gzip, or absent.",
        )
        .with(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))
    }

    /// 500: an internal error. Its cause is logged only.
    #[must_use]
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(cause = %crate::store::chain(cause), "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal server error",
            "An internal error occurred and was logged. Try again later.",
        )
    }

    /// 503: the database throttles requests.
    #[must_use]
    pub fn busy() -> Self {
        Self::unavailable("The database is busy. Try again.")
    }

    /// 503: a service is overloaded or slow.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "Service unavailable",
            detail,
        )
        .with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Converts the problem into a response.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_throttling() {
            tracing::warn!(cause = %crate::store::chain(&error), "the store throttles requests");
            return Self::busy();
        }
        Self::internal(&error)
    }
}
