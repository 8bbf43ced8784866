//! A queue that behaves like SQS: a message is delivered at least once; a delivered message is
//! invisible for the visibility timeout and is delivered again unless it is deleted; after too many
//! deliveries it moves to the dead-letter queue.
//!
//! A message is on disk before `send` returns, and its receive count before it is delivered, so
//! both survive a killed process (not a power failure: nothing is fsynced). At the start, every
//! message in flight is visible again. Messages are delivered in the order of sending as far as
//! possible, as a standard queue does.

pub(crate) mod poller;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use ulid::Ulid;

use crate::clock::{Clock, millis};
use crate::template;
use store::{Record, Store};

/// A message could not be stored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The data folder cannot be used.
    #[error("the queue's file {path} cannot be used")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file in the queue's folder is not a message.
    #[error("the queue's file {path} is not a message")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A dead-letter queue is its own dead-letter queue, directly or through others.
    #[error("the dead-letter queues of {0} form a circle")]
    Circle(String),
}

/// A delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The message id.
    pub(crate) id: String,
    /// The receipt handle of this delivery; deleting requires the latest.
    pub(crate) receipt: String,
    /// The body.
    pub(crate) body: String,
    /// When it was sent, in milliseconds since 1970.
    pub(crate) sent: u64,
    /// When it was first delivered, in milliseconds since 1970.
    pub(crate) first_received: u64,
    /// The number of deliveries, including this one.
    pub(crate) receive_count: u32,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    settings: template::Queue,
    dead_letters: Option<Arc<Queue>>,
    store: Store,
    clock: Clock,
    messages: Mutex<BTreeMap<String, Entry>>,
    changed: Notify,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    /// When it becomes visible, in milliseconds since 1970.
    visible: u64,
    /// The latest receipt handle.
    receipt: Option<String>,
}

impl Queue {
    /// Opens a queue with the messages in `folder`; without a folder it is in memory
    /// only.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub(crate) fn open(
        settings: template::Queue,
        dead_letters: Option<Arc<Self>>,
        folder: Option<&Path>,
        clock: Clock,
    ) -> Result<Self, QueueError> {
        let store = Store::open(folder)?;
        let messages = store.load()?.into_iter().map(|record| {
            let entry = Entry {
                record,
                visible: 0,
                receipt: None,
            };
            (entry.record.id.clone(), entry)
        });
        Ok(Self {
            settings,
            dead_letters,
            messages: Mutex::new(messages.collect()),
            store,
            clock,
            changed: Notify::new(),
        })
    }

    /// Returns its settings.
    pub(crate) fn settings(&self) -> &template::Queue {
        &self.settings
    }

    /// Stores a message. It is durable when this returns.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub(crate) fn send(&self, body: String) -> Result<(), QueueError> {
        self.keep(Record {
            id: Ulid::generate().to_string(),
            body,
            sent: self.clock.now(),
            first_received: None,
            receive_count: 0,
        })
    }

    fn keep(&self, record: Record) -> Result<(), QueueError> {
        self.store.save(&record)?;
        let entry = Entry {
            visible: self.clock.now(),
            receipt: None,
            record,
        };
        self.lock().insert(entry.record.id.clone(), entry);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Delivers up to `max` visible messages.
    ///
    /// # Errors
    /// Returns an error if a receive count cannot be written; messages delivered before that become
    /// visible again after their timeout.
    pub(crate) fn receive(&self, max: usize) -> Result<Vec<Message>, QueueError> {
        let now = self.clock.now();
        let mut messages = self.lock();
        let oldest = now.saturating_sub(millis(self.settings.retention));
        let visible: Vec<String> = messages
            .values()
            .filter(|entry| entry.visible <= now)
            .map(|entry| entry.record.id.clone())
            .collect();
        let mut handed_out = Vec::new();
        for id in visible {
            if handed_out.len() == max {
                break;
            }
            let Some(entry) = messages.get_mut(&id) else {
                continue;
            };
            if entry.record.sent < oldest {
                self.store.delete(&id)?;
                messages.remove(&id);
                continue;
            }
            if self.is_dead(&entry.record) {
                let record = entry.record.clone();
                if let Some(dead_letters) = &self.dead_letters {
                    dead_letters.keep(record)?;
                }
                self.store.delete(&id)?;
                messages.remove(&id);
                tracing::warn!(queue = self.settings.name, message_id = id, "dead letter");
                continue;
            }
            let mut record = entry.record.clone();
            record.receive_count += 1;
            let first_received = *record.first_received.get_or_insert(now);
            self.store.save(&record)?;
            let receipt = Ulid::generate().to_string();
            entry.visible = now + millis(self.settings.visibility_timeout);
            entry.receipt = Some(receipt.clone());
            entry.record = record;
            handed_out.push(Message {
                id,
                receipt,
                body: entry.record.body.clone(),
                sent: entry.record.sent,
                first_received,
                receive_count: entry.record.receive_count,
            });
        }
        Ok(handed_out)
    }

    /// Waits for a visible message, and delivers.
    ///
    /// # Errors
    /// The same as [`Queue::receive`].
    pub(crate) async fn receive_waiting(&self, max: usize) -> Result<Vec<Message>, QueueError> {
        loop {
            // Subscribed before the check, so that a message sent in between is not missed.
            let changed = self.changed.notified();
            let messages = self.receive(max)?;
            if !messages.is_empty() {
                return Ok(messages);
            }
            match self.next_visible() {
                Some(wait) => {
                    let _ = tokio::time::timeout(wait, changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// Deletes a message, if `receipt` is its latest receipt handle.
    ///
    /// # Errors
    /// Returns an error if its file cannot be deleted.
    pub(crate) fn delete(&self, id: &str, receipt: &str) -> Result<(), QueueError> {
        let mut messages = self.lock();
        let latest = messages.get(id).and_then(|entry| entry.receipt.as_deref());
        if latest == Some(receipt) {
            self.store.delete(id)?;
            messages.remove(id);
        }
        Ok(())
    }

    fn is_dead(&self, record: &Record) -> bool {
        let redrive = self.settings.redrive.as_ref();
        self.dead_letters.is_some()
            && redrive.is_some_and(|redrive| record.receive_count >= redrive.max_receive_count)
    }

    fn next_visible(&self) -> Option<Duration> {
        let next = self.lock().values().map(|entry| entry.visible).min()?;
        // A millisecond more, because tokio's timer and this clock round differently.
        let wait = next.saturating_sub(self.clock.now()) + 1;
        Some(Duration::from_millis(wait))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens all queues of the template, dead-letter queues first, by ARN.
///
/// # Errors
/// Returns an error if a queue cannot be opened.
pub(crate) fn open_all(
    queues: &[template::Queue],
    folder: Option<&Path>,
    clock: Clock,
) -> Result<BTreeMap<String, Arc<Queue>>, QueueError> {
    let mut open: BTreeMap<String, Arc<Queue>> = BTreeMap::new();
    let mut waiting: Vec<&template::Queue> = queues.iter().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = Vec::new();
        for queue in waiting {
            let target = queue.redrive.as_ref().map(|redrive| &redrive.target_arn);
            let dead_letters = target.and_then(|arn| open.get(arn).cloned());
            if target.is_some() && dead_letters.is_none() {
                later.push(queue);
                continue;
            }
            let own = folder.map(|folder| folder.join(&queue.name));
            let opened = Queue::open(queue.clone(), dead_letters, own.as_deref(), clock)?;
            open.insert(queue.arn.clone(), Arc::new(opened));
        }
        if later.len() == before {
            return Err(QueueError::Circle(later[0].name.clone()));
        }
        waiting = later;
    }
    Ok(open)
}

#[cfg(test)]
mod tests;
