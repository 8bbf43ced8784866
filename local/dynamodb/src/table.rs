//! One table: its schema, its keyspaces, and the writing of its items.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use fjall::Keyspace;

use crate::capacity::{Consumed, Units, index_write, table_write};
use crate::error::{ApiError, Kind, Result};
use crate::schema::{Index, Schema};
use crate::storage::{Batch, KeyLocks, Store, decode, encode, entry_key, item_key};
use crate::value::{Item, MAX_DEPTH};

/// The maximum number of bytes of an item (an AWS limit).
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// A table's schema with the keyspaces that belong to it. Replaced as a whole when the table
/// changes.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) schema: Schema,
    pub(crate) items: Keyspace,
    /// By the index's number.
    pub(crate) entries: HashMap<u64, Keyspace>,
    pub(crate) is_deleted: bool,
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layout")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Layout {
    pub(crate) fn open(store: &Store, schema: Schema) -> Result<Self> {
        let mut entries = HashMap::new();
        for index in &schema.indexes {
            entries.insert(index.id, store.index_keyspace(index.id)?);
        }
        Ok(Self {
            items: store.keyspace(schema.id)?,
            entries,
            schema,
            is_deleted: false,
        })
    }

    /// Returns an index that can be read.
    pub(crate) fn index(&self, name: &str) -> Result<(&Index, &Keyspace)> {
        let index = self.schema.index(name).ok_or_else(|| {
            ApiError::validation(format!(
                "The table does not have the specified index: {name}"
            ))
        })?;
        if !index.is_active {
            return Err(ApiError::validation(format!(
                "Cannot read from backfilling global secondary index: {name}"
            )));
        }
        let entries = self
            .entries
            .get(&index.id)
            .ok_or_else(|| corrupt("an index"))?;
        Ok((index, entries))
    }

    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Item>> {
        self.items
            .get(key)?
            .map(|bytes| decoded(&bytes))
            .transpose()
    }

    /// Returns an error for an item that the table cannot contain.
    pub(crate) fn check_item(&self, item: &Item) -> Result<()> {
        self.schema.key.check_item(item)?;
        self.check_attributes(item, "Item size has exceeded the maximum allowed size")
    }

    /// Checks everything except the key.
    pub(crate) fn check_attributes(&self, item: &Item, too_large: &str) -> Result<()> {
        for index in &self.schema.indexes {
            index.key.check_for_index(&index.name, item)?;
        }
        if item.values().any(|value| value.depth() > MAX_DEPTH) {
            return Err(ApiError::validation(
                "Nesting Levels have exceeded supported limits: Attributes in the item have nested \
                 levels beyond supported limit",
            ));
        }
        if item.size() > MAX_ITEM_BYTES {
            return Err(ApiError::validation(too_large));
        }
        Ok(())
    }
}

/// Decodes an item from the store.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Item> {
    decode(bytes).ok_or_else(|| corrupt("an item"))
}

pub(crate) fn corrupt(what: &str) -> ApiError {
    tracing::error!(what, "the store contains unreadable data");
    ApiError::new(Kind::Internal, "Internal server error")
}

/// A table that requests share.
#[derive(Debug)]
pub(crate) struct Table {
    layout: RwLock<Arc<Layout>>,
    /// Writers share it from reading the layout to the commit; a change of the
    /// layout locks it exclusively, so that no write uses the old layout afterwards.
    writers: RwLock<()>,
}

impl Table {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout: RwLock::new(Arc::new(layout)),
            writers: RwLock::default(),
        }
    }

    pub(crate) fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the layout once no writer uses the old one.
    pub(crate) fn replace(&self, layout: Layout) {
        let alone = self.writers.write().unwrap_or_else(PoisonError::into_inner);
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(layout);
        drop(alone);
    }
}

/// The decision of a request about an item that it has read.
#[derive(Debug)]
pub(crate) enum Decision {
    Keep,
    Put(Item),
    Delete,
}

/// An item that a request may write.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) table: Arc<Table>,
    /// The item, or its key.
    pub(crate) key: Vec<u8>,
}

impl Target {
    /// Creates a target for the item with this key, which was checked.
    pub(crate) fn new(table: &Arc<Table>, layout: &Layout, key: &Item) -> Self {
        Self {
            table: Arc::clone(table),
            key: item_key(&layout.schema.key, key),
        }
    }
}

/// The result of a write of an item.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) before: Option<Item>,
    pub(crate) after: Option<Item>,
    pub(crate) consumed: Consumed,
}

/// Items that are locked for writing, until this is dropped.
pub(crate) struct Section<'a> {
    batch: Batch,
    _held: crate::storage::HeldKeys<'a>,
    layouts: Vec<Arc<Layout>>,
    _writers: Vec<RwLockReadGuard<'a, ()>>,
    targets: &'a [Target],
}

impl<'a> Section<'a> {
    /// Waits for the locks of these items. No item may occur twice.
    pub(crate) fn enter(
        store: &'a Store,
        locks: &'a KeyLocks,
        targets: &'a [Target],
    ) -> Result<Self> {
        let keys = targets.iter().map(|target| {
            let table = Arc::as_ptr(&target.table) as usize as u64;
            (table, target.key.as_slice())
        });
        let held = locks.hold(keys);
        // Each table's lock is taken once: a reader that waits behind a writer must not hold it already.
        let mut writers: Vec<RwLockReadGuard<'_, ()>> = Vec::with_capacity(1);
        let mut entered: Vec<&Arc<Table>> = Vec::with_capacity(1);
        for target in targets {
            if !entered
                .iter()
                .any(|table| Arc::ptr_eq(table, &target.table))
            {
                writers.push(
                    target
                        .table
                        .writers
                        .read()
                        .unwrap_or_else(PoisonError::into_inner),
                );
                entered.push(&target.table);
            }
        }
        let layouts: Vec<Arc<Layout>> =
            targets.iter().map(|target| target.table.layout()).collect();
        if layouts.iter().any(|layout| layout.is_deleted) {
            return Err(ApiError::no_such_table());
        }
        Ok(Self {
            batch: store.batch(),
            _held: held,
            layouts,
            _writers: writers,
            targets,
        })
    }

    /// Returns the layout of the table of the item with this number.
    pub(crate) fn layout(&self, number: usize) -> &Layout {
        &self.layouts[number]
    }

    /// Checks an item again if the table has changed since `checked`.
    pub(crate) fn check_again(&self, number: usize, checked: &Layout, item: &Item) -> Result<()> {
        let layout = self.layout(number);
        if std::ptr::eq(layout, checked) {
            return Ok(());
        }
        if layout.schema.id != checked.schema.id {
            return Err(ApiError::no_such_table());
        }
        layout.check_item(item)
    }

    pub(crate) fn read(&self, number: usize) -> Result<Option<Item>> {
        self.layouts[number].read(&self.targets[number].key)
    }

    /// Adds the decision about an item, which was checked, and its cost.
    pub(crate) fn write(
        &mut self,
        number: usize,
        before: Option<Item>,
        decision: Decision,
    ) -> Written {
        let layout = &self.layouts[number];
        let key = &self.targets[number].key;
        let after = match decision {
            Decision::Keep => {
                let size = before.as_ref().map(Item::size);
                return Written {
                    consumed: Consumed {
                        table: table_write(size, None),
                        ..Consumed::default()
                    },
                    after: before.clone(),
                    before,
                };
            }
            Decision::Put(item) => {
                self.batch
                    .insert(&layout.items, key.as_slice(), encode(&item));
                Some(item)
            }
            Decision::Delete => {
                if before.is_some() {
                    self.batch.remove(&layout.items, key.as_slice());
                }
                None
            }
        };
        let mut consumed = Consumed {
            table: table_write(
                before.as_ref().map(Item::size),
                after.as_ref().map(Item::size),
            ),
            ..Consumed::default()
        };
        for index in &layout.schema.indexes {
            let Some(entries) = layout.entries.get(&index.id) else {
                continue;
            };
            let entry = |item: Option<&Item>| {
                let item = item.filter(|item| index.key.is_held_by(item))?;
                Some(entry_key(&index.key, item, key))
            };
            let (old, new) = (entry(before.as_ref()), entry(after.as_ref()));
            if old != new {
                if let Some(old) = old {
                    self.batch.remove(entries, old);
                }
                if let Some(new) = new {
                    self.batch.insert(entries, new, &[][..]);
                }
            }
            let units: Option<Units> =
                index_write(index, &layout.schema.key, before.as_ref(), after.as_ref());
            if let Some(units) = units {
                consumed.add_index(&index.name, units);
            }
        }
        Written {
            before,
            after,
            consumed,
        }
    }

    /// Commits all decisions atomically.
    pub(crate) fn commit(self) -> Result<()> {
        Ok(self.batch.commit()?)
    }
}
