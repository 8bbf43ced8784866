//! The keys of a table or an index, divided into partitions.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::super::access::Image;
use super::super::budget::Bucket;
use super::super::random::Random;
use super::{Limits, Throttling};
use crate::template::{ACCOUNT_ID, Index, Key, Projection, REGION, Table};

/// The partitions of a new on-demand table, and of a new index: 4,000 write units a second (AWS).
const FIRST_PARTITIONS: u64 = 4;

/// Read units for each write unit that a partition accepts: 3,000 and 1,000 (AWS).
const READS_PER_WRITE: f64 = 3.0;

/// The share of a partition's units from which it is hot.
const HOT: f64 = 0.8;

/// The number of recent requests that decide where a partition is divided.
const RECENT: usize = 256;

/// A key's place: the hash of the partition key, then the sort key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    hash: u64,
    sort: String,
}

/// A table or an index.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) name: String,
    /// The number of throttled items.
    pub(super) throttled: u64,
    arn: String,
    key: Key,
    /// What an index contains; `None` for a table.
    projection: Option<Projection>,
    limits: Limits,
    /// The partitions by the first place of their range.
    partitions: BTreeMap<Place, Partition>,
}

#[derive(Debug)]
struct Partition {
    writes: Bucket,
    reads: Bucket,
    /// The units granted in the present second.
    written: f64,
    read: f64,
    /// Whether it throttled in the present second.
    throttled: bool,
    /// Seconds in which it was hot, less those in which it was not.
    hot_seconds: u64,
    /// The places of recent requests, also of throttled ones.
    recent: VecDeque<Place>,
}

impl Space {
    pub(super) fn of_table(table: &Table, limits: Limits, now: Instant) -> Self {
        let first = |number| Place {
            hash: number * (u64::MAX / FIRST_PARTITIONS),
            sort: String::new(),
        };
        let partition = |number| (first(number), Partition::new(limits, now));
        Self {
            name: table.name.clone(),
            throttled: 0,
            arn: format!(
                "arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:table/{}",
                table.name
            ),
            key: table.key.clone(),
            projection: None,
            limits,
            partitions: (0..FIRST_PARTITIONS).map(partition).collect(),
        }
    }

    pub(super) fn of_index(table: &Table, index: &Index, limits: Limits, now: Instant) -> Self {
        let space = Self::of_table(table, limits, now);
        Self {
            name: index.name.clone(),
            arn: format!("{}/index/{}", space.arn, index.name),
            key: index.key.clone(),
            projection: Some(index.projection.clone()),
            ..space
        }
    }

    /// Returns the number of partitions.
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Returns an item's place; `None` if its attributes do not contain the partition key.
    pub(super) fn place(&self, item: &Image) -> Option<Place> {
        let text = |name: &String| {
            // The value is a map of one type to text.
            let value = item.get(name)?.as_object()?.values().next()?.as_str()?;
            Some(value.to_owned())
        };
        let sort = self.key.range.as_ref().and_then(text);
        Some(Place {
            hash: hash(&text(&self.key.hash)?),
            sort: sort.unwrap_or_default(),
        })
    }

    /// Returns the places that a write of an item changes: none if an index does not contain what changes, and two if its entry
    /// moves.
    pub(super) fn written(
        &self,
        before: Option<&Image>,
        after: Option<&Image>,
    ) -> [Option<Place>; 2] {
        let place = |item| self.place(item);
        let (old, new) = (before.and_then(place), after.and_then(place));
        match &self.projection {
            None => [new.or(old), None],
            Some(Projection::KeysOnly) if old == new => [None, None],
            Some(_) if old == new => [new, None],
            Some(_) => [old, new],
        }
    }

    /// Checks that the partition has the units of a write.
    pub(super) fn offers_write(
        &mut self,
        place: &Place,
        units: u32,
        now: Instant,
    ) -> Result<(), Throttling> {
        let partition = self.partition(place);
        partition.remember(place);
        if partition.writes.offers(units.into(), now) {
            return Ok(());
        }
        partition.throttled = true;
        Err(self.throttling(match self.projection {
            None => "TableWriteKeyRangeThroughputExceeded",
            Some(_) => "IndexWriteKeyRangeThroughputExceeded",
        }))
    }

    /// Takes the units of a write, which the partition has.
    pub(super) fn charge_write(&mut self, place: &Place, units: u32) {
        let partition = self.partition(place);
        partition.writes.spend(units.into());
        partition.written += f64::from(units);
    }

    /// Takes the units of a read if the partition has them.
    pub(super) fn take_read(
        &mut self,
        place: &Place,
        units: f64,
        now: Instant,
    ) -> Result<(), Throttling> {
        let partition = self.partition(place);
        partition.remember(place);
        if partition.reads.offers(units, now) {
            self.charge_read(place, units);
            return Ok(());
        }
        partition.throttled = true;
        Err(self.throttling(match self.projection {
            None => "TableReadKeyRangeThroughputExceeded",
            Some(_) => "IndexReadKeyRangeThroughputExceeded",
        }))
    }

    /// Takes the units of a read, also if the partition does not have them.
    pub(super) fn charge_read(&mut self, place: &Place, units: f64) {
        let partition = self.partition(place);
        partition.reads.spend(units);
        partition.read += units;
    }

    /// Ends a second, and as many idle ones as have passed since. Divides partitions that were hot for long enough. Returns the
    /// share of its write units that the busiest partition granted.
    pub(super) fn end_seconds(&mut self, passed: u64, now: Instant) -> f64 {
        let limits = self.limits;
        let (mut busiest, mut divided) = (0.0_f64, Vec::new());
        for partition in self.partitions.values_mut() {
            busiest = busiest.max(partition.written / partition.writes.rate);
            partition.end_seconds(passed);
            if partition.hot_seconds >= u64::from(limits.split_seconds.max(1)) {
                divided.extend(partition.split_point());
                partition.hot_seconds = 0;
            }
        }
        for place in divided {
            *self.partition(&place) = Partition::new(limits, now);
            let upper = Partition::new(limits, now);
            self.partitions.insert(place, upper);
        }
        busiest
    }

    fn throttling(&mut self, reason: &'static str) -> Throttling {
        self.throttled += 1;
        Throttling {
            reason,
            resource: self.arn.clone(),
        }
    }

    fn partition(&mut self, place: &Place) -> &mut Partition {
        let mut before = self.partitions.range_mut(..=place);
        let (_, partition) = before
            .next_back()
            .expect("the first range begins at the lowest place");
        partition
    }
}

impl Partition {
    fn new(limits: Limits, now: Instant) -> Self {
        let rate = f64::from(limits.write_units);
        Self {
            writes: Bucket::saving(rate, limits.burst_seconds, now),
            reads: Bucket::saving(rate * READS_PER_WRITE, limits.burst_seconds, now),
            written: 0.0,
            read: 0.0,
            throttled: false,
            hot_seconds: 0,
            recent: VecDeque::with_capacity(RECENT),
        }
    }

    fn remember(&mut self, place: &Place) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(place.clone());
    }

    fn end_seconds(&mut self, passed: u64) {
        let is_hot = self.throttled
            || self.written >= HOT * self.writes.rate
            || self.read >= HOT * self.reads.rate;
        let idle = if is_hot { passed - 1 } else { passed };
        self.hot_seconds = (self.hot_seconds + u64::from(is_hot)).saturating_sub(idle);
        (self.written, self.read, self.throttled) = (0.0, 0.0, false);
    }

    /// Returns the place with half of the recent requests on each side; `None` if all are for one item.
    fn split_point(&self) -> Option<Place> {
        let mut places: Vec<&Place> = self.recent.iter().collect();
        places.sort_unstable();
        let (first, middle) = (places.first()?, places.get(places.len() / 2)?);
        // More than half may be for the first: it is left alone in its range.
        let place = places
            .iter()
            .find(|place| *place > first && *place >= middle)?;
        Some((*place).clone())
    }
}

/// Returns the hash of a partition key: FNV-1a, mixed so that similar keys are far from each other. AWS does not publish its own.
fn hash(key: &str) -> u64 {
    let bytes = key.bytes();
    let state = bytes.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    Random { state }.next()
}
