//! Throughput per partition, as DynamoDB limits it (`partition=1000`).
//!
//! A table, and each of its indexes for itself, divides its keys into ranges: the *partitions*. A key's place is the hash of
//! its partition key, then its sort key. A partition accepts 1,000 write units and 3,000 read units a second, and what exceeds
//! that is throttled, although other partitions have capacity left:
//!
//! - A new on-demand table has four partitions (4,000 write units and 12,000 read units a second), and so has each index.
//! - *Burst*: throughput that a partition has not used in the last 300 seconds is saved. AWS does not guarantee it, and elsewhere
//!   writes that it does not lift the limit of a partition; the careful choice is `burst=0`, which saves no more than a second.
//! - *Adaptive capacity*: an on-demand table's units go to the partitions that need them, so a partition's limit is the only one.
//! - *Split for heat*: a partition that works at its limit for a time is divided where half of its recent requests are on each
//!   side. A range of one partition key is divided by sort key, as long as the table has no local secondary index, and no table of
//!   the template has one. A single item is never divided. AWS publishes no time; minutes are usual, and `split` sets it.
//! - *Back pressure*: a write also needs units in each index that it changes. If a partition of an index has none, the write to
//!   the table is throttled, and the reason names the index.
//!
//! Simplifications: DynamoDB updates indexes later and throttles when the queue to an index is full, here the write takes the units
//! of table and indexes at once. The size of an item is that of the request's JSON. A single update or deletion does not say
//! which entries of the indexes it removes, so only indexes whose keys are in the request are counted. Transactions, scans and
//! `SELECT` statements are not limited. Limits of the whole table (twice its former peak within 30 minutes), splits for size (10
//! GB) and `WarmThroughput` are not modelled.
//!
//! Sources, all under <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/>: `bp-partition-key-design.html` (limits of a
//! partition), `burst-adaptive-capacity.html` (burst, adaptive capacity, items of one key that are split unless there is a local
//! index), `throttling-key-range-limit-exceeded-mitigation.html` (reasons, split for heat), `gsi-throttling.html` (back pressure),
//! `warm-throughput-scenarios.html` (a new table);
//! <https://repost.aws/knowledge-center/dynamodb-spiky-workloads-short-intervals> (burst and the limit of a partition); and
//! <https://aws.amazon.com/blogs/database/part-3-scaling-dynamodb-how-partitions-hot-keys-and-split-for-heat-impact-performance/>.

mod space;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tokio::time::Instant;

use self::space::{Place, Space};
use super::access::{Access, Image};
use crate::template::Table;

/// Bytes that one write unit pays for (an AWS limit).
const WRITE_UNIT_BYTES: usize = 1024;

/// What each partition accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Write units a second.
    pub(super) write_units: u32,
    /// Seconds at the limit after which a partition is divided.
    pub(super) split_seconds: u32,
    /// Seconds of unused throughput that are saved.
    pub(super) burst_seconds: u32,
}

/// Why a request was throttled, as AWS reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Throttling {
    /// What was exceeded, for example `TableWriteKeyRangeThroughputExceeded`.
    pub(super) reason: &'static str,
    /// The ARN of the table or index.
    pub(super) resource: String,
}

impl Throttling {
    /// Returns a message like that of AWS for an on-demand table.
    pub(super) fn message(&self) -> &'static str {
        if self.reason.starts_with("IndexWrite") {
            "Throughput exceeds the current capacity for one or more global secondary indexes. DynamoDB is automatically \
             scaling your index so please try again shortly."
        } else {
            "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table \
             or index so please try again shortly."
        }
    }
}

/// How a table's partitions were used since the specification was set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartitionUse {
    /// Whole seconds since then.
    pub seconds: u64,
    /// The sum over these seconds of the share of its write units that the busiest partition granted. No load with the
    /// same mixture of keys is faster than its busiest partition, so this, divided by the seconds, is the share of what the
    /// partitions allow.
    pub busiest: f64,
    /// The number of partitions, by the name of the table or index.
    pub partitions: BTreeMap<String, usize>,
    /// The number of throttled items, by the name of the table or index.
    pub throttled: BTreeMap<String, u64>,
}

/// The partitions of all tables.
#[derive(Debug)]
pub(super) struct Partitions {
    start: Instant,
    tables: HashMap<String, TablePartitions>,
}

/// The partitions of a table and its indexes.
#[derive(Debug)]
struct TablePartitions {
    /// The table, then its indexes.
    spaces: Vec<Space>,
    /// The second that is being counted.
    second: u64,
    /// See [`PartitionUse::busiest`].
    busiest: f64,
}

/// The write units that an item costs in one partition.
#[derive(Debug)]
struct Demand {
    space: usize,
    place: Place,
    units: u32,
}

impl Partitions {
    pub(super) fn new(limits: Limits, tables: &[Table], now: Instant) -> Self {
        let partitions = |table: &Table| {
            let indexes = table.indexes.iter();
            let indexes = indexes.map(|index| Space::of_index(table, index, limits, now));
            let all = TablePartitions {
                spaces: [Space::of_table(table, limits, now)]
                    .into_iter()
                    .chain(indexes)
                    .collect(),
                second: 0,
                busiest: 0.0,
            };
            (table.name.clone(), all)
        };
        Self {
            start: now,
            tables: tables.iter().map(partitions).collect(),
        }
    }

    /// Takes the units of an access in every partition that it needs, and returns the write units. If one of the partitions has
    /// none, it takes nothing. A table that is not the template's has no limit.
    pub(super) fn take(&mut self, access: &Access, now: Instant) -> Result<u64, Throttling> {
        let Some(table) = self.at(access.table(), now) else {
            return Ok(0);
        };
        match access {
            Access::Write { before, after, .. } => {
                table.write(before.as_ref(), after.as_ref(), now)
            }
            Access::Read {
                index, key, units, ..
            } => match table.find(index.as_deref(), key) {
                Some((space, place)) => space.take_read(&place, *units, now).map(|()| 0),
                None => Ok(0),
            },
        }
    }

    /// Takes the units of a read whose cost is known only now.
    pub(super) fn charge(&mut self, access: &Access, units: f64, now: Instant) {
        if let Access::Read {
            table, index, key, ..
        } = access
            && let Some(table) = self.at(table, now)
            && let Some((space, place)) = table.find(index.as_deref(), key)
        {
            space.charge_read(&place, units);
        }
    }

    /// Returns how a table's partitions were used.
    pub(super) fn usage(&mut self, table: &str, now: Instant) -> Option<PartitionUse> {
        let table = self.at(table, now)?;
        let spaces = || table.spaces.iter();
        Some(PartitionUse {
            seconds: table.second,
            busiest: table.busiest,
            partitions: spaces().map(|s| (s.name.clone(), s.len())).collect(),
            throttled: spaces().map(|s| (s.name.clone(), s.throttled)).collect(),
        })
    }

    /// Returns a table's partitions as they are at this time.
    fn at(&mut self, table: &str, now: Instant) -> Option<&mut TablePartitions> {
        let second = now.saturating_duration_since(self.start).as_secs();
        let table = self.tables.get_mut(table)?;
        table.end_seconds(second, now);
        Some(table)
    }
}

impl TablePartitions {
    /// Counts the seconds before this one, and divides partitions that were hot for long enough.
    fn end_seconds(&mut self, second: u64, now: Instant) {
        let passed = second.saturating_sub(self.second);
        if passed == 0 {
            return;
        }
        self.second = second;
        let spaces = self.spaces.iter_mut();
        let busiest = spaces.map(|space| space.end_seconds(passed, now));
        self.busiest += busiest.fold(0.0, f64::max);
    }

    /// Returns the table or index that a read uses, and where in it.
    fn find(&mut self, index: Option<&str>, key: &Image) -> Option<(&mut Space, Place)> {
        let space = match index {
            None => self.spaces.first_mut(),
            Some(name) => self.spaces.iter_mut().skip(1).find(|s| s.name == name),
        }?;
        let place = space.place(key)?;
        Some((space, place))
    }

    fn write(
        &mut self,
        before: Option<&Image>,
        after: Option<&Image>,
        now: Instant,
    ) -> Result<u64, Throttling> {
        let units = before.into_iter().chain(after).map(write_units);
        let units = units.max().unwrap_or(1);
        let mut demands = Vec::new();
        for (number, space) in self.spaces.iter().enumerate() {
            let places = space.written(before, after).into_iter().flatten();
            demands.extend(places.map(|place| Demand {
                space: number,
                place,
                units,
            }));
        }
        let mut throttled = Ok(());
        for Demand {
            space,
            place,
            units,
        } in &demands
        {
            let offers = self.spaces[*space].offers_write(place, *units, now);
            throttled = throttled.and(offers);
        }
        throttled?;
        for Demand {
            space,
            place,
            units,
        } in &demands
        {
            self.spaces[*space].charge_write(place, *units);
        }
        Ok(demands.iter().map(|demand| u64::from(demand.units)).sum())
    }
}

/// Returns the write units of an item, by its size as JSON.
fn write_units(item: &Image) -> u32 {
    let bytes = serde_json::to_string(item).map_or(0, |text| text.len());
    u32::try_from(bytes.div_ceil(WRITE_UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}
