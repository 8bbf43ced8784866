//! What allows a run to send: time left, and a lease that is fresh.
//!
//! Nothing is sent once the last renewal is older than half the lease. A request takes at
//! most [`mpulse_shared::setup::ATTEMPT_TIMEOUT`], so none of a run's can land after
//! another run was able to take the lease.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use mpulse_shared::store::batches::LEASE;

use crate::error::RunError;

/// The guard, shared by everything that sends. Cloning it shares it.
#[derive(Debug, Clone)]
pub struct Guard {
    renewed: Arc<Mutex<(Instant, SystemTime)>>,
    deadline: Instant,
}

impl Guard {
    /// A guard for a lease that was taken by a request begun at `renewed`.
    pub fn new(renewed: (Instant, SystemTime), deadline: Instant) -> Self {
        Self {
            renewed: Arc::new(Mutex::new(renewed)),
            deadline,
        }
    }

    /// The moment to hand to [`Guard::renew`] when a renewal that begins now succeeds. Both
    /// clocks, since one of them may stand still while a machine is frozen.
    pub fn now() -> (Instant, SystemTime) {
        (Instant::now(), SystemTime::now())
    }

    /// Says that the lease was renewed by a request begun at `at`.
    pub fn renew(&self, at: (Instant, SystemTime)) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// How long until the run must stop sending.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Asks for leave to send one request now.
    ///
    /// # Errors
    /// [`RunError::LeaseLost`] or [`RunError::OutOfTime`].
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

/// Asked once more when a write is ready to be sent: a run that is frozen while it puts a request
/// together and signs it doesn't send it when it wakes.
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
    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

    fn guard(age: Duration) -> Guard {
        let then = (Instant::now().checked_sub(age), SystemTime::now() - age);
        let then = (then.0.expect("a machine that is up for a while"), then.1);
        Guard::new(then, Instant::now() + LEASE)
    }

    #[test]
    fn half_a_lease_after_its_renewal_nothing_is_sent() {
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
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("a", "b", None, None, "test"))
            .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
            .build();
        let request = Client::from_conf(config).list_tables().customize();
        let sent = request.interceptor(guard(LEASE)).send().await;
        assert!(sent.is_err());
        let connected = listener.accept();
        assert_eq!(
            connected.unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
    }
}
