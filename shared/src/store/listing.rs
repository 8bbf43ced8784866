//! The list of a table's records, newest first. The index `newest-index` has one partition, sorted by the record's id, a
//! ULID, and projects keys only; the records themselves are then read by their keys.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::StoreError;
use super::item::{Item, text};

/// The index that lists records by creation.
const NEWEST_INDEX: &str = "newest-index";

/// The maximum number of keys of one BatchGetItem (an AWS limit), and so the longest page of a list.
pub const MAX_PAGE: usize = 100;

/// The maximum number of pages of all records that are read for one page of the visible ones.
const MAX_PAGES: usize = 10;

/// The wait before unprocessed keys are requested again.
const UNPROCESSED_WAIT: Duration = Duration::from_millis(50);

/// A table whose records can be listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing<'a> {
    pub(super) client: &'a Client,
    pub(super) table: &'a str,
    /// The table's partition key.
    pub(super) key: &'static str,
    /// The partition of the index.
    pub(super) partition: &'static str,
    /// The names of the requests in errors: of the index, and of the records.
    pub(super) query: &'static str,
    pub(super) get: &'static str,
}

/// A record of a list.
pub(super) trait Listed: Sized {
    /// Returns its id.
    fn id(&self) -> &str;

    /// Reads it.
    fn read(operation: &'static str, item: Item) -> Result<Self, StoreError>;
}

impl Listing<'_> {
    /// Returns visible records older than `before` (or all), newest first, and the position of the next page, if there is
    /// one. `limit` is at most [`MAX_PAGE`]. If many records are not visible, a page may be shorter, even empty, and still
    /// have a next page.
    pub(super) async fn newest<T: Listed>(
        &self,
        is_visible: impl Fn(&T) -> bool,
        limit: usize,
        before: Option<&str>,
    ) -> Result<(Vec<T>, Option<String>), StoreError> {
        let limit = limit.min(MAX_PAGE);
        let mut found: Vec<T> = Vec::new();
        let mut at = before.map(str::to_owned);
        for _ in 0..MAX_PAGES {
            let (records, next): (Vec<T>, _) = self.page(limit, at.as_deref()).await?;
            found.extend(records.into_iter().filter(&is_visible));
            if found.len() > limit {
                found.truncate(limit);
                at = found.last().map(|record| record.id().to_owned());
                break;
            }
            at = next;
            if found.len() == limit || at.is_none() {
                break;
            }
        }
        Ok((found, at))
    }

    /// Returns a page of all records, like [`Listing::newest`].
    async fn page<T: Listed>(
        &self,
        limit: usize,
        before: Option<&str>,
    ) -> Result<(Vec<T>, Option<String>), StoreError> {
        let start = before.map(|id| {
            Item::from([
                ("listing".to_owned(), text(self.partition)),
                (self.key.to_owned(), text(id)),
            ])
        });
        let answer = self
            .client
            .query()
            .table_name(self.table)
            .index_name(NEWEST_INDEX)
            .key_condition_expression("listing = :all")
            .expression_attribute_values(":all", text(self.partition))
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| StoreError::sdk(self.query, error))?;
        let mut ids: Vec<String> = Vec::new();
        for mut key in answer.items.unwrap_or_default() {
            if let Some(AttributeValue::S(id)) = key.remove(self.key) {
                ids.push(id);
            }
        }
        let has_more = ids.len() > limit;
        ids.truncate(limit);
        let keys = ids.iter().map(|id| text(id)).collect();
        let items = self.items(self.get, keys, false).await?;
        let records = items.into_iter().map(|item| T::read(self.get, item));
        let mut records = records.collect::<Result<Vec<T>, _>>()?;
        records.sort_by(|a, b| b.id().cmp(a.id()));
        // A record that DynamoDB has just deleted may still be in the index, so the next page begins
        // after the last id, not after the last record found.
        Ok((records, ids.pop().filter(|_| has_more)))
    }

    /// Returns the items that exist among these keys, at most [`MAX_PAGE`].
    pub(super) async fn items(
        &self,
        operation: &'static str,
        keys: Vec<AttributeValue>,
        is_consistent: bool,
    ) -> Result<Vec<Item>, StoreError> {
        let mut keys: Vec<Item> = keys
            .into_iter()
            .map(|key| Item::from([(self.key.to_owned(), key)]))
            .collect();
        let mut items = Vec::with_capacity(keys.len());
        while !keys.is_empty() {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut keys)))
                .consistent_read(is_consistent)
                .build()
                .map_err(|error| StoreError::unreadable(operation, error))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(self.table, request)
                .send()
                .await
                .map_err(|error| StoreError::sdk(operation, error))?;
            let found = answer
                .responses
                .and_then(|mut tables| tables.remove(self.table));
            items.extend(found.unwrap_or_default());
            if let Some(unprocessed) = answer
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(self.table))
            {
                keys = unprocessed.keys;
                tokio::time::sleep(UNPROCESSED_WAIT).await;
            }
        }
        Ok(items)
    }
}
