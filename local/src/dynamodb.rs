//! The local stack's DynamoDB: the engine of `mpulse-dynamodb` on a folder, served over HTTP, with
//! the template's tables.
//!
//! Acknowledged writes survive a killed process; a power failure may lose them, because nothing is
//! fsynced. The engine has its own threads, because it blocks the thread that calls it.

mod tables;

use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use mpulse_dynamodb::{Engine, ServeError};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::time::Timestamp;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::addresses::Endpoints;
use crate::settings::lambda_variables;
use crate::template::Table;

/// Threads of the engine's server.
const THREADS: usize = 2;
/// How long open requests may take when the local stack stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The tables are not available.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DynamoDbError {
    /// The database cannot be opened.
    #[error("the database cannot be opened: {0}")]
    Open(#[from] mpulse_dynamodb::OpenError),
    /// The database cannot be served.
    #[error("the database cannot be served: {0}")]
    Serve(#[from] std::io::Error),
    /// The client of the database cannot be created.
    #[error(transparent)]
    Client(#[from] SetupError),
    /// The engine rejected a table of the template.
    #[error("table {table}: {reason}")]
    Refused {
        /// The table.
        table: String,
        /// The engine's message.
        reason: String,
    },
    /// The table in the data folder differs from the template's.
    #[error(
        "table {table} in the data folder differs from the template: {difference}; \
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
    engine: Engine,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl DynamoDb {
    /// Opens the database in `folder`, serves it on `listener`, and creates the template's tables.
    ///
    /// # Errors
    /// Returns [`DynamoDbError`].
    pub(crate) async fn start(
        listener: TcpListener,
        folder: &Path,
        tables: &[Table],
    ) -> Result<Self, DynamoDbError> {
        let address = listener.local_addr()?;
        let listener = listener.into_std()?;
        let client = client(&format!("http://{address}"))?;
        let engine = Engine::open(folder)?;
        let (stop, stopped) = oneshot::channel();
        let served = engine.clone();
        let thread = std::thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || {
                if let Err(error) = serve(listener, served, stopped) {
                    tracing::error!(%error, "the database stopped serving");
                }
            })?;
        let running = Self {
            engine,
            stop,
            thread,
        };
        match tables::ensure(&client, tables).await {
            Ok(()) => Ok(running),
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    /// Returns what deletes expired items once.
    pub(crate) fn time_to_live(&self) -> impl Fn() + Send + Sync + 'static {
        let engine = self.engine.clone();
        move || match engine.sweep_expired(Timestamp::now().into()) {
            Ok(0) => {}
            Ok(items) => tracing::info!(items, "expired items were deleted"),
            Err(error) => tracing::warn!(%error, "expired items were not deleted"),
        }
    }

    /// Stops serving and closes the database.
    pub(crate) async fn stop(self) {
        drop(self.engine);
        drop(self.stop);
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("the database did not stop properly");
        }
    }
}

/// Creates the template's tables in a DynamoDB elsewhere.
///
/// # Errors
/// Returns [`DynamoDbError`].
pub(crate) async fn create_elsewhere(url: &str, tables: &[Table]) -> Result<(), DynamoDbError> {
    tables::ensure(&client(url)?, tables).await
}

/// Serves until `stopped` resolves. The runtime ends with this function, and with it every handle
/// to the engine.
fn serve(
    listener: std::net::TcpListener,
    engine: Engine,
    stopped: oneshot::Receiver<()>,
) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("dynamodb")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let (overdue, patience) = oneshot::channel();
        let shutdown = async move {
            // An error means that the local stack was dropped, which stops the server as well.
            let _ = stopped.await;
            let _ = overdue.send(());
        };
        tokio::select! {
            result = mpulse_dynamodb::serve(listener, engine, shutdown) => result,
            () = async {
                let _ = patience.await;
                tokio::time::sleep(STOP_PATIENCE).await;
            } => Ok(()),
        }
    })
}

/// Creates a client without a timeout: filling a new index may take long.
fn client(url: &str) -> Result<Client, SetupError> {
    let variables = lambda_variables(&Endpoints {
        dynamodb: url.to_owned(),
        ..Endpoints::default()
    });
    let client = Setup::new(variables.into_iter().collect()).dynamodb()?;
    let config = client.config().to_builder();
    Ok(Client::from_conf(
        config.timeout_config(TimeoutConfig::disabled()).build(),
    ))
}
