//! The operations of DynamoDB, as far as faults depend on them.

use http::HeaderMap;

/// The items of a request to DynamoDB, as far as faults depend on them. Transactions and scans are
/// passed on without being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    BatchWrite,
    BatchGet,
    /// `BatchExecuteStatement`.
    Statements,
    /// A write of one item.
    Write,
    /// `ExecuteStatement`.
    Statement,
    /// A read of one item.
    Read,
    Query,
    Other,
}

impl Operation {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let target = headers.get("x-amz-target");
        let target = target.and_then(|target| target.to_str().ok());
        let (_, name) = target.and_then(|t| t.split_once('.')).unwrap_or_default();
        match name {
            "BatchWriteItem" => Self::BatchWrite,
            "BatchGetItem" => Self::BatchGet,
            "BatchExecuteStatement" => Self::Statements,
            "PutItem" | "UpdateItem" | "DeleteItem" => Self::Write,
            "ExecuteStatement" => Self::Statement,
            "GetItem" => Self::Read,
            "Query" => Self::Query,
            _ => Self::Other,
        }
    }
}
