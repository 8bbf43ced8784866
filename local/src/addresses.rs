//! The addresses of a local stack's parts.

use std::net::Ipv4Addr;

/// The offset of S3's port from the API's.
pub(crate) const S3_OFFSET: u16 = 1;

/// The offset of DynamoDB's port from the API's.
pub(crate) const DYNAMODB_OFFSET: u16 = 2;

/// Returns the URL of a port on the loopback interface.
pub(crate) fn url(port: u16) -> String {
    format!("http://{}:{port}", Ipv4Addr::LOCALHOST)
}
