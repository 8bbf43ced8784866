//! The guard that a run asks before it sends: there must be time left, and the lease must be fresh.
//!
//! Nothing is sent once the last renewal is older than half the lease. A request takes at most
//! [`crate::setup::ATTEMPT_TIMEOUT`], so none can arrive after another run was able to
//! acquire the lease.
//!
//! Everything that sends for a run has its guard, so the guard also reports the points that the run reaches ([`point`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

use super::{Point, RunError, point};
use crate::store::leased::LEASE;

/// The maximum time reserved before the deadline for an orderly end; a quarter of a short
/// timeout.
const MARGIN: Duration = Duration::from_secs(30);

/// The guard, shared by everything that sends. Clones share their state.
#[derive(Debug, Clone)]
pub struct Guard {
    renewed: Arc<Mutex<(Instant, SystemTime)>>,
    deadline: Instant,
    /// The id of the batch or the export.
    id: Arc<str>,
}

impl Guard {
    /// Creates the guard of a lease on a batch or an export that was acquired by a request begun at `renewed`, for an
    /// invocation that Lambda ends at `deadline`. Also returns when the run has to stop, so that there is time for an orderly end.
    #[must_use]
    pub fn until(deadline: Instant, renewed: (Instant, SystemTime), id: &str) -> (Self, Instant) {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let margin = MARGIN.min(left / 4);
        // No request begins in the second half of the margin.
        let guard = Self {
            id: id.into(),
            ..Self::new(renewed, now + left.saturating_sub(margin / 2))
        };
        (guard, now + left.saturating_sub(margin))
    }

    /// Creates the guard of a lease that was acquired by a request begun at `renewed`.
    #[must_use]
    pub fn new(renewed: (Instant, SystemTime), deadline: Instant) -> Self {
        Self {
            renewed: Arc::new(Mutex::new(renewed)),
            deadline,
            id: Arc::default(),
        }
    }

    /// Returns the time to pass to [`Guard::renew`] when a renewal that begins now succeeds. It
    /// contains both clocks, because one of them may stop while a machine is frozen.
    #[must_use]
    pub fn now() -> (Instant, SystemTime) {
        (Instant::now(), SystemTime::now())
    }

    /// Records that the lease was renewed by a request begun at `at`.
    pub fn renew(&self, at: (Instant, SystemTime)) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Returns the time until the run must stop sending.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Reports that the run has reached a point.
    pub async fn reached(&self, point: Point) {
        point::reached(point, &self.id).await;
    }

    /// Checks that one request may be sent now.
    ///
    /// # Errors
    /// Returns [`RunError::LeaseLost`] or [`RunError::OutOfTime`].
    pub fn check(&self) -> Result<(), RunError> {
        let (instant, system) = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let age = instant.elapsed().max(system.elapsed().unwrap_or_default());
        if age > LEASE / 2 {
            return Err(RunError::LeaseLost);
        }
        if Instant::now() >= self.deadline {
            return Err(RunError::OutOfTime);
        }
        Ok(())
    }
}

/// Checks again right before a write is sent: a run that is frozen while it builds and signs a
/// request does not send it when it resumes.
impl Intercept for Guard {
    fn name(&self) -> &'static str {
        "Guard"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        Ok(self.check()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Setup;

    fn guard(age: Duration) -> Guard {
        let then = (Instant::now().checked_sub(age), SystemTime::now() - age);
        let then = (
            then.0.expect("the host has been running for longer"),
            then.1,
        );
        Guard::new(then, Instant::now() + LEASE)
    }

    #[test]
    fn nothing_is_sent_after_half_a_lease() {
        assert!(guard(LEASE / 3).check().is_ok());
        let late = guard(LEASE * 2 / 3);
        assert!(matches!(late.check(), Err(RunError::LeaseLost)));
        late.renew(Guard::now());
        assert!(late.check().is_ok());
        let over = Guard::new(Guard::now(), Instant::now());
        assert!(matches!(over.check(), Err(RunError::OutOfTime)));
    }

    #[tokio::test]
    async fn a_request_that_is_ready_when_the_lease_is_lost_is_not_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let variables = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &url),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let client = Setup::new(variables.into()).dynamodb().unwrap();
        let request = client.list_tables().customize();
        let sent = request.interceptor(guard(LEASE)).send().await;
        assert!(sent.is_err());
        let connected = listener.accept();
        assert_eq!(
            connected.unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
    }
}
