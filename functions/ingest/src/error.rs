//! Why a run stops before the end of its file.

use mpulse_shared::batch::BatchProblem;
use mpulse_shared::store::StoreError;
use mpulse_shared::store::batches::LeaseError;
use thiserror::Error;

/// Why a run stops.
#[derive(Debug, Error)]
pub enum RunError {
    /// The file itself makes it impossible: the batch fails.
    #[error("the file can't be read: {}", .0.code)]
    File(BatchProblem),
    /// The lease is another's, or too old to be sure of: nothing more is sent.
    #[error("the lease was lost")]
    LeaseLost,
    /// The function's time is up: another run goes on.
    #[error("out of time")]
    OutOfTime,
    /// DynamoDB or S3 failed in a way that waiting doesn't mend, or for too long.
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
