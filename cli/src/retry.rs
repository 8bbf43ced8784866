//! Retries of requests that failed for a moment: the local stack is being restarted, the cloud is busy, or a
//! connection broke.

use std::fmt;
use std::time::Duration;

use tokio::time::sleep;

use crate::client::ClientError;
use crate::progress::Progress;

/// The waits before retries; half a minute in all is enough to restart the local stack.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// The remaining retries of something, each with a wait before it.
pub struct Tries<'a> {
    pauses: std::slice::Iter<'static, Duration>,
    progress: &'a Progress,
}

impl<'a> Tries<'a> {
    /// Creates all retries; `progress` shows why each is needed.
    pub fn new(progress: &'a Progress) -> Self {
        Self {
            pauses: PAUSES.iter(),
            progress,
        }
    }

    /// Waits until the next attempt of `what` (a prefix, or empty), which has just failed.
    ///
    /// # Errors
    /// Returns the error itself if no retry is left.
    pub async fn again<E: fmt::Display>(&mut self, what: &str, error: E) -> Result<(), E> {
        let Some(&pause) = self.pauses.next() else {
            return Err(error);
        };
        let seconds = pause.as_secs();
        self.progress
            .note(&format!("{what}{error}; retrying in {seconds} s"));
        sleep(pause).await;
        Ok(())
    }
}

/// Calls the registry, with retries if it is temporarily unavailable.
///
/// # Errors
/// Returns the error of the last attempt.
pub async fn patiently<T, F>(progress: &Progress, call: impl Fn() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut tries = Tries::new(progress);
    loop {
        match call().await {
            Err(error) if error.is_transient() => tries.again("", error).await?,
            result => return result,
        }
    }
}
