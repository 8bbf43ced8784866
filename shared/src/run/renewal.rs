//! Renews a lease while something else takes long.

use std::time::{Duration, Instant};

use super::RunError;
use crate::store::leased::LEASE;

/// How often the lease is renewed when nothing else saves it.
const RENEWAL: Duration = Duration::from_secs(LEASE.as_secs() / 6);

/// A lease that a run holds.
pub trait Renew {
    /// Returns when it was last renewed.
    fn renewed(&self) -> Instant;

    /// Saves the checkpoint, which renews the lease.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    fn save(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;
}

/// Runs a future, and renews the lease while it runs.
///
/// # Errors
/// Returns the error of the future, or that of a renewal.
pub async fn while_renewing<T>(
    lease: &mut impl Renew,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let mut work = std::pin::pin!(work);
    loop {
        let due = lease.renewed() + RENEWAL;
        tokio::select! {
            result = &mut work => return result,
            () = tokio::time::sleep_until(due.into()) => lease.save().await?,
        }
    }
}
