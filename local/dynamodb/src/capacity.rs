//! Consumed capacity, as AWS counts it.
//!
//! Sources: "DynamoDB on-demand capacity mode" and "Using Global Secondary Indexes" (write units
//! of an index) in AWS's developer guide.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::schema::{Index, KeySchema};
use crate::value::Item;

/// Bytes that one write unit pays for, and one read unit.
const WRITE_UNIT_BYTES: usize = 1024;
const READ_UNIT_BYTES: usize = 4096;

/// Units. Reads count in halves, and totals are far below the precision of `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Units {
    halves: u64,
}

impl Units {
    fn whole(units: usize) -> Self {
        Self {
            halves: 2 * units as u64,
        }
    }

    /// Returns the cost of writing an item of this size, at least one.
    pub(crate) fn of_write(bytes: usize) -> Self {
        Self::whole(bytes.div_ceil(WRITE_UNIT_BYTES).max(1))
    }

    /// Returns the cost of reading this many bytes, at least one or a half.
    pub(crate) fn of_read(bytes: usize, is_consistent: bool) -> Self {
        let units = Self::whole(bytes.div_ceil(READ_UNIT_BYTES).max(1));
        if is_consistent {
            units
        } else {
            Self {
                halves: units.halves / 2,
            }
        }
    }

    pub(crate) fn doubled(self) -> Self {
        Self {
            halves: 2 * self.halves,
        }
    }

    fn max(self, other: Self) -> Self {
        if self.halves >= other.halves {
            self
        } else {
            other
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn as_f64(self) -> f64 {
        self.halves as f64 / 2.0
    }
}

impl std::ops::AddAssign for Units {
    fn add_assign(&mut self, other: Self) {
        self.halves += other.halves;
    }
}

impl Serialize for Units {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

/// Returns the cost of a write in the table: it depends on the larger of the item before and after.
pub(crate) fn table_write(before: Option<usize>, after: Option<usize>) -> Units {
    Units::of_write(before.unwrap_or(0).max(after.unwrap_or(0)))
}

/// Returns the cost of a write in an index; `None` if the index does not change.
pub(crate) fn index_write(
    index: &Index,
    table_key: &KeySchema,
    before: Option<&Item>,
    after: Option<&Item>,
) -> Option<Units> {
    let held = |item: Option<&'_ Item>| item.is_some_and(|item| index.key.is_held_by(item));
    let units = |item: &Item| Units::of_write(index.projected_size(item, table_key));
    let before = before.filter(|item| held(Some(item)));
    let after = after.filter(|item| held(Some(item)));
    match (before, after) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(units(one)),
        (Some(before), Some(after)) => {
            if index.key.of(before) != index.key.of(after) {
                let mut sum = units(before);
                sum += units(after);
                return Some(sum);
            }
            let differs = index.project(before, table_key) != index.project(after, table_key);
            differs.then(|| units(before).max(units(after)))
        }
    }
}

/// How much detail a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Detail {
    Indexes,
    Total,
    #[default]
    None,
}

/// The capacity that a request consumed in one table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Consumed {
    pub(crate) table: Units,
    pub(crate) indexes: BTreeMap<String, Units>,
    /// The capacity of failed statements, which is part of the sum only.
    pub(crate) failed: Units,
}

impl Consumed {
    pub(crate) fn add_index(&mut self, name: &str, units: Units) {
        if let Some(sum) = self.indexes.get_mut(name) {
            *sum += units;
        } else {
            self.indexes.insert(name.to_owned(), units);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.table += other.table;
        self.failed += other.failed;
        for (name, units) in &other.indexes {
            self.add_index(name, *units);
        }
    }

    /// Returns the form that a response contains.
    pub(crate) fn report(&self, table_name: &str, detail: Detail) -> Option<Report> {
        if detail == Detail::None {
            return None;
        }
        let mut sum = self.table;
        sum += self.failed;
        for units in self.indexes.values() {
            sum += *units;
        }
        let in_detail = detail == Detail::Indexes;
        let named = |(name, units): (&String, &Units)| (name.clone(), Part::from(*units));
        Some(Report {
            table_name: table_name.to_owned(),
            capacity_units: sum,
            read_capacity_units: None,
            write_capacity_units: None,
            table: in_detail.then(|| self.table.into()),
            global_secondary_indexes: (in_detail && !self.indexes.is_empty())
                .then(|| self.indexes.iter().map(named).collect()),
        })
    }
}

/// `ConsumedCapacity` of a response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Report {
    table_name: String,
    capacity_units: Units,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_capacity_units: Option<Units>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_capacity_units: Option<Units>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    global_secondary_indexes: Option<BTreeMap<String, Part>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the protocol's names")]
struct Part {
    capacity_units: Units,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_capacity_units: Option<Units>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_capacity_units: Option<Units>,
}

impl Report {
    /// Reports the units as a transaction's reads.
    pub(crate) fn of_reads(mut self) -> Self {
        self.read_capacity_units = Some(self.capacity_units);
        for part in self.parts() {
            part.read_capacity_units = Some(part.capacity_units);
        }
        self
    }

    /// Reports the units as a transaction's writes.
    pub(crate) fn of_writes(mut self) -> Self {
        self.write_capacity_units = Some(self.capacity_units);
        for part in self.parts() {
            part.write_capacity_units = Some(part.capacity_units);
        }
        self
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        let indexes = self.global_secondary_indexes.iter_mut();
        self.table
            .iter_mut()
            .chain(indexes.flat_map(BTreeMap::values_mut))
    }
}

impl From<Units> for Part {
    fn from(capacity_units: Units) -> Self {
        Self {
            capacity_units,
            read_capacity_units: None,
            write_capacity_units: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{IndexProjection, KeyAttribute, KeyType};

    fn key(name: &str) -> KeySchema {
        KeySchema {
            hash: KeyAttribute {
                name: name.to_owned(),
                kind: KeyType::S,
            },
            range: None,
        }
    }

    fn item(text: &str) -> Item {
        serde_json::from_str(text).expect("an item")
    }

    #[test]
    fn reads_and_writes_are_rounded_up() {
        let write = |bytes| Units::of_write(bytes).as_f64();
        let read = |bytes, consistent| Units::of_read(bytes, consistent).as_f64();
        assert_eq!(
            [write(0), write(1024), write(1025)].map(f64::to_bits),
            [1.0, 1.0, 2.0].map(f64::to_bits)
        );
        assert_eq!(
            [
                read(0, true),
                read(4096, true),
                read(4097, true),
                read(4097, false)
            ]
            .map(f64::to_bits),
            [1.0, 1.0, 2.0, 1.0].map(f64::to_bits)
        );
    }

    #[test]
    fn an_index_costs_what_changes_in_it() {
        let index = Index {
            name: "i".into(),
            id: 1,
            key: key("phone"),
            projection: IndexProjection::KeysOnly,
            is_active: true,
        };
        let table = key("id");
        let one = item(r#"{"id":{"S":"1"},"phone":{"S":"+1"},"x":{"S":"a"}}"#);
        let other = item(r#"{"id":{"S":"1"},"phone":{"S":"+1"},"x":{"S":"b"}}"#);
        let moved = item(r#"{"id":{"S":"1"},"phone":{"S":"+2"}}"#);
        let absent = item(r#"{"id":{"S":"1"}}"#);
        let units = |before, after| index_write(&index, &table, before, after);
        let count = Units::whole;
        assert_eq!(units(None, Some(&one)), Some(count(1)));
        assert_eq!(units(Some(&one), None), Some(count(1)));
        assert_eq!(units(Some(&one), Some(&other)), None);
        assert_eq!(units(Some(&one), Some(&moved)), Some(count(2)));
        assert_eq!(units(Some(&one), Some(&absent)), Some(count(1)));
        assert_eq!(units(Some(&absent), Some(&absent)), None);
    }
}
