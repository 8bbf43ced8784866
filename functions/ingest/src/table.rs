//! The members table as ingest uses it: reads and writes in batches, as many at once as
//! DynamoDB takes, tried again until they are through or the run's time is up.
//!
//! [`read`] reads members by key and accounts by page; [`change`] writes what has a
//! condition, [`put`] what has none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::ConsumedCapacity;
use mpulse_shared::batch::Capacity;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;

use crate::backoff;
use crate::error::RunError;
use crate::guard::Guard;
use crate::limiter::{Limiter, Permit};

mod change;
mod put;
mod read;

pub use read::{AccountPage, Members};

/// The most items of one BatchWriteItem, and statements of one `BatchExecuteStatement`
/// (AWS limits).
const WRITES: usize = 25;

/// What writing a member usually takes, in write units: one for the table and one for each
/// of its two indexes. A changed phone takes four.
const WRITE_UNITS: f64 = 3.0;

/// The table. Cloning it shares its client.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: Arc<str>,
    /// Write units a second that a run may take at most.
    cap: Option<f64>,
    statements: Arc<change::Statements>,
}

impl Table {
    /// The table that `MEMBERS_TABLE` names, written at no more than
    /// `MAX_WRITE_UNITS_PER_SECOND` (0 or unset: no cap). The SDK's own retries are off:
    /// they would hide throttling from the limiter.
    ///
    /// # Errors
    /// Where a setting is missing or no number.
    pub fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        let config = setup
            .dynamodb()?
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .build();
        let name = setup.required("MEMBERS_TABLE")?;
        Ok(Self {
            client: Client::from_conf(config),
            name: name.into(),
            cap: setup.max_write_units_per_second()?,
            statements: Arc::new(change::Statements::of(name)),
        })
    }

    /// The table for one run.
    pub fn for_run(&self, guard: Guard, first_wait: Duration) -> RunTable {
        RunTable {
            table: self.clone(),
            guard,
            limiter: Limiter::new(self.cap),
            spent: Arc::default(),
            refused: Arc::default(),
            first_wait,
        }
    }
}

/// The table in one run's hands: under its lease, deadline and limit, and on its account.
#[derive(Debug, Clone)]
pub struct RunTable {
    table: Table,
    guard: Guard,
    limiter: Limiter,
    spent: Arc<Mutex<Capacity>>,
    refused: Arc<AtomicU64>,
    first_wait: Duration,
}

impl RunTable {
    /// Takes the units consumed since the last time this was asked.
    pub fn take_spent(&self) -> Capacity {
        std::mem::take(&mut *self.spent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes how many requests were refused, wholly or in part, since the last time this was
    /// asked.
    pub fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Notes that the table asked for less.
    fn slow_down(&self, permit: &Permit) {
        permit.refused();
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn spend_reads(&self, consumed: &[ConsumedCapacity]) {
        self.spent().read_units += units(consumed);
    }

    fn spend_writes(&self, consumed: &[ConsumedCapacity], permit: &Permit) {
        let units = units(consumed);
        self.spent().write_units += units;
        permit.wrote(units);
    }

    fn spent(&self) -> std::sync::MutexGuard<'_, Capacity> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request that failed in passing be tried again.
    fn again_or_fail(&self, error: StoreError, permit: &Permit) -> Result<(), RunError> {
        // Without leave to send, that is why it failed.
        self.guard.check()?;
        if !error.is_transient() {
            return Err(error.into());
        }
        if error.is_throttling() {
            self.slow_down(permit);
        }
        tracing::debug!(
            cause = mpulse_shared::store::chain(&error),
            "trying a request again"
        );
        Ok(())
    }

    /// Waits before a request is tried again, as long as the run has time.
    async fn back_off(&self, retry: u32) {
        tokio::time::sleep(backoff::wait(self.first_wait, retry).min(self.guard.time_left())).await;
    }
}

fn units(consumed: &[ConsumedCapacity]) -> f64 {
    consumed
        .iter()
        .filter_map(|table| table.capacity_units)
        .sum()
}

/// What writing that many members usually takes, in write units.
fn write_units(members: usize) -> f64 {
    f64::from(u32::try_from(members).unwrap_or(u32::MAX)) * WRITE_UNITS
}

/// A request's own result. A task that panicked is a fault of ours; it fails the run.
pub fn joined<T>(
    result: Result<Result<T, RunError>, tokio::task::JoinError>,
) -> Result<T, RunError> {
    result.unwrap_or_else(|error| Err(StoreError::unreadable("a request", error).into()))
}
