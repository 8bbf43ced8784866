//! DynamoDB on one machine: the dynoxide engine on a file in the data folder (or in
//! memory), served over HTTP, with the template's tables in it.
//!
//! Promises: what was acknowledged survives a killed process, since it is in SQLite's
//! write-ahead log; a power cut may lose it, since nothing is fsynced. Items past their
//! time to live are swept now and then. The engine has threads of its own: it works
//! where it is called from, and would hold up the rest of the machine.

mod tables;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use dynoxide::Database;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::template::{REGION, Table};
use crate::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

/// Threads of the engine's server: one in the engine, one reading and writing requests.
const THREADS: usize = 2;
/// How often expired items are swept. DynamoDB takes up to a few days.
const SWEEP_INTERVAL: Duration = Duration::from_mins(5);
/// How long requests under way may take once the machine stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The tables can't be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DynamoDbError {
    /// The engine doesn't open its file.
    #[error("the database can't be opened: {0}")]
    Open(String),
    /// The engine can't be served.
    #[error("the database can't be served: {0}")]
    Serve(#[from] std::io::Error),
    /// The engine refused what the template asks for.
    #[error("table {table}: {reason}")]
    Refused {
        /// The table.
        table: String,
        /// What the engine says.
        reason: String,
    },
    /// The data folder holds the table in another shape than the template's.
    #[error(
        "table {table} in the data folder is not the template's: {difference}; \
         use another data folder, or --ephemeral"
    )]
    Different {
        /// The table.
        table: String,
        /// What differs.
        difference: String,
    },
}

/// A running engine.
#[derive(Debug)]
pub(crate) struct DynamoDb {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl DynamoDb {
    /// Opens the database at `file`, or one in memory, serves it on `listener`, and
    /// gives it the template's tables.
    ///
    /// # Errors
    /// [`DynamoDbError`], as its variants say.
    pub(crate) async fn start(
        listener: TcpListener,
        file: Option<&Path>,
        tables: &[Table],
    ) -> Result<Self, DynamoDbError> {
        let address = listener.local_addr()?;
        let listener = listener.into_std()?;
        let database = open(file)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || {
                if let Err(error) = serve(listener, database, stopped) {
                    tracing::error!(error, "the database stopped serving");
                }
            })?;
        let engine = Self { stop, thread };
        match tables::ensure(&client(address), tables).await {
            Ok(()) => Ok(engine),
            Err(error) => {
                engine.stop().await;
                Err(error)
            }
        }
    }

    /// Stops serving and closes the database.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("the database ended badly");
        }
    }
}

fn open(file: Option<&Path>) -> Result<Database, DynamoDbError> {
    let failed = |e: dynoxide::DynoxideError| DynamoDbError::Open(e.to_string());
    let database = match file {
        Some(file) => {
            let name = file.to_str();
            let name = name.ok_or_else(|| DynamoDbError::Open("its path is not UTF-8".into()))?;
            Database::new(name)
        }
        None => Database::memory(),
    }
    .map_err(failed)?;
    // No fsync: the write-ahead log survives the process, and power cuts aren't promised.
    database.enable_bulk_loading().map_err(failed)?;
    Ok(database)
}

/// Serves until `stopped` resolves. The runtime ends with this function, and with it
/// every handle to the database.
fn serve(
    listener: std::net::TcpListener,
    database: Database,
    stopped: oneshot::Receiver<()>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("dynamodb")
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).map_err(|e| e.to_string())?;
        let (overdue, patience) = oneshot::channel();
        let sweeper = tokio::spawn(sweep(database.clone()));
        let shutdown = async move {
            // An error means that the machine was dropped, which stops it as well.
            let _ = stopped.await;
            sweeper.abort();
            let _ = overdue.send(());
        };
        let served = dynoxide::server::serve_with_shutdown(listener, database, shutdown);
        tokio::select! {
            result = served => result,
            () = async {
                let _ = patience.await;
                tokio::time::sleep(STOP_PATIENCE).await;
            } => Ok(()),
        }
    })
}

async fn sweep(database: Database) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(items)) => tracing::info!(items, "expired items were deleted"),
            Ok(Err(error)) => tracing::warn!(%error, "expired items were not deleted"),
        }
    }
}

/// A client without a time limit: filling a new index takes as long as it takes.
fn client(address: SocketAddr) -> Client {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "local");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(credentials)
        .endpoint_url(format!("http://{address}"))
        .build();
    Client::from_conf(config)
}
