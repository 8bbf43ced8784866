//! The members table as ingest uses it: batches of reads and of writes, as many at once as
//! DynamoDB takes, tried again until they are through or the run's time is up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::{
    ConsumedCapacity, KeysAndAttributes, PutRequest, ReturnConsumedCapacity, WriteRequest,
};
use mpulse_shared::batch::Capacity;
use mpulse_shared::member::MemberId;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::members::{Item, from_item, key_of, to_item};
use tokio::task::JoinSet;

use crate::backoff;
use crate::compare::Members;
use crate::error::RunError;
use crate::guard::Guard;
use crate::limiter::Limiter;

/// The most keys of one BatchGetItem (an AWS limit).
pub const READ_KEYS: usize = 100;

/// The most items of one BatchWriteItem (an AWS limit).
pub const WRITE_ITEMS: usize = 25;

/// The table. Cloning it shares its client.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: Arc<str>,
}

impl Table {
    /// The table that `MEMBERS_TABLE` names. The SDK's own retries are off: they would hide
    /// throttling from the limiter.
    ///
    /// # Errors
    /// Where a setting is missing.
    pub fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        let config = setup
            .dynamodb()?
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            name: setup.required("MEMBERS_TABLE")?.into(),
        })
    }

    /// The table for one run.
    pub fn for_run(&self, guard: Guard) -> RunTable {
        RunTable {
            table: self.clone(),
            guard,
            limiter: Limiter::new(),
            spent: Arc::default(),
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
}

impl RunTable {
    /// Takes the units consumed since the last time this was asked.
    pub fn take_spent(&self) -> Capacity {
        std::mem::take(&mut *self.spent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the members that exist among `ids`, consistently. No id may come twice.
    ///
    /// # Errors
    /// Where the run may not or can't go on.
    pub async fn fetch(&self, ids: &[MemberId]) -> Result<Members, RunError> {
        let mut requests = JoinSet::new();
        for part in ids.chunks(READ_KEYS) {
            let keys: Vec<Item> = part.iter().map(key_of).collect();
            requests.spawn(self.clone().fetch_part(keys));
        }
        let mut found = Members::with_capacity(ids.len());
        while let Some(result) = requests.join_next().await {
            for item in joined(result)? {
                let member = from_item(item)
                    .map_err(|error| StoreError::unreadable("BatchGetItem of members", error))?;
                found.insert(member.profile.id.clone(), member);
            }
        }
        Ok(found)
    }

    async fn fetch_part(self, mut keys: Vec<Item>) -> Result<Vec<Item>, RunError> {
        const OPERATION: &str = "BatchGetItem of members";
        let name = &*self.table.name;
        let mut found = Vec::with_capacity(keys.len());
        let mut retry = 0;
        loop {
            let permit = self.limiter.acquire().await;
            self.guard.check()?;
            let request = KeysAndAttributes::builder()
                .set_keys(Some(keys.clone()))
                .consistent_read(true)
                .build()
                .map_err(|error| StoreError::unreadable(OPERATION, error))?;
            let result = self
                .table
                .client
                .batch_get_item()
                .request_items(name, request)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            match result {
                Ok(answer) => {
                    self.spend(answer.consumed_capacity(), |all, units| {
                        all.read_units += units;
                    });
                    let before = keys.len();
                    if let Some(items) = answer.responses.and_then(|mut all| all.remove(name)) {
                        found.extend(items);
                    }
                    let left = answer.unprocessed_keys.and_then(|mut all| all.remove(name));
                    let Some(left) = left.filter(|left| !left.keys.is_empty()) else {
                        permit.taken();
                        return Ok(found);
                    };
                    permit.refused();
                    keys = left.keys;
                    if keys.len() < before {
                        retry = 0;
                    }
                }
                Err(error) => again_or_fail(StoreError::sdk(OPERATION, error), &permit)?,
            }
            drop(permit);
            retry += 1;
            tokio::time::sleep(backoff::wait(retry).min(self.guard.time_left())).await;
        }
    }

    /// Writes members, each in whole. The keys differ by the type of `members`.
    ///
    /// # Errors
    /// Where the run may not or can't go on. Some may have been written then.
    pub async fn put(&self, members: &Members) -> Result<(), RunError> {
        let mut waiting: VecDeque<Item> = members.values().map(to_item).collect();
        let mut requests = JoinSet::new();
        while !waiting.is_empty() {
            let part = waiting.drain(..waiting.len().min(WRITE_ITEMS)).collect();
            requests.spawn(self.clone().put_part(part));
        }
        // All of them, also after a failure: when this returns, nothing is in flight.
        let mut outcome = Ok(());
        while let Some(result) = requests.join_next().await {
            outcome = outcome.and(joined(result));
        }
        outcome
    }

    async fn put_part(self, items: Vec<Item>) -> Result<(), RunError> {
        const OPERATION: &str = "BatchWriteItem of members";
        let name = &*self.table.name;
        let mut writes = Vec::with_capacity(items.len());
        for item in items {
            let put = PutRequest::builder()
                .set_item(Some(item))
                .build()
                .map_err(|error| StoreError::unreadable(OPERATION, error))?;
            writes.push(WriteRequest::builder().put_request(put).build());
        }
        let mut retry = 0;
        loop {
            let permit = self.limiter.acquire().await;
            self.guard.check()?;
            let result = self
                .table
                .client
                .batch_write_item()
                .set_request_items(Some(HashMap::from([(name.to_owned(), writes.clone())])))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            match result {
                Ok(answer) => {
                    self.spend(answer.consumed_capacity(), |all, units| {
                        all.write_units += units;
                    });
                    let before = writes.len();
                    let left = answer
                        .unprocessed_items
                        .and_then(|mut all| all.remove(name));
                    let Some(left) = left.filter(|left| !left.is_empty()) else {
                        permit.taken();
                        return Ok(());
                    };
                    permit.refused();
                    writes = left;
                    if writes.len() < before {
                        retry = 0;
                    }
                }
                Err(error) => again_or_fail(StoreError::sdk(OPERATION, error), &permit)?,
            }
            drop(permit);
            retry += 1;
            tokio::time::sleep(backoff::wait(retry).min(self.guard.time_left())).await;
        }
    }

    fn spend(&self, consumed: &[ConsumedCapacity], add: impl Fn(&mut Capacity, f64)) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        for table in consumed {
            add(&mut spent, table.capacity_units.unwrap_or_default());
        }
    }
}

/// Lets a request that failed in passing be tried again.
fn again_or_fail(error: StoreError, permit: &crate::limiter::Permit) -> Result<(), RunError> {
    if !error.is_transient() {
        return Err(error.into());
    }
    if error.is_throttling() {
        permit.refused();
    }
    tracing::debug!(
        cause = mpulse_shared::store::chain(&error),
        "trying a request again"
    );
    Ok(())
}

/// A request's own result. A task that panicked is a fault of ours; it fails the run.
fn joined<T>(result: Result<Result<T, RunError>, tokio::task::JoinError>) -> Result<T, RunError> {
    result.unwrap_or_else(|error| Err(StoreError::unreadable("a request", error).into()))
}
