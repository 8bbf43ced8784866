//! Error responses that the proxy makes instead of an engine.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::engine::Engine;
use super::partitions::Throttling;
use crate::s3;
use crate::upstream::Body;

/// An error response that the proxy makes instead of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// DynamoDB's `__type`; its error responses have no header for it.
    pub(super) kind: &'static str,
    pub(super) message: &'static str,
}

pub(super) const THROTTLED: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    kind: "com.amazon.coral.availability#ThrottlingException",
    message: "Rate of requests exceeds the allowed throughput.",
};

pub(super) const EXCEEDED: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    kind: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    message: "The level of configured provisioned throughput for the table was exceeded. \
              Consider increasing your provisioning level with the UpdateTable API.",
};

pub(super) const FAILED: Refusal = Refusal {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    kind: "com.amazonaws.dynamodb.v20120810#InternalServerError",
    message: "Internal server error",
};

impl Refusal {
    pub(super) fn answer(self, engine: Engine) -> Response<Body> {
        match engine {
            Engine::S3 => s3::error(self.status, "InternalError", self.message)
                .map(|body| body.map_err(Into::into).boxed_unsync()),
            Engine::DynamoDb => {
                let body = json!({"__type": self.kind, "message": self.message});
                let mut response = json_answer(&body);
                *response.status_mut() = self.status;
                response
            }
        }
    }
}

/// Returns the error response to a request that a partition of an on-demand table throttled.
pub(super) fn throttled(throttling: &Throttling) -> Response<Body> {
    let mut response = json_answer(&json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException",
        "message": throttling.message(),
        "throttlingReasons": [throttling],
    }));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(super) fn json_answer(body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string().into()));
    let json = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
