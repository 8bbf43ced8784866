//! template.yaml on one machine: its tables, buckets, queues, routes and functions in
//! one process, reached through the ordinary AWS SDK and plain HTTP.
//!
//! A [`Machine`] listens on three ports of 127.0.0.1 and nowhere else: the API, S3 next
//! to it, and DynamoDB after that. What was acknowledged survives a killed process, and
//! work that was under way is taken up again at the next start. Nothing that the
//! template says is said again here.

mod clock;
pub mod dynamodb;
pub mod faults;
pub mod gateway;
pub mod host;
pub mod queue;
pub mod s3;
mod serve;
mod tasks;
pub mod template;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mpulse_shared::setup::Setup;
use mpulse_shared::store::StoreError;
use mpulse_shared::store::batches::Batches;
use serde_json::Value;
use tempfile::TempDir;
use thiserror::Error;
use tokio::net::TcpListener;

use clock::Clock;
use dynamodb::{DynamoDb, DynamoDbError};
use faults::{Detour, Faults, ProxyError, Spec};
use gateway::Gateway;
use host::{Host, HostError, InvokeError};
use queue::QueueError;
use queue::poller::Poller;
use s3::{S3, S3Error};
use template::{Function, REGION, Template, TemplateError};

/// The template this program was built with.
pub const BUILT_IN_TEMPLATE: &str = include_str!("../../template.yaml");

/// The access key of every machine. It guards nothing: only this machine can connect.
pub const ACCESS_KEY_ID: &str = "mpulse-local";
/// The secret to it, with which S3's signatures are checked.
pub const SECRET_ACCESS_KEY: &str = "mpulse-local-secret";

/// A filter for `tracing` that keeps quiet what the engines tell of every request: some
/// of it holds whole requests, and a missing object is an error to them.
pub const LOG_FILTER: &str = "info,s3s=off,s3s_fs=off,dynoxide=warn";

/// How far S3's port is from the API's.
const S3_OFFSET: u16 = 1;
/// How far DynamoDB's port is from the API's.
const DYNAMODB_OFFSET: u16 = 2;

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The text of the template.
    pub template: String,
    /// Values for its parameters, in place of their defaults.
    pub parameters: HashMap<String, String>,
    /// Where data are kept.
    pub data: Data,
    /// The port of the API; S3 has the next one and DynamoDB the one after. With 0 all
    /// three are any that are free.
    pub port: u16,
    /// Where functions are invoked (the URL of `cargo lambda watch`), if not in this
    /// process.
    pub invoke: Option<String>,
    /// What goes wrong on purpose between the functions and the engines, if anything. With
    /// a spec of which nothing comes, faults can be set later ([`Machine::faults`]).
    pub faults: Option<Spec>,
}

/// Where a machine keeps its data.
#[derive(Debug, Clone)]
pub enum Data {
    /// In this folder, for the next start.
    Folder(PathBuf),
    /// In memory and in a temporary folder, until the machine stops.
    Ephemeral,
}

/// A machine can't be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The template is at fault.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The data folder can't be used.
    #[error("the data folder {path} can't be used")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Another machine is at work on the data folder.
    #[error("the data folder {0} is in use by another mpulse; stop it, or use another folder")]
    InUse(PathBuf),
    /// A port can't be had.
    #[error("port {port}, for {purpose}, can't be used")]
    Port {
        /// The port.
        port: u32,
        /// What it was for.
        purpose: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// The tables can't be had.
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
    /// The buckets can't be had.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// The queues can't be had.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A function can't be started.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The proxies that misbehave on purpose can't be had.
    #[error(transparent)]
    Faults(#[from] ProxyError),
    /// The leases of an earlier start can't be taken away.
    #[error(transparent)]
    Leases(#[from] StoreError),
}

/// A running machine. [`Machine::stop`] ends it; dropping it leaves that to the end of
/// the process.
#[derive(Debug)]
pub struct Machine {
    template: Template,
    ports: Ports,
    gateway: Gateway,
    pollers: Vec<Poller>,
    host: Arc<Host>,
    detour: Option<Detour>,
    s3: S3,
    dynamodb: DynamoDb,
    // Last, since fields are dropped in order: the folder is free once all else is gone.
    _home: Home,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    api: u16,
    s3: u16,
    dynamodb: u16,
}

impl Machine {
    /// Starts a machine; it is ready when this returns.
    ///
    /// # Errors
    /// [`MachineError`], as its variants say. Nothing is left running.
    pub async fn start(options: Options) -> Result<Self, MachineError> {
        let template = Template::parse(&options.template, &options.parameters)?;
        let home = Home::open(&options.data)?;
        let (ports, [api, s3, dynamodb]) = listen(options.port).await?;
        let dynamodb =
            DynamoDb::start(dynamodb, home.database().as_deref(), &template.tables).await?;
        let rest = Rest {
            options: &options,
            template: &template,
            home: &home,
            ports,
        };
        let (detour, s3, host, gateway, pollers) = match rest.start(api, s3).await {
            Ok(started) => started,
            Err(error) => {
                dynamodb.stop().await;
                return Err(error);
            }
        };
        Ok(Self {
            template,
            ports,
            gateway,
            pollers,
            host,
            detour,
            s3,
            dynamodb,
            _home: home,
        })
    }

    /// Where the API answers.
    #[must_use]
    pub fn api_url(&self) -> String {
        url(self.ports.api)
    }

    /// Where S3 answers.
    #[must_use]
    pub fn s3_url(&self) -> String {
        url(self.ports.s3)
    }

    /// Where DynamoDB answers.
    #[must_use]
    pub fn dynamodb_url(&self) -> String {
        url(self.ports.dynamodb)
    }

    /// The handle of what goes wrong, where it was asked for.
    #[must_use]
    pub fn faults(&self) -> Option<&Faults> {
        self.detour.as_ref().map(|detour| &detour.faults)
    }

    /// Where DynamoDB and S3 answer with faults, where they were asked for: functions of
    /// this process are sent there, those elsewhere have to be told.
    #[must_use]
    pub fn faulty_urls(&self) -> Option<[&str; 2]> {
        let detour = self.detour.as_ref()?;
        Some([detour.dynamodb.url(), detour.s3.url()])
    }

    /// What the machine was made from.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The settings of all functions together, for the host program's own work and for
    /// tests.
    #[must_use]
    pub fn setup(&self) -> Setup {
        setup_for(&self.template, &self.dynamodb_url(), &self.s3_url())
    }

    /// Runs the function of a program on an event, as AWS would.
    ///
    /// # Errors
    /// [`InvokeError`], as its variants say.
    pub async fn invoke(&self, binary: &str, event: Value) -> Result<Value, InvokeError> {
        let mut functions = self.template.functions.iter();
        let function = functions.find(|function| function.binary == binary);
        let function = function.ok_or_else(|| InvokeError::Unknown(binary.to_owned()))?;
        self.host.invoke(&function.name, event).await
    }

    /// Stops accepting, ends the pollers, aborts what runs, and closes the files, which
    /// can be opened again at once.
    pub async fn stop(self) {
        self.gateway.stop().await;
        for poller in self.pollers {
            poller.stop().await;
        }
        self.host.stop().await;
        if let Some(detour) = self.detour {
            detour.stop().await;
        }
        self.s3.stop().await;
        self.dynamodb.stop().await;
    }
}

/// The settings of all functions of `template` together, on the machine that answers at
/// these URLs: what a process beside the machine needs to work on its data.
#[must_use]
pub fn setup_for(template: &Template, dynamodb_url: &str, s3_url: &str) -> Setup {
    Setup::new(environment_for(template, dynamodb_url, s3_url))
}

/// The same for the machine whose API is on `port` (not 0), by the template alone: what
/// another process needs to work on a running machine's data.
#[must_use]
pub fn setup_at(template: &Template, port: u16) -> Setup {
    let [s3, dynamodb] =
        [S3_OFFSET, DYNAMODB_OFFSET].map(|offset| url(port.saturating_add(offset)));
    setup_for(template, &dynamodb, &s3)
}

/// The same as plain variables, for instance to be given to `cargo lambda watch`. Where
/// functions set one variable differently, the last by logical id wins.
#[must_use]
pub fn environment_for(
    template: &Template,
    dynamodb_url: &str,
    s3_url: &str,
) -> HashMap<String, String> {
    let own = template
        .functions
        .iter()
        .flat_map(|function| &function.environment);
    let mut all: HashMap<_, _> = own.map(|(k, v)| (k.clone(), v.clone())).collect();
    all.extend(surroundings(dynamodb_url, s3_url));
    all
}

/// What Lambda itself would put into a function's environment.
fn surroundings(dynamodb_url: &str, s3_url: &str) -> [(String, String); 5] {
    [
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url),
        ("AWS_ENDPOINT_URL_S3", s3_url),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

impl Detour {
    /// The [`surroundings`] of a function that is sent here. One that answers requests may
    /// hand out URLs of S3 to clients, who are to see no faults: it is sent to S3 itself.
    fn surroundings_of(&self, function: &Function, s3_url: &str) -> [(String, String); 5] {
        let s3_url = if function.routes.is_empty() {
            self.s3.url()
        } else {
            s3_url
        };
        surroundings(self.dynamodb.url(), s3_url)
    }
}

fn url(port: u16) -> String {
    format!("http://{}:{port}", Ipv4Addr::LOCALHOST)
}

/// What a machine is started with once its tables are there.
struct Rest<'a> {
    options: &'a Options,
    template: &'a Template,
    home: &'a Home,
    ports: Ports,
}

impl Rest<'_> {
    async fn start(
        &self,
        api: TcpListener,
        s3: TcpListener,
    ) -> Result<(Option<Detour>, S3, Arc<Host>, Gateway, Vec<Poller>), MachineError> {
        let template = self.template;
        let (dynamodb_url, s3_url) = (url(self.ports.dynamodb), url(self.ports.s3));
        let detour = match self.options.faults {
            Some(spec) => {
                Some(Detour::start(spec, &template.tables, &dynamodb_url, &s3_url).await?)
            }
            None => None,
        };
        let queues = queue::open_all(
            &template.queues,
            self.home.queues().as_deref(),
            Clock::start(),
        )?;
        let host = Host::start(
            &template.functions,
            self.options.invoke.as_deref(),
            |function| {
                let mut environment: HashMap<_, _> =
                    function.environment.clone().into_iter().collect();
                environment.extend(match &detour {
                    Some(detour) => detour.surroundings_of(function, &s3_url),
                    None => surroundings(&dynamodb_url, &s3_url),
                });
                environment.insert("AWS_LAMBDA_FUNCTION_NAME".to_owned(), function.name.clone());
                environment
            },
        )?;
        let host = Arc::new(host);
        let s3 = S3::start(s3, &self.home.objects(), &template.buckets, queues.clone())?;
        forget_dead_runs(&setup_for(template, &dynamodb_url, &s3_url)).await?;
        let gateway = Gateway::start(api, &template.functions, Arc::clone(&host));
        let mut pollers = Vec::new();
        for function in &template.functions {
            for source in &function.queues {
                if let Some(queue) = queues.get(&source.queue_arn) {
                    pollers.push(Poller::start(
                        Arc::clone(queue),
                        source.clone(),
                        function.name.clone(),
                        Arc::clone(&host),
                    ));
                }
            }
        }
        Ok((detour, s3, host, gateway, pollers))
    }
}

/// Releases the leases of runs that died: none can be alive on a machine that just started.
/// A template without batches has none.
async fn forget_dead_runs(setup: &Setup) -> Result<(), MachineError> {
    match Batches::from_setup(setup) {
        Ok(batches) => Ok(batches.release_all().await?),
        Err(_) => Ok(()),
    }
}

/// Opens the three ports: one after the other, or any that are free.
async fn listen(port: u16) -> Result<(Ports, [TcpListener; 3]), MachineError> {
    let api = bind(port, 0, "the API").await?;
    let s3 = bind(port, S3_OFFSET, "S3").await?;
    let dynamodb = bind(port, DYNAMODB_OFFSET, "DynamoDB").await?;
    let ports = Ports {
        api: api.1,
        s3: s3.1,
        dynamodb: dynamodb.1,
    };
    Ok((ports, [api.0, s3.0, dynamodb.0]))
}

async fn bind(
    port: u16,
    offset: u16,
    purpose: &'static str,
) -> Result<(TcpListener, u16), MachineError> {
    let failed = |source| MachineError::Port {
        port: u32::from(port) + u32::from(offset),
        purpose,
        source,
    };
    let own = match port {
        0 => Some(0),
        port => port.checked_add(offset),
    };
    let own = own.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, own))
        .await
        .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?.port();
    Ok((listener, bound))
}

/// Where the data are.
#[derive(Debug)]
enum Home {
    Folder {
        path: PathBuf,
        /// Locked for as long as it is open.
        _lock: File,
    },
    Ephemeral(TempDir),
}

impl Home {
    fn open(data: &Data) -> Result<Self, MachineError> {
        let path = match data {
            Data::Folder(path) => path.clone(),
            Data::Ephemeral => std::env::temp_dir(),
        };
        let failed = |source| MachineError::Folder {
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
                    Err(TryLockError::WouldBlock) => return Err(MachineError::InUse(path)),
                    Err(TryLockError::Error(source)) => return Err(failed(source)),
                }
                Ok(Self::Folder { path, _lock: lock })
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Folder { path, .. } => path,
            Self::Ephemeral(folder) => folder.path(),
        }
    }

    /// The folder of the buckets.
    fn objects(&self) -> PathBuf {
        self.path().join("s3")
    }

    /// The database's file, if it has one.
    fn database(&self) -> Option<PathBuf> {
        let Self::Folder { path, .. } = self else {
            return None;
        };
        Some(path.join("dynamodb.sqlite"))
    }

    /// The folder of the queues, if they have one.
    fn queues(&self) -> Option<PathBuf> {
        let Self::Folder { path, .. } = self else {
            return None;
        };
        Some(path.join("queues"))
    }
}

#[cfg(test)]
mod tests;
