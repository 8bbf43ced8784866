//! The embedded store: one keyspace for each table and each index, and one for the catalogue.

use std::path::Path;
use std::time::Duration;

use fjall::config::FilterPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use crate::blocking::blocking;

/// Bytes of blocks that are kept in memory for reading.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes that a keyspace collects in memory before it writes a sorted file.
const MEMTABLE_BYTES: u64 = 6 * 1024 * 1024;
/// The maximum number of full memtables of a keyspace that are not in files yet. Beyond it, writers
/// wait: the store itself has no such bound.
const MAX_FULL_MEMTABLES: usize = 2;
/// The interval and the maximum number of a waiting writer's polls: a store that
/// no longer writes files refuses the commit.
const MEMTABLE_POLL: Duration = Duration::from_millis(1);
const MAX_POLLS: u32 = 10_000;
/// Bytes of the journal, which is replayed when the folder is opened; the minimum that the
/// store allows.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
/// Threads that write and merge files.
const WORKERS: usize = 2;

const CATALOGUE: &str = "catalogue";

/// An open folder. Clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
    catalogue: Keyspace,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    pub(crate) fn open(folder: &Path) -> fjall::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(WORKERS)
            .open()?;
        let catalogue = database.keyspace(CATALOGUE, options)?;
        Ok(Self {
            database,
            catalogue,
        })
    }

    /// Returns the keyspace with this number, and creates it if it does not exist.
    pub(crate) fn keyspace(&self, id: u64) -> fjall::Result<Keyspace> {
        self.database.keyspace(&format!("k{id}"), options)
    }

    /// Returns the keyspace of an index with this number, and creates it if it does not exist. Its entries are found by
    /// ranges only, so it has no filters for single keys.
    pub(crate) fn index_keyspace(&self, id: u64) -> fjall::Result<Keyspace> {
        self.database.keyspace(&format!("k{id}"), || {
            options().filter_policy(FilterPolicy::disabled())
        })
    }

    /// Deletes a keyspace with its content.
    pub(crate) fn delete(&self, keyspace: Keyspace) -> fjall::Result<()> {
        self.database.delete_keyspace(keyspace)
    }

    /// Deletes keyspaces that are not in the catalogue, and returns the highest number.
    pub(crate) fn clean_up(&self, known: &[u64]) -> fjall::Result<u64> {
        let mut highest = 0;
        for name in self.database.list_keyspace_names() {
            let Some(id) = name.strip_prefix('k').and_then(|id| id.parse().ok()) else {
                continue;
            };
            highest = highest.max(id);
            if !known.contains(&id) {
                self.delete(self.keyspace(id)?)?;
            }
        }
        Ok(highest)
    }

    /// Creates a batch of writes, which is committed atomically.
    pub(crate) fn batch(&self) -> Batch {
        Batch {
            writes: self.database.batch(),
            keyspaces: Vec::with_capacity(4),
        }
    }

    /// Returns a snapshot of all keyspaces.
    pub(crate) fn snapshot(&self) -> fjall::Snapshot {
        self.database.snapshot()
    }

    /// Returns the catalogue: JSON texts by table name.
    pub(crate) fn catalogue(&self) -> &Keyspace {
        &self.catalogue
    }
}

/// Writes that are committed atomically.
pub(crate) struct Batch {
    writes: fjall::OwnedWriteBatch,
    /// The keyspaces that are written, without duplicates.
    keyspaces: Vec<Keyspace>,
}

impl Batch {
    pub(crate) fn insert(
        &mut self,
        keyspace: &Keyspace,
        key: impl Into<fjall::UserKey>,
        value: impl Into<fjall::UserValue>,
    ) {
        self.note(keyspace);
        self.writes.insert(keyspace, key, value);
    }

    pub(crate) fn remove(&mut self, keyspace: &Keyspace, key: impl Into<fjall::UserKey>) {
        self.note(keyspace);
        self.writes.remove(keyspace, key);
    }

    fn note(&mut self, keyspace: &Keyspace) {
        if !self
            .keyspaces
            .iter()
            .any(|noted| noted.id() == keyspace.id())
        {
            self.keyspaces.push(keyspace.clone());
        }
    }

    /// Commits: when this returns, the kernel has the data.
    pub(crate) fn commit(self) -> fjall::Result<()> {
        let is_full = |keyspace: &Keyspace| keyspace.sealed_memtable_count() > MAX_FULL_MEMTABLES;
        if self.keyspaces.iter().any(is_full) {
            blocking(|| {
                for _ in 0..MAX_POLLS {
                    std::thread::sleep(MEMTABLE_POLL);
                    if !self.keyspaces.iter().any(is_full) {
                        break;
                    }
                }
            });
        }
        self.writes.commit()
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
}
