//! The state that the calls on one open folder share.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use crate::error::{ApiError, Kind, Result};
use crate::partiql::Statements;
use crate::schema::Schema;
use crate::storage::{KeyLocks, Store};
use crate::table::Table;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) tables: RwLock<BTreeMap<String, Arc<Table>>>,
    pub(crate) locks: KeyLocks,
    /// Locked while the catalogue changes.
    pub(crate) catalogue: Mutex<()>,
    pub(crate) statements: Statements,
    pub(crate) next_id: AtomicU64,
    /// Tokens of transactions: a hash of the request, and its time.
    pub(crate) tokens: Mutex<HashMap<String, (u64, Instant)>>,
}

impl Shared {
    /// Returns the table with this name.
    pub(crate) fn table(&self, name: &str) -> Result<Arc<Table>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables
            .get(name)
            .cloned()
            .ok_or_else(ApiError::no_such_table)
    }

    /// Returns a number for a new keyspace.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes a table's entry in the catalogue.
    pub(crate) fn save(&self, schema: &Schema) -> Result<()> {
        let text = serde_json::to_vec(schema)
            .map_err(|error| ApiError::new(Kind::Internal, error.to_string()))?;
        let mut batch = self.store.batch();
        batch.insert(self.store.catalogue(), schema.name.as_bytes(), text);
        Ok(batch.commit()?)
    }
}
