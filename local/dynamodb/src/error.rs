//! The errors of the protocol: their names, statuses and bodies as DynamoDB sends them.

use serde::Serialize;

use crate::value::Item;

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Validation,
    Serialization,
    UnknownOperation,
    ResourceNotFound,
    ResourceInUse,
    LimitExceeded,
    ConditionalCheckFailed,
    DuplicateItem,
    TransactionCanceled,
    IdempotentParameterMismatch,
    Internal,
}

impl Kind {
    /// The value of `__type`.
    fn type_name(self) -> &'static str {
        match self {
            Self::Validation => "com.amazon.coral.validate#ValidationException",
            Self::Serialization => "com.amazon.coral.service#SerializationException",
            Self::UnknownOperation => "com.amazon.coral.service#UnknownOperationException",
            Self::ResourceNotFound => "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            Self::ResourceInUse => "com.amazonaws.dynamodb.v20120810#ResourceInUseException",
            Self::LimitExceeded => "com.amazonaws.dynamodb.v20120810#LimitExceededException",
            Self::ConditionalCheckFailed => {
                "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
            }
            Self::DuplicateItem => "com.amazonaws.dynamodb.v20120810#DuplicateItemException",
            Self::TransactionCanceled => {
                "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
            }
            Self::IdempotentParameterMismatch => {
                "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException"
            }
            Self::Internal => "com.amazonaws.dynamodb.v20120810#InternalServerError",
        }
    }

    /// Returns the code in the response to a batch of statements or a transaction.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Validation | Self::Serialization | Self::UnknownOperation => "ValidationError",
            Self::ResourceNotFound => "ResourceNotFound",
            Self::ConditionalCheckFailed => "ConditionalCheckFailed",
            Self::DuplicateItem => "DuplicateItem",
            Self::TransactionCanceled => "TransactionConflict",
            Self::ResourceInUse | Self::LimitExceeded => "RequestLimitExceeded",
            Self::IdempotentParameterMismatch => "IdempotentParameterMismatch",
            Self::Internal => "InternalServerError",
        }
    }
}

/// The reason why an action cancelled its transaction, or the code `None` if it did not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CancellationReason {
    pub(crate) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<Item>,
}

/// An error that is the response to a request.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// The item of a failed condition, if the request asked for it.
    pub(crate) item: Option<Box<Item>>,
    pub(crate) reasons: Vec<CancellationReason>,
}

/// The result of an operation.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            item: None,
            reasons: Vec::new(),
        }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(Kind::Validation, message)
    }

    /// Creates a validation error of one parameter, with DynamoDB's usual prefix.
    pub(crate) fn constraint(problem: impl std::fmt::Display) -> Self {
        Self::validation(format!("1 validation error detected: {problem}"))
    }

    pub(crate) fn invalid_parameter(problem: impl std::fmt::Display) -> Self {
        Self::validation(format!(
            "One or more parameter values were invalid: {problem}"
        ))
    }

    pub(crate) fn condition_failed(item: Option<Item>) -> Self {
        Self {
            item: item.map(Box::new),
            ..Self::new(
                Kind::ConditionalCheckFailed,
                "The conditional request failed",
            )
        }
    }

    pub(crate) fn no_such_table() -> Self {
        Self::new(Kind::ResourceNotFound, "Requested resource not found")
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self.kind {
            Kind::Internal => 500,
            _ => 400,
        }
    }

    /// The JSON body.
    pub(crate) fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "__type")]
            kind: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'a str>,
            #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
            capitalised: Option<&'a str>,
            #[serde(rename = "Item", skip_serializing_if = "Option::is_none")]
            item: Option<&'a Item>,
            #[serde(
                rename = "CancellationReasons",
                skip_serializing_if = "<[CancellationReason]>::is_empty"
            )]
            reasons: &'a [CancellationReason],
        }
        let message = Some(self.message.as_str()).filter(|message| !message.is_empty());
        // AWS spells the field with a capital letter in these two.
        let capital = matches!(self.kind, Kind::Serialization | Kind::TransactionCanceled);
        let body = Body {
            kind: self.kind.type_name(),
            message: message.filter(|_| !capital),
            capitalised: message.filter(|_| capital),
            item: self.item.as_deref(),
            reasons: &self.reasons,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl From<fjall::Error> for ApiError {
    fn from(error: fjall::Error) -> Self {
        tracing::error!(%error, "the store failed");
        Self::new(Kind::Internal, "Internal server error")
    }
}
