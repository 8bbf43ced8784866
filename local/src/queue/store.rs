//! Stores a queue's messages: one small file each, replaced by renaming, so that a killed process
//! leaves the old or the new version of a message, never a mixture.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::QueueError;

/// A message as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) sent: u64,
    pub(super) first_received: Option<u64>,
    pub(super) receive_count: u32,
}

/// A folder of messages, or nothing if the queue is in memory.
#[derive(Debug)]
pub(super) struct Store {
    folder: Option<PathBuf>,
}

impl Store {
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, QueueError> {
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        Ok(Self {
            folder: folder.map(Path::to_owned),
        })
    }

    /// Reads all messages, and deletes files that a killed process left incomplete.
    pub(super) fn load(&self) -> Result<Vec<Record>, QueueError> {
        let Some(folder) = &self.folder else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let path = entry.map_err(at(folder))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => {
                    let bytes = fs::read(&path).map_err(at(&path))?;
                    let record = serde_json::from_slice(&bytes)
                        .map_err(|source| QueueError::Unreadable { path, source })?;
                    records.push(record);
                }
                Some("part") => fs::remove_file(&path).map_err(at(&path))?,
                _ => {}
            }
        }
        Ok(records)
    }

    pub(super) fn save(&self, record: &Record) -> Result<(), QueueError> {
        let Some(path) = self.path(&record.id) else {
            return Ok(());
        };
        let part = path.with_extension("part");
        let bytes = serde_json::to_vec(record).map_err(|source| QueueError::Unreadable {
            path: path.clone(),
            source,
        })?;
        fs::write(&part, bytes).map_err(at(&part))?;
        fs::rename(&part, &path).map_err(at(&path))
    }

    pub(super) fn delete(&self, id: &str) -> Result<(), QueueError> {
        let Some(path) = self.path(id) else {
            return Ok(());
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("{id}.json")))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> QueueError {
    let path = path.to_owned();
    move |source| QueueError::Io { path, source }
}
