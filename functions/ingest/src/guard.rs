//! What allows a run to send: time left, and a lease that is fresh.
//!
//! Nothing is sent once the last renewal is older than half the lease. A request takes at
//! most [`mpulse_shared::setup::ATTEMPT_TIMEOUT`], so none of a run's can land after
//! another run was able to take the lease.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

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
