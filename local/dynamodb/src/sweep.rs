//! Time to live: deletes expired items.

use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;
use crate::shared::Shared;
use crate::table::{Decision, Section, Table, Target, decoded};
use crate::value::{Item, Value};

/// The number of expired items that are deleted in one step.
const STEP: usize = 100;
/// Items that expired longer ago than this are kept, as AWS does: five years.
const TOO_OLD_SECONDS: i64 = 5 * 365 * 24 * 3600;

/// Deletes expired items of all tables, and returns their number.
pub(crate) fn sweep(shared: &Shared, now: SystemTime) -> Result<usize> {
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let tables: Vec<Arc<Table>> = {
        let tables = shared.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.values().cloned().collect()
    };
    let mut deleted = 0;
    for table in tables {
        let layout = table.layout();
        let Some(attribute) = layout.schema.ttl_attribute.as_deref() else {
            continue;
        };
        let mut expired = Vec::new();
        for entry in layout.items.iter() {
            let (key, bytes) = entry.into_inner()?;
            if is_expired(&decoded(&bytes)?, attribute, now) {
                expired.push(Target {
                    table: Arc::clone(&table),
                    key: key.to_vec(),
                });
            }
            if expired.len() == STEP {
                deleted += delete(shared, &expired, attribute, now)?;
                expired.clear();
            }
        }
        deleted += delete(shared, &expired, attribute, now)?;
    }
    Ok(deleted)
}

fn is_expired(item: &Item, attribute: &str, now: i64) -> bool {
    match item.get(attribute) {
        Some(Value::N(time)) => time
            .to_i64()
            .is_some_and(|time| time < now && time > now - TOO_OLD_SECONDS),
        _ => false,
    }
}

fn delete(shared: &Shared, targets: &[Target], attribute: &str, now: i64) -> Result<usize> {
    if targets.is_empty() {
        return Ok(0);
    }
    let mut section = Section::enter(&shared.store, &shared.locks, targets)?;
    let mut deleted = 0;
    for number in 0..targets.len() {
        // Read again under the lock, because its time to live may have been extended.
        let before = section.read(number)?;
        if before
            .as_ref()
            .is_some_and(|item| is_expired(item, attribute, now))
        {
            section.write(number, before, Decision::Delete);
            deleted += 1;
        }
    }
    section.commit()?;
    Ok(deleted)
}
