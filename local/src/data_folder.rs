//! The data folder of a local stack, or a temporary one.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::LocalStackError;

/// The database of versions before the present engine, which cannot read it.
const FORMER_DATABASE: &str = "dynamodb.sqlite";

/// Where a local stack stores its data.
#[derive(Debug, Clone)]
pub enum Data {
    /// In this folder, for the next start.
    Folder(PathBuf),
    /// In a temporary folder, until the local stack stops.
    Ephemeral,
}

/// The place of the data.
#[derive(Debug)]
pub(crate) enum DataFolder {
    Folder {
        path: PathBuf,
        /// Locked while it is open.
        _lock: File,
    },
    Ephemeral(TempDir),
}

impl DataFolder {
    pub(crate) fn open(data: &Data) -> Result<Self, LocalStackError> {
        let path = match data {
            Data::Folder(path) => path.clone(),
            Data::Ephemeral => std::env::temp_dir(),
        };
        let failed = |source| LocalStackError::Folder {
            path: path.clone(),
            source,
        };
        match data {
            Data::Ephemeral => {
                let folder = tempfile::Builder::new().prefix("mpulse-").tempdir();
                Ok(Self::Ephemeral(folder.map_err(failed)?))
            }
            Data::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(failed)?;
                let lock = File::create(folder.join("lock")).map_err(failed)?;
                match lock.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => return Err(LocalStackError::InUse(path)),
                    Err(TryLockError::Error(source)) => return Err(failed(source)),
                }
                if folder.join(FORMER_DATABASE).exists() {
                    return Err(LocalStackError::FormerDatabase(path));
                }
                Ok(Self::Folder { path, _lock: lock })
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Folder { path, .. } => path,
            Self::Ephemeral(folder) => folder.path(),
        }
    }

    /// Returns the folder of the buckets.
    pub(crate) fn objects(&self) -> PathBuf {
        self.path().join("s3")
    }

    /// Returns the folder of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("dynamodb")
    }

    /// Returns the file of all events.
    pub(crate) fn event_log(&self) -> PathBuf {
        self.path().join("events.jsonl")
    }

    /// Returns the folder of the queues, if they have one.
    pub(crate) fn queues(&self) -> Option<PathBuf> {
        let Self::Folder { path, .. } = self else {
            return None;
        };
        Some(path.join("queues"))
    }
}
