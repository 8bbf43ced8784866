//! The members table as ingest uses it: reads and writes in batches, as many at once as DynamoDB
//! accepts, retried until they succeed or the run's time is up.
//!
//! [`read`] reads members by key and accounts by page; [`change`] writes with conditions, [`put`]
//! without.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ConsumedCapacity;
use mpulse_shared::batch::Capacity;
use mpulse_shared::run::{Guard, RunError, backoff};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;

use crate::limiter::{Limiter, Permit};

mod change;
mod put;
mod read;

pub use read::{AccountPage, Members};

/// The maximum number of items of one BatchWriteItem, and of statements of one
/// `BatchExecuteStatement` (AWS limits).
const WRITES: usize = 25;

/// The write units of a member, usually: one for the table and one for each of its two indexes. A
/// changed phone costs four.
const WRITE_UNITS: f64 = 3.0;

/// The table. Clones share its client.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: Arc<str>,
    /// The maximum write units per second of a run.
    cap: Option<f64>,
    statements: Arc<change::Statements>,
}

impl Table {
    /// The table that `MEMBERS_TABLE` names, written with at most `MAX_WRITE_UNITS_PER_SECOND` (0
    /// or unset: no limit). The SDK's own retries are off, because they would hide throttling from
    /// the limiter.
    ///
    /// # Errors
    /// Returns an error if a setting is missing or not a number.
    pub fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        let name = setup.required("MEMBERS_TABLE")?;
        Ok(Self {
            client: setup.dynamodb_without_retries()?,
            name: name.into(),
            cap: setup.max_write_units_per_second()?,
            statements: Arc::new(change::Statements::of(name)),
        })
    }

    /// Returns the table for one run.
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

/// The table for one run: under its lease, deadline and limiter. It counts the consumed units.
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
    /// Takes the units consumed since the last call.
    pub fn take_spent(&self) -> Capacity {
        std::mem::take(&mut *self.spent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the number of requests that were throttled, wholly or in part, since the last
    /// call.
    pub fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Records that the table throttled a request.
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

    /// Returns whether a request that failed temporarily may be retried.
    fn again_or_fail(&self, error: StoreError, permit: &Permit) -> Result<(), RunError> {
        // If sending is not allowed any more, that is why it failed.
        self.guard.check()?;
        if !error.is_transient() {
            return Err(error.into());
        }
        if error.is_throttling() {
            self.slow_down(permit);
        }
        tracing::debug!(
            cause = mpulse_shared::store::chain(&error),
            "retrying a request"
        );
        Ok(())
    }

    /// Waits before a retry, as long as the run has time.
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

/// Returns the write units that writing a number of members usually consumes.
fn write_units(members: usize) -> f64 {
    f64::from(u32::try_from(members).unwrap_or(u32::MAX)) * WRITE_UNITS
}

/// Returns the result of a request's task. A panic in a task fails the run.
pub fn joined<T>(
    result: Result<Result<T, RunError>, tokio::task::JoinError>,
) -> Result<T, RunError> {
    result.unwrap_or_else(|error| Err(StoreError::unreadable("a request", error).into()))
}
