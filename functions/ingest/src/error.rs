//! Why a run stops before the end of its file.

use mpulse_shared::batch::BatchProblem;
use mpulse_shared::store::StoreError;
use mpulse_shared::store::leases::LeaseError;
use thiserror::Error;

/// Why a run stops.
#[derive(Debug, Error)]
pub enum RunError {
    /// The file itself is the cause: the batch fails.
    #[error("the file cannot be read: {}", .0.code)]
    File(BatchProblem),
    /// Another run holds the lease, or it is too old: nothing more is sent.
    #[error("the lease was lost")]
    LeaseLost,
    /// The function's time is up: the next run continues.
    #[error("out of time")]
    OutOfTime,
    /// DynamoDB or S3 failed permanently, or for too long.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LeaseError> for RunError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Store(error) => Self::Store(error),
            _ => Self::LeaseLost,
        }
    }
}
