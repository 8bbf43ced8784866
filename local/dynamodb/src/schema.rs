//! What a table is: its key, its indexes, and what they hold.

use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Result};
use crate::value::{Item, Value};

/// The most bytes of a partition key's value, and of a sort key's (AWS limits).
const MAX_HASH_BYTES: usize = 2048;
const MAX_RANGE_BYTES: usize = 1024;

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyType {
    S,
    N,
    B,
}

impl KeyType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
        }
    }

    fn long_name(self) -> &'static str {
        match self {
            Self::S => "string",
            Self::N => "number",
            Self::B => "binary",
        }
    }

    pub(crate) fn is_type_of(self, value: &Value) -> bool {
        self.name() == value.type_name()
    }
}

/// A key attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyAttribute {
    pub(crate) name: String,
    pub(crate) kind: KeyType,
}

impl KeyAttribute {
    fn empty(&self) -> ApiError {
        ApiError::validation(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute \
             cannot contain an empty {} value. Key: {}",
            self.kind.long_name(),
            self.name
        ))
    }

    /// Returns an error for a value that no key condition on it can have.
    pub(crate) fn check_condition(&self, value: &Value) -> Result<()> {
        if !self.kind.is_type_of(value) {
            return Err(ApiError::invalid_parameter(
                "Condition parameter type does not match schema type",
            ));
        }
        if is_empty(value) {
            return Err(self.empty());
        }
        Ok(())
    }
}

/// The key of a table or an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeySchema {
    pub(crate) hash: KeyAttribute,
    pub(crate) range: Option<KeyAttribute>,
}

impl KeySchema {
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.hash).chain(&self.range)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.attributes().any(|attribute| attribute.name == name)
    }

    /// Returns an error for a `Key` parameter with other attributes than the key.
    pub(crate) fn check_key(&self, key: &Item) -> Result<()> {
        let mismatch =
            || ApiError::validation("The provided key element does not match the schema");
        if key.len() != self.attributes().count() {
            return Err(mismatch());
        }
        for attribute in self.attributes() {
            let value = key.get(&attribute.name).ok_or_else(mismatch)?;
            if !attribute.kind.is_type_of(value) {
                return Err(mismatch());
            }
        }
        self.check_values(key)
    }

    /// Returns an error for an item without this key.
    pub(crate) fn check_item(&self, item: &Item) -> Result<()> {
        for attribute in self.attributes() {
            let Some(value) = item.get(&attribute.name) else {
                return Err(ApiError::invalid_parameter(format_args!(
                    "Missing the key {} in the item",
                    attribute.name
                )));
            };
            if !attribute.kind.is_type_of(value) {
                return Err(ApiError::invalid_parameter(format_args!(
                    "Type mismatch for key {} expected: {} actual: {}",
                    attribute.name,
                    attribute.kind.name(),
                    value.type_name()
                )));
            }
        }
        self.check_values(item)
    }

    /// Returns an error for values that are empty or too long for a key.
    fn check_values(&self, item: &Item) -> Result<()> {
        for attribute in self.attributes() {
            let Some(value) = item.get(&attribute.name) else {
                continue;
            };
            if is_empty(value) {
                return Err(attribute.empty());
            }
            self.check_size(attribute, value)?;
        }
        Ok(())
    }

    fn check_size(&self, attribute: &KeyAttribute, value: &Value) -> Result<()> {
        let is_hash = *attribute == self.hash;
        if is_hash && value.size() > MAX_HASH_BYTES {
            return Err(ApiError::invalid_parameter(format_args!(
                "Size of hashkey has exceeded the maximum size limit of{MAX_HASH_BYTES} bytes"
            )));
        }
        if !is_hash && value.size() > MAX_RANGE_BYTES {
            return Err(ApiError::invalid_parameter(format_args!(
                "Aggregated size of all range keys has exceeded the size limit of \
                 {MAX_RANGE_BYTES} bytes"
            )));
        }
        Ok(())
    }

    /// Returns an error for an item whose attributes this index cannot contain. An item without them is not in
    /// the index.
    pub(crate) fn check_for_index(&self, index: &str, item: &Item) -> Result<()> {
        for attribute in self.attributes() {
            let Some(value) = item.get(&attribute.name) else {
                continue;
            };
            if !attribute.kind.is_type_of(value) {
                return Err(ApiError::invalid_parameter(format_args!(
                    "Type mismatch for Index Key {} Expected: {} Actual: {} IndexName: {index}",
                    attribute.name,
                    attribute.kind.name(),
                    value.type_name()
                )));
            }
            if is_empty(value) {
                return Err(ApiError::validation(format!(
                    "One or more parameter values are not valid. A value specified for a secondary \
                     index key is not supported. The AttributeValue for a key attribute cannot \
                     contain an empty {} value. IndexName: {index}, IndexKey: {}",
                    attribute.kind.long_name(),
                    attribute.name
                )));
            }
            self.check_size(attribute, value)?;
        }
        Ok(())
    }

    /// Returns whether an item can be in an index with this key.
    pub(crate) fn is_held_by(&self, item: &Item) -> bool {
        self.attributes().all(|attribute| {
            item.get(&attribute.name)
                .is_some_and(|value| attribute.kind.is_type_of(value) && !is_empty(value))
        })
    }

    /// Returns the key attributes of an item.
    pub(crate) fn of(&self, item: &Item) -> Item {
        item.only(|name| self.contains(name))
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::S(text) => text.is_empty(),
        Value::B(bytes) => bytes.is_empty(),
        _ => false,
    }
}

/// The attributes that an index contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IndexProjection {
    All,
    KeysOnly,
    Include(Vec<String>),
}

/// A global secondary index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) name: String,
    /// Names its keyspace in the store.
    pub(crate) id: u64,
    pub(crate) key: KeySchema,
    pub(crate) projection: IndexProjection,
    /// Whether it has entries for all items. Until then it is updated, but cannot be read.
    pub(crate) is_active: bool,
}

impl Index {
    /// Returns whether the index contains this attribute. `table_key` is the table's key.
    pub(crate) fn holds(&self, name: &str, table_key: &KeySchema) -> bool {
        let by_projection = match &self.projection {
            IndexProjection::All => true,
            IndexProjection::KeysOnly => false,
            IndexProjection::Include(names) => names.iter().any(|one| one == name),
        };
        by_projection || self.key.contains(name) || table_key.contains(name)
    }

    /// Returns the item as the index contains it.
    pub(crate) fn project(&self, item: &Item, table_key: &KeySchema) -> Item {
        item.only(|name| self.holds(name, table_key))
    }

    /// Returns the size of the item as the index contains it, in bytes.
    pub(crate) fn projected_size(&self, item: &Item, table_key: &KeySchema) -> usize {
        if self.projection == IndexProjection::All {
            return item.size();
        }
        item.iter()
            .filter(|(name, _)| self.holds(name, table_key))
            .map(|(name, value)| name.len() + value.size())
            .sum()
    }
}

/// A table, as the store's catalogue contains it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schema {
    pub(crate) name: String,
    /// Names its keyspace in the store.
    pub(crate) id: u64,
    pub(crate) table_id: String,
    /// Seconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) key: KeySchema,
    pub(crate) indexes: Vec<Index>,
    /// The attribute with the time to live.
    pub(crate) ttl_attribute: Option<String>,
    pub(crate) billing: Billing,
    pub(crate) deletion_protection: bool,
}

/// The billing mode of a table; nothing is throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Billing {
    PayPerRequest,
    Provisioned { read: u64, write: u64 },
}

impl Schema {
    pub(crate) fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == name)
    }
}
