//! Why a local stack cannot start.

use std::io;
use std::path::PathBuf;

use mpulse_shared::store::StoreError;
use thiserror::Error;

use crate::dynamodb::DynamoDbError;
use crate::events::EventBridgeError;
use crate::faults::ProxyError;
use crate::host::HostError;
use crate::queue::QueueError;
use crate::s3::S3Error;
use crate::template::TemplateError;

/// A local stack cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalStackError {
    /// The template is invalid.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The data folder cannot be used.
    #[error("the data folder {path} cannot be used")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another local stack uses the data folder.
    #[error("the data folder {0} is in use by another mpulse; stop it, or use another folder")]
    InUse(PathBuf),
    /// The data folder was written by a version with another database.
    #[error(
        "the data folder {0} has the database of an earlier mpulse (dynamodb.sqlite), which this \
         version cannot read; start with another folder (--data PATH) and load the rosters again, or \
         delete this folder"
    )]
    FormerDatabase(PathBuf),
    /// A port is not available.
    #[error("port {port} for {purpose} cannot be used")]
    Port {
        /// The port.
        port: u32,
        /// Its purpose.
        purpose: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The tables are not available.
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
    /// The buckets are not available.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// The queues are not available.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Events cannot be logged or sent.
    #[error(transparent)]
    Events(#[from] EventBridgeError),
    /// A function cannot start.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The fault proxies cannot start.
    #[error(transparent)]
    Faults(#[from] ProxyError),
    /// The leases of an earlier start cannot be released.
    #[error(transparent)]
    Leases(#[from] StoreError),
}
