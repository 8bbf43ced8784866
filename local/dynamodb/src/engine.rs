//! The engine: tables in a folder, and calls on them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use thiserror::Error;

use crate::operation;
use crate::partiql::Statements;
use crate::schema::Schema;
use crate::shared::Shared;
use crate::storage::{KeyLocks, Store};
use crate::table::{Layout, Table};

/// A folder cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store cannot be opened: the folder is not usable, another process uses it, or its
    /// files are damaged.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] fjall::Error),
    /// An entry of the catalogue of tables is unreadable.
    #[error("the catalogue entry of table {table} cannot be read: {reason}")]
    Catalogue {
        /// The table.
        table: String,
        /// The reason.
        reason: String,
    },
    /// An index whose filling was interrupted cannot be finished.
    #[error("an index cannot be filled: {0}")]
    Index(String),
}

/// A response: an HTTP status and a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status: 200, or 400 or 500 with an error in the body.
    pub status: u16,
    /// The JSON body.
    pub body: Vec<u8>,
}

/// An open folder of tables. Clones share it, and dropping the last clone closes it.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

impl Engine {
    /// Opens a folder, and creates it if it does not exist. Fills indexes that were being added
    /// when the folder was last open.
    ///
    /// # Errors
    /// Returns [`OpenError`]. Only one process can have a folder open at a time.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        let store = Store::open(folder.as_ref())?;
        let mut schemas = Vec::new();
        for entry in store.catalogue().iter() {
            let (name, text) = entry.into_inner()?;
            let schema: Schema =
                serde_json::from_slice(&text).map_err(|error| OpenError::Catalogue {
                    table: String::from_utf8_lossy(&name).into_owned(),
                    reason: error.to_string(),
                })?;
            schemas.push(schema);
        }
        let known: Vec<u64> = schemas
            .iter()
            .flat_map(|schema| {
                std::iter::once(schema.id).chain(schema.indexes.iter().map(|index| index.id))
            })
            .collect();
        let highest = store.clean_up(&known)?;
        let mut tables = BTreeMap::new();
        for schema in schemas {
            let name = schema.name.clone();
            let layout = Layout::open(&store, schema)
                .map_err(|error| OpenError::Index(error.to_string()))?;
            tables.insert(name, Arc::new(Table::new(layout)));
        }
        let next = known.iter().copied().max().unwrap_or(0).max(highest) + 1;
        let engine = Self {
            shared: Arc::new(Shared {
                store,
                tables: RwLock::new(tables),
                locks: KeyLocks::default(),
                catalogue: Mutex::default(),
                statements: Statements::default(),
                next_id: AtomicU64::new(next),
                tokens: Mutex::default(),
            }),
        };
        operation::fill_unfinished_indexes(&engine.shared)
            .map_err(|error| OpenError::Index(error.to_string()))?;
        Ok(engine)
    }

    /// Executes an operation (`PutItem`, …) with a JSON body, and responds as DynamoDB does.
    /// It blocks while other requests write the same items, so call it from a
    /// thread that may block.
    #[must_use]
    pub fn call(&self, operation: &str, body: &[u8]) -> Response {
        match operation::call(&self.shared, operation, body) {
            Ok(body) => Response { status: 200, body },
            Err(error) => Response {
                status: error.status(),
                body: error.body(),
            },
        }
    }

    /// Deletes items whose time to live has expired at `now`, and returns their number.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read or written.
    pub fn sweep_expired(&self, now: SystemTime) -> std::result::Result<usize, SweepError> {
        crate::sweep::sweep(&self.shared, now).map_err(|error| SweepError(error.to_string()))
    }
}

/// Expired items cannot be deleted.
#[derive(Debug, Error)]
#[error("expired items cannot be deleted: {0}")]
pub struct SweepError(String);
