//! The engines behind the proxies.

/// The service behind a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// DynamoDB.
    DynamoDb,
    /// S3.
    S3,
}
