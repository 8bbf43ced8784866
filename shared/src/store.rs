//! Storage: members, batches and keys in DynamoDB, files in S3. Events go to EventBridge.
//!
//! Each store is one table or the bucket, with only the methods that its callers need. A function's
//! policy in template.yaml allows exactly the actions of the methods that the function calls.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error;

pub mod batches;
pub mod copies;
pub mod events;
pub mod exports;
pub mod files;
pub mod idempotency;
pub mod item;
pub mod keys;
pub mod leased;
pub mod leases;
mod listing;
pub mod member_item;
pub mod members;
pub mod parts;
mod replacements;
mod update;

/// A request to DynamoDB, S3 or EventBridge failed, after the SDK's retries.
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

/// Error codes with which DynamoDB and S3 throttle requests. Source: the services' API references.
const THROTTLING: [&str; 6] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "TransactionInProgressException",
];

impl StoreError {
    /// Creates an error from an SDK error, with its operation.
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

    /// Creates an error for a stored item that cannot be read.
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

    /// Returns whether the service throttled the request.
    #[must_use]
    pub fn is_throttling(&self) -> bool {
        self.kind == Kind::Throttling
    }

    /// Returns whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind != Kind::Other
    }
}

/// Returns the result of a conditional write, or `None` if its condition failed.
///
/// # Errors
/// Returns an error if it failed for another reason.
fn if_condition_held<T, E, R>(
    operation: &'static str,
    result: Result<T, SdkError<E, R>>,
) -> Result<Option<T>, StoreError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + HasStatus + 'static,
{
    let error = match result {
        Ok(output) => return Ok(Some(output)),
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

/// The HTTP status of a raw response of any SDK.
pub trait HasStatus {
    /// Returns the status code.
    fn status(&self) -> u16;
}

impl HasStatus for aws_sdk_dynamodb::config::http::HttpResponse {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }
}

/// Formats an error and its causes in one line, for logs. The SDK's errors contain no item data.
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
