//! What is kept: members, batches and keys in DynamoDB, files in S3.
//!
//! Each submodule is one table or the bucket, with methods as narrow as its callers need;
//! a function's policy in template.yaml holds just the actions that its methods call.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error;

pub mod batches;
pub mod files;
pub mod keys;
pub mod members;
pub mod parts;

/// A request to DynamoDB or S3 that failed, after the SDK's retries.
#[derive(Debug, Error)]
#[error("{operation} failed")]
pub struct StoreError {
    operation: &'static str,
    kind: Kind,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Throttling,
    Transient,
    Other,
}

/// Error codes by which DynamoDB and S3 say "slower". Source: the services' API references.
const THROTTLING: [&str; 6] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "TransactionInProgressException",
];

impl StoreError {
    /// An SDK error, with the operation that it belongs to.
    pub fn sdk<E, R>(operation: &'static str, error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + HasStatus + 'static,
    {
        let code = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code);
        let status = error.raw_response().map(HasStatus::status);
        let kind = match (&error, code, status) {
            (_, Some(code), _) if THROTTLING.contains(&code) => Kind::Throttling,
            (_, _, Some(429 | 503)) => Kind::Throttling,
            (_, _, Some(500..))
            | (
                SdkError::TimeoutError(_)
                | SdkError::DispatchFailure(_)
                | SdkError::ResponseError(_),
                ..,
            ) => Kind::Transient,
            _ => Kind::Other,
        };
        Self {
            operation,
            kind,
            source: Box::new(error),
        }
    }

    /// A stored item that can't be read as what it should be.
    pub fn unreadable(
        operation: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            operation,
            kind: Kind::Other,
            source: source.into(),
        }
    }

    /// Whether the service asked for fewer requests.
    #[must_use]
    pub fn is_throttling(&self) -> bool {
        self.kind == Kind::Throttling
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind != Kind::Other
    }
}

/// The answer to a conditional write, or `None` where its condition did not hold.
///
/// # Errors
/// Where it failed for another reason.
fn if_condition_held<T, E, R>(
    operation: &'static str,
    result: Result<T, SdkError<E, R>>,
) -> Result<Option<T>, StoreError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + HasStatus + 'static,
{
    let error = match result {
        Ok(answer) => return Ok(Some(answer)),
        Err(error) => error,
    };
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    if code == Some("ConditionalCheckFailedException") {
        return Ok(None);
    }
    Err(StoreError::sdk(operation, error))
}

/// The HTTP status of a raw response, whichever SDK it came from.
pub trait HasStatus {
    /// The status code.
    fn status(&self) -> u16;
}

impl HasStatus for aws_sdk_dynamodb::config::http::HttpResponse {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }
}

/// An error and its causes in one line, for logs. The SDK's errors hold no item data.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
