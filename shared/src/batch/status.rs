//! The states of a batch and the transitions that a cancellation makes.

use serde::{Deserialize, Serialize};

/// The state of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its file.
    AwaitingUpload,
    /// The file has arrived and no run has started. Derived, never stored.
    Queued,
    /// A run has started. If it ends early, another run continues.
    Processing,
    /// Every row was accepted.
    Completed,
    /// Every row was read; the rejected ones are in the report.
    CompletedWithRejects,
    /// The file could not be processed to its end; the problem describes why.
    Failed,
    /// A client cancelled the batch; it stops at the next checkpoint.
    Cancelling,
    /// Cancelled. Members that were written stay.
    Cancelled,
    /// The file did not arrive in time. Derived, never stored.
    Expired,
}

impl Status {
    /// Returns whether the batch has ended.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::CompletedWithRejects
                | Self::Failed
                | Self::Cancelled
                | Self::Expired
        )
    }

    /// Returns whether every row was read.
    #[must_use]
    pub fn is_completed(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithRejects)
    }

    /// Returns the status as stored and sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AwaitingUpload => "awaiting_upload",
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::CompletedWithRejects => "completed_with_rejects",
            Self::Failed => "failed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Returns the status after a cancellation, or `None` if the batch has ended.
    #[must_use]
    pub fn when_cancelled(self) -> Option<Self> {
        match self {
            Self::AwaitingUpload | Self::Queued => Some(Self::Cancelled),
            Self::Processing | Self::Cancelling => Some(Self::Cancelling),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_batch_that_has_not_ended_can_be_cancelled() {
        assert_eq!(
            Status::AwaitingUpload.when_cancelled(),
            Some(Status::Cancelled)
        );
        assert_eq!(
            Status::Processing.when_cancelled(),
            Some(Status::Cancelling)
        );
        for ended in [Status::Completed, Status::Failed, Status::Cancelled] {
            assert!(ended.has_ended());
            assert_eq!(ended.when_cancelled(), None);
        }
    }
}
