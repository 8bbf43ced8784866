//! Errors of API calls: problems of the API, error responses of others, and lost connections.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;
use thiserror::Error;

/// Characters of an unknown response that an error quotes.
pub(super) const EXCERPT: usize = 300;

/// The media type of a problem (RFC 9457).
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// The type of the problem that an earlier call with the same `Idempotency-Key` has no response yet.
const IN_PROGRESS: &str = "/problems/request-in-progress";

/// A problem from the API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) title: String,
    #[serde(default)]
    pub(super) detail: Option<String>,
    #[serde(default)]
    pub(super) errors: Vec<FieldProblem>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct FieldProblem {
    pub(super) field: String,
    #[serde(default)]
    pub(super) code: String,
    pub(super) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if let Some(detail) = self.detail.as_deref().filter(|detail| !detail.is_empty()) {
            write!(f, ": {detail}")?;
        }
        for FieldProblem {
            field,
            code,
            message,
        } in &self.errors
        {
            write!(f, "\n  {field}: {message}")?;
            if !code.is_empty() {
                write!(f, " ({code})")?;
            }
        }
        Ok(())
    }
}

/// A call that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be created")]
    Build(#[source] reqwest::Error),
    /// No response, or an incomplete one.
    #[error("no response from {origin}")]
    Connection {
        /// The origin of the URL.
        origin: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// An error from the API.
    #[error("{status}: {problem}")]
    Problem {
        /// The HTTP status.
        status: StatusCode,
        /// What it says.
        problem: Problem,
    },
    /// An error response that is not from the API.
    #[error("{origin} responded with {status}: {excerpt}")]
    Status {
        /// The origin of the URL.
        origin: String,
        /// The HTTP status.
        status: StatusCode,
        /// The beginning of the response.
        excerpt: String,
    },
    /// A successful response whose body does not match the contract.
    #[error("the response of {origin} is not one of mPulse's API")]
    Unreadable {
        /// The origin of the URL.
        origin: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// Returns whether the API says that the state of the resource does not allow the call.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Problem { status, .. } if *status == StatusCode::CONFLICT)
    }

    /// Returns whether the call may have had an effect, or may still have one: the response was lost, or the API failed.
    pub fn leaves_outcome_open(&self) -> bool {
        match self {
            Self::Connection { source, .. } => !source.is_connect(),
            Self::Problem { problem, .. } if problem.kind == IN_PROGRESS => true,
            other => other.is_transient(),
        }
    }

    /// Returns whether the same call may succeed in a moment: the local stack is being restarted,
    /// or the cloud is busy.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Problem { status, .. } | Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Build(_) | Self::Unreadable { .. } => false,
        }
    }
}

/// Converts an error response.
pub(super) fn refusal(origin: String, status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice(body) {
        Ok(problem) => ClientError::Problem { status, problem },
        Err(_) => ClientError::Status {
            origin,
            status,
            excerpt: excerpt(body),
        },
    }
}

/// Returns the beginning of an arbitrary text, on one line.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(EXCERPT).collect()
}

/// Returns the error in S3's XML; else the beginning of the response.
pub fn s3_message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (content, _) = rest.split_once(&format!("</{name}>"))?;
        Some(content.to_owned())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code,
        _ => excerpt(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_s3_are_quoted_and_others_are_cut() {
        let xml = b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
        assert_eq!(s3_message(xml), "Request has expired (AccessDenied)");
        assert_eq!(s3_message(b"  bad\n gateway "), "bad gateway");
    }
}
