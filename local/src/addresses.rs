//! The addresses of a local stack's services of AWS.

use std::net::Ipv4Addr;

use crate::template::Stack;

/// The offset of S3's port from the API's.
pub(crate) const S3_OFFSET: u16 = 1;

/// The offset of DynamoDB's port from the API's.
pub(crate) const DYNAMODB_OFFSET: u16 = 2;

/// The offset of EventBridge's port from the API's, the highest.
pub const EVENTS_OFFSET: u16 = 3;

/// The URLs of the services of AWS that functions use.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// The URL of DynamoDB.
    pub dynamodb: String,
    /// The URL of S3.
    pub s3: String,
    /// The URL of EventBridge.
    pub events: String,
}

impl Endpoints {
    /// Returns the URLs of the local stack whose API is on `port` (not 0).
    #[must_use]
    pub fn beside(port: u16) -> Self {
        let at = |offset| url(port.saturating_add(offset));
        Self {
            dynamodb: at(DYNAMODB_OFFSET),
            s3: at(S3_OFFSET),
            events: at(EVENTS_OFFSET),
        }
    }
}

/// A DynamoDB and an S3 elsewhere, in place of the local stack's own: other implementations of them. They accept the
/// local stack's credentials.
#[derive(Debug, Clone)]
pub struct Engines {
    /// The URL of DynamoDB.
    pub dynamodb: String,
    /// The URL of S3, `http://HOST:PORT`.
    pub s3: String,
    /// The stack. Its tables and buckets are named after it, so that several local stacks can share the engines.
    pub stack: Stack,
}

/// Returns the URL of a port on the loopback interface.
pub(crate) fn url(port: u16) -> String {
    format!("http://{}:{port}", Ipv4Addr::LOCALHOST)
}
