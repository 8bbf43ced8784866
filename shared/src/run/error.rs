//! Why a run stops before its end.

use thiserror::Error;

use crate::batch::BatchProblem;
use crate::store::StoreError;
use crate::store::leased::LeaseError;

/// Why a run stops.
#[derive(Debug, Error)]
pub enum RunError {
    /// What the run works on is the cause: the batch or the export fails.
    #[error("it cannot be processed: {}", .0.code)]
    Failed(BatchProblem),
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

impl RunError {
    /// Returns whether the run itself has failed: the loss of the lease is reported by the run that holds it, and running
    /// out of time is no failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::LeaseLost | Self::OutOfTime)
    }
}

impl From<LeaseError> for RunError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Store(error) => Self::Store(error),
            LeaseError::Lost => Self::LeaseLost,
        }
    }
}
