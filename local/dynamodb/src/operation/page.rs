//! Reading items in order: the pages of Query and Scan.

use std::ops::Bound;

use fjall::Readable;

use crate::capacity::{Consumed, Units};
use crate::error::{ApiError, Result};
use crate::expression::ast::Condition;
use crate::expression::{Projection, evaluate};
use crate::schema::Index;
use crate::storage::{KeyRange, entry_key, item_key, item_key_of_entry};
use crate::table::{Layout, corrupt, decoded};
use crate::value::{Item, Value};

/// The maximum number of bytes of items on a page (an AWS limit).
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// What a page is read from.
pub(super) struct Source<'a> {
    pub(super) layout: &'a Layout,
    /// The index; `None` for the table.
    pub(super) index: Option<(&'a Index, &'a fjall::Keyspace)>,
}

/// How items are filtered and returned.
pub(super) struct Reading<'a> {
    pub(super) range: KeyRange,
    pub(super) is_forward: bool,
    pub(super) start: Option<Vec<u8>>,
    pub(super) limit: Option<usize>,
    pub(super) filter: Option<&'a Condition>,
    pub(super) values: &'a [Value],
    pub(super) projection: Option<&'a Projection>,
    pub(super) only_count: bool,
    pub(super) is_consistent: bool,
}

/// A page.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    pub(super) count: usize,
    pub(super) scanned: usize,
    /// The key of the last item, if there may be more.
    pub(super) last: Option<Item>,
    pub(super) consumed: Consumed,
}

impl Source<'_> {
    /// Returns the stored key of `ExclusiveStartKey`.
    pub(super) fn start_key(&self, start: &Item) -> Result<Vec<u8>> {
        let invalid = |_| ApiError::validation("The provided starting key is invalid");
        let table_key = &self.layout.schema.key;
        table_key.check_key(&table_key.of(start)).map_err(invalid)?;
        let key = item_key(table_key, start);
        let Some((index, _)) = self.index else {
            table_key.check_key(start).map_err(invalid)?;
            return Ok(key);
        };
        index.key.check_key(&index.key.of(start)).map_err(invalid)?;
        if start
            .iter()
            .any(|(name, _)| !table_key.contains(name) && !index.key.contains(name))
        {
            return Err(ApiError::validation("The provided starting key is invalid"));
        }
        Ok(entry_key(&index.key, start, &key))
    }

    /// Returns the key of an item for `LastEvaluatedKey`.
    fn last_key(&self, item: &Item) -> Item {
        let table_key = &self.layout.schema.key;
        item.only(|name| {
            table_key.contains(name)
                || self
                    .index
                    .is_some_and(|(index, _)| index.key.contains(name))
        })
    }

    pub(super) fn read(
        &self,
        store: &crate::storage::Store,
        reading: &Reading<'_>,
    ) -> Result<Page> {
        let snapshot = store.snapshot();
        let keyspace = self
            .index
            .map_or(&self.layout.items, |(_, entries)| entries);
        let mut page = Page::default();
        let mut bytes = 0;
        let mut last = None;
        let mut has_more = false;
        if let Some(range) = reading.bounds() {
            let mut entries = snapshot.range(keyspace, range);
            loop {
                let next = if reading.is_forward {
                    entries.next()
                } else {
                    entries.next_back()
                };
                let Some(entry) = next else {
                    break;
                };
                let item = match self.index {
                    None => decoded(&entry.value()?)?,
                    Some((index, _)) => {
                        let entry = entry.key()?;
                        let key = item_key_of_entry(&index.key, &entry)
                            .ok_or_else(|| corrupt("an index entry"))?;
                        let item = snapshot.get(&self.layout.items, key)?;
                        decoded(&item.ok_or_else(|| corrupt("an index entry without its item"))?)?
                    }
                };
                let size = match self.index {
                    None => item.size(),
                    Some((index, _)) => index.projected_size(&item, &self.layout.schema.key),
                };
                if page.scanned > 0 && bytes + size > MAX_PAGE_BYTES {
                    has_more = true;
                    break;
                }
                bytes += size;
                page.scanned += 1;
                last = Some(self.last_key(&item));
                let item = match self.index {
                    Some((index, _)) => index.project(&item, &self.layout.schema.key),
                    None => item,
                };
                reading.take(item, &mut page);
                if reading.limit == Some(page.scanned) {
                    has_more = true;
                    break;
                }
            }
        }
        page.last = last.filter(|_| has_more);
        let units = Units::of_read(bytes, reading.is_consistent);
        match self.index {
            None => page.consumed.table = units,
            Some((index, _)) => page.consumed.add_index(&index.name, units),
        }
        Ok(page)
    }
}

impl Reading<'_> {
    /// Returns the range after the start key; `None` if it is empty.
    fn bounds(&self) -> Option<KeyRange> {
        let (mut low, mut high) = self.range.clone();
        if let Some(start) = &self.start {
            let is_before = |bound: &Bound<Vec<u8>>| match bound {
                Bound::Included(key) => start < key,
                Bound::Excluded(key) => start <= key,
                Bound::Unbounded => false,
            };
            let is_after = |bound: &Bound<Vec<u8>>| match bound {
                Bound::Included(key) => start > key,
                Bound::Excluded(key) => start >= key,
                Bound::Unbounded => false,
            };
            if self.is_forward {
                if !is_before(&low) {
                    low = Bound::Excluded(start.clone());
                }
            } else if !is_after(&high) {
                high = Bound::Excluded(start.clone());
            }
        }
        let is_empty = match (&low, &high) {
            (Bound::Included(low), Bound::Included(high)) => low > high,
            (
                Bound::Included(low) | Bound::Excluded(low),
                Bound::Included(high) | Bound::Excluded(high),
            ) => low >= high,
            _ => false,
        };
        (!is_empty).then_some((low, high))
    }

    fn take(&self, item: Item, page: &mut Page) {
        if self
            .filter
            .is_some_and(|filter| !evaluate(filter, &item, self.values))
        {
            return;
        }
        page.count += 1;
        if !self.only_count {
            page.items
                .push(super::item::projected(item, self.projection));
        }
    }
}
