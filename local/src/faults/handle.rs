//! The handle of the injected faults: the specification in effect, and the counters.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::access::Access;
use super::budget::Bucket;
use super::decision::Plan;
use super::engine::Engine;
use super::partitions::{PartitionUse, Partitions, Throttling};
use super::spec::Spec;
use crate::template::Table;

/// The faults of some proxies: one specification, one budget, one set of counters. Clones share
/// them.
#[derive(Debug, Clone)]
pub struct Faults {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// The cost of a write, by table.
    pub(super) costs: HashMap<String, u32>,
    pub(super) tables: Vec<Table>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) spec: Spec,
    pub(super) seed: u64,
    pub(super) buckets: HashMap<String, Bucket>,
    pub(super) partitions: Option<Partitions>,
    pub(super) counters: Counters,
}

/// What happened since the specification was set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests to DynamoDB.
    pub dynamodb: u64,
    /// Requests to S3.
    pub s3: u64,
    /// Requests to DynamoDB that were throttled, or over budget, completely.
    pub refused: u64,
    /// Batches of which a part, or all, was unprocessed.
    pub partly_refused: u64,
    /// Items, keys and statements that were unprocessed.
    pub handed_back: u64,
    /// Requests answered with 500.
    pub failed: u64,
    /// Requests whose connection was closed, before or after reaching the engine.
    pub dropped: u64,
    /// Downloads from S3 that were cut.
    pub cut: u64,
    /// Write units granted, by table. They are counted under a budget (`wcu`), or else with
    /// partitions, only.
    pub units: BTreeMap<String, u64>,
}

impl Faults {
    /// Creates a handle for proxies in front of an engine with these tables, whose indexes
    /// determine the cost of a write. A write to an unknown table costs one unit per item.
    #[must_use]
    pub fn new(spec: Spec, tables: &[Table]) -> Self {
        let cost = |table: &Table| {
            let indexes = u32::try_from(table.indexes.len()).unwrap_or(u32::MAX);
            (table.name.clone(), indexes.saturating_add(1))
        };
        let shared = Shared {
            costs: tables.iter().map(cost).collect(),
            state: Mutex::new(State::new(spec, tables)),
            tables: tables.to_vec(),
        };
        let faults = Self {
            shared: Arc::new(shared),
        };
        tracing::info!(spec = %faults.spec(), "injecting faults");
        faults
    }

    /// Replaces the specification. Counters, budget and random decisions start again; requests in
    /// progress are not affected.
    pub fn set(&self, spec: Spec) {
        *self.state() = State::new(spec, &self.shared.tables);
    }

    /// Returns the specification, with the seed in use.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let state = self.state();
        state.spec.with_seed(state.seed)
    }

    /// Returns what happened since the specification was set.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state().counters.clone()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut self.state().counters);
    }

    /// Decides the faults of the next request.
    pub(super) fn plan(&self, engine: Engine) -> Plan {
        let mut state = self.state();
        let counter = match engine {
            Engine::DynamoDb => &mut state.counters.dynamodb,
            Engine::S3 => &mut state.counters.s3,
        };
        let request = *counter;
        *counter += 1;
        Plan::of(state.spec, state.seed, engine, request)
    }

    /// Returns whether a write to the table is within the budget, and takes its units.
    pub(super) fn grant(&self, table: &str) -> bool {
        let cost = self.shared.costs.get(table).copied().unwrap_or(1);
        let mut state = self.state();
        let Some(rate) = state.spec.wcu else {
            return true;
        };
        let now = Instant::now();
        let full = Bucket::full(rate, cost, now);
        let bucket = state.buckets.entry(table.to_owned()).or_insert(full);
        let granted = bucket.take(cost.into(), now);
        if granted {
            *state.counters.units.entry(table.to_owned()).or_default() += u64::from(cost);
        }
        granted
    }

    /// Takes what an access needs of partitions. Returns an error if one of them throttles it.
    pub(super) fn take(&self, access: impl FnOnce() -> Option<Access>) -> Result<(), Throttling> {
        let mut state = self.state();
        let State {
            spec,
            partitions: Some(partitions),
            counters,
            ..
        } = &mut *state
        else {
            return Ok(());
        };
        let Some(access) = access() else {
            return Ok(());
        };
        let units = partitions.take(&access, Instant::now())?;
        if spec.wcu.is_none() && units > 0 {
            let sum = counters.units.entry(access.table().to_owned());
            *sum.or_default() += units;
        }
        Ok(())
    }

    /// Takes the units of a read, which its response reported.
    pub(super) fn charge(&self, access: &Access, units: f64) {
        if let Some(partitions) = &mut self.state().partitions {
            partitions.charge(access, units, Instant::now());
        }
    }

    /// Returns how the partitions of a table were used since the specification was set; `None` if it
    /// has no option `partition`, or there is no such table.
    #[must_use]
    pub fn partition_use(&self, table: &str) -> Option<PartitionUse> {
        let partitions = &mut self.state().partitions;
        partitions.as_mut()?.usage(table, Instant::now())
    }
}

impl State {
    pub(super) fn new(spec: Spec, tables: &[Table]) -> Self {
        // The keys of the hasher are random, which is sufficient for a seed; and the seed is short.
        let random = || RandomState::new().hash_one("seed") >> 32;
        let seed = spec.seed.unwrap_or_else(random);
        Self {
            spec,
            seed,
            buckets: HashMap::new(),
            partitions: spec
                .limits()
                .map(|limits| Partitions::new(limits, tables, Instant::now())),
            counters: Counters::default(),
        }
    }
}
