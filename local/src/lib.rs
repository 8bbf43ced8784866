//! The local stack: template.yaml in one process, with its tables, buckets, queues, routes and
//! functions, reached through the ordinary AWS SDK and plain HTTP.
//!
//! A [`LocalStack`] listens on four ports of 127.0.0.1 only: the API, then S3, DynamoDB and EventBridge.
//! Acknowledged data survives a killed process, and interrupted work continues at the next start.
//! The template is the only description of the system.

mod addresses;
mod clock;
mod credentials;
mod data_folder;
pub mod dynamodb;
mod error;
mod events;
mod expiry;
pub mod faults;
pub mod gateway;
pub mod host;
pub mod http_client;
mod ports;
pub mod queue;
pub mod s3;
mod serve;
mod settings;
mod tasks;
pub mod template;
#[cfg(test)]
mod tests;
mod upstream;
mod uuid;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use mpulse_shared::setup::{FromSetup, Setup};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::exports::Exports;
use serde_json::Value;
use tokio::net::TcpListener;

use addresses::url;
use clock::Clock;
use data_folder::DataFolder;
use dynamodb::DynamoDb;
use events::EventBridge;
use expiry::Expiry;
use faults::{FaultProxies, Faults, Spec};
use gateway::Gateway;
use host::{Host, InvokeError};
use ports::{Ports, listen};
use queue::poller::Poller;
use s3::S3;
use settings::lambda_variables;
use template::{Function, Stack, Template};

pub use addresses::{EVENTS_OFFSET, Endpoints, Engines};
pub use credentials::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
pub use data_folder::Data;
pub use error::LocalStackError;
pub use settings::{environment_for, setup_for};

/// The template that is built into this program.
pub const BUILT_IN_TEMPLATE: &str = include_str!("../../template.yaml");

/// A filter for `tracing` that hides what the engines log of every request: some of it contains
/// whole requests, and a missing object is logged as an error.
pub const LOG_FILTER: &str = "info,s3s=off,s3s_fs=off,fjall=warn,lsm_tree=warn";

/// The options of a local stack.
#[derive(Debug, Clone)]
pub struct Options {
    /// The text of the template.
    pub template: String,
    /// Values for its parameters, in place of their defaults.
    pub parameters: HashMap<String, String>,
    /// Where data is stored.
    pub data: Data,
    /// A DynamoDB and an S3 elsewhere, if not the local stack's own.
    pub engines: Option<Engines>,
    /// The port of the API; S3, DynamoDB and EventBridge have the next ones. 0 selects free ports.
    pub port: u16,
    /// The URL at which functions are invoked (that of `cargo lambda watch`), if not in this
    /// process.
    pub invoke: Option<String>,
    /// The faults to inject between the functions and the engines, if any. With an empty
    /// specification, faults can be set later ([`LocalStack::faults`]).
    pub faults: Option<Spec>,
    /// The URL to which events are sent, if any.
    pub events_to: Option<String>,
}

/// A running local stack. [`LocalStack::stop`] ends it; dropping it leaves that to the end of the
/// process.
#[derive(Debug)]
pub struct LocalStack {
    template: Template,
    ports: Ports,
    endpoints: Endpoints,
    gateway: Gateway,
    pollers: Vec<Poller>,
    host: Arc<Host>,
    proxies: Option<FaultProxies>,
    s3: S3,
    events: EventBridge,
    expiry: Expiry,
    /// `None` if it is elsewhere.
    dynamodb: Option<DynamoDb>,
    // Last, since fields are dropped in order: the folder is released once everything else is
    // closed.
    data_folder: DataFolder,
}

impl LocalStack {
    /// Starts a local stack; it is ready when this returns.
    ///
    /// # Errors
    /// Returns [`LocalStackError`]. Nothing keeps running then.
    pub async fn start(options: Options) -> Result<Self, LocalStackError> {
        let engines = options.engines.as_ref();
        let stack = engines.map_or_else(Stack::default, |engines| engines.stack.clone());
        let template = Template::of_stack(&stack, &options.template, &options.parameters)?;
        let data_folder = DataFolder::open(&options.data)?;
        let (ports, [api, s3, dynamodb, events]) = listen(options.port).await?;
        let mut endpoints = ports.endpoints();
        let tables = &template.tables;
        let dynamodb = if let Some(engines) = engines {
            endpoints.dynamodb.clone_from(&engines.dynamodb);
            dynamodb::create_elsewhere(&engines.dynamodb, tables).await?;
            None
        } else {
            Some(DynamoDb::start(dynamodb, &data_folder.database(), tables).await?)
        };
        let rest = Rest {
            options: &options,
            template: &template,
            data_folder: &data_folder,
            endpoints: &endpoints,
        };
        let started = rest.start(api, s3, events).await;
        let (proxies, s3, events, host, gateway, pollers) = match started {
            Ok(started) => started,
            Err(error) => {
                if let Some(dynamodb) = dynamodb {
                    dynamodb.stop().await;
                }
                return Err(error);
            }
        };
        let time_to_live = dynamodb.as_ref().map(DynamoDb::time_to_live);
        let lifecycle = s3.lifecycle();
        let expiry = Expiry::start(move || {
            if let Some(time_to_live) = &time_to_live {
                time_to_live();
            }
            lifecycle();
        });
        Ok(Self {
            template,
            ports,
            endpoints,
            gateway,
            pollers,
            host,
            proxies,
            s3,
            events,
            expiry,
            dynamodb,
            data_folder,
        })
    }

    /// Returns the URL of the API.
    #[must_use]
    pub fn api_url(&self) -> String {
        url(self.ports.api)
    }

    /// Returns the URLs of the services of AWS.
    #[must_use]
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }

    /// Returns the file to which EventBridge appends events, one JSON object a line.
    #[must_use]
    pub fn event_log(&self) -> PathBuf {
        self.data_folder.event_log()
    }

    /// Returns the handle of the injected faults, if there are any.
    #[must_use]
    pub fn faults(&self) -> Option<&Faults> {
        self.proxies.as_ref().map(|proxies| &proxies.faults)
    }

    /// Returns the URLs with injected faults, if there are any. Functions in this process use
    /// them; functions elsewhere have to be configured.
    #[must_use]
    pub fn faulty_endpoints(&self) -> Option<Endpoints> {
        let proxies = self.proxies.as_ref()?;
        Some(proxies.endpoints(&self.endpoints()))
    }

    /// Returns the template.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Returns the settings of all functions together, for the host program and for
    /// tests.
    #[must_use]
    pub fn setup(&self) -> Setup {
        setup_for(&self.template, &self.endpoints())
    }

    /// Runs the function of a binary with an event, as AWS would.
    ///
    /// # Errors
    /// Returns [`InvokeError`].
    pub async fn invoke(&self, binary: &str, event: Value) -> Result<Value, InvokeError> {
        let mut functions = self.template.functions.iter();
        let function = functions.find(|function| function.binary == binary);
        let function = function.ok_or_else(|| InvokeError::Unknown(binary.to_owned()))?;
        self.host.invoke(&function.name, event).await
    }

    /// Deletes what has expired: items by their time to live, and files by the lifecycle rules. It also happens from
    /// time to time.
    pub async fn delete_expired(&self) {
        self.expiry.round().await;
    }

    /// Stops accepting requests, ends the pollers, aborts running functions, and closes the files,
    /// which can be opened again at once.
    pub async fn stop(self) {
        self.gateway.stop().await;
        for poller in self.pollers {
            poller.stop().await;
        }
        self.host.stop().await;
        if let Some(proxies) = self.proxies {
            proxies.stop().await;
        }
        self.s3.stop().await;
        self.events.stop().await;
        self.expiry.stop().await;
        if let Some(dynamodb) = self.dynamodb {
            dynamodb.stop().await;
        }
    }
}

impl FaultProxies {
    /// Returns the variables of a function that uses the proxies. A function that responds
    /// to requests may sign URLs of S3 for clients, which must not see faults: it uses S3 directly.
    fn variables_of(&self, function: &Function, direct: &Endpoints) -> [(String, String); 6] {
        let mut faulty = self.endpoints(direct);
        if !function.routes.is_empty() {
            faulty.s3.clone_from(&direct.s3);
        }
        lambda_variables(&faulty)
    }

    /// Returns the URLs of the proxies, and the direct one of the service without a proxy.
    fn endpoints(&self, direct: &Endpoints) -> Endpoints {
        Endpoints {
            dynamodb: self.dynamodb.url().to_owned(),
            s3: self.s3.url().to_owned(),
            events: direct.events.clone(),
        }
    }
}

/// The parts that are started when the tables exist.
type Started = (
    Option<FaultProxies>,
    S3,
    EventBridge,
    Arc<Host>,
    Gateway,
    Vec<Poller>,
);

/// What remains to be started when the tables exist.
struct Rest<'a> {
    options: &'a Options,
    template: &'a Template,
    data_folder: &'a DataFolder,
    endpoints: &'a Endpoints,
}

impl Rest<'_> {
    async fn start(
        &self,
        api: TcpListener,
        s3: TcpListener,
        events: TcpListener,
    ) -> Result<Started, LocalStackError> {
        let (template, endpoints) = (self.template, self.endpoints);
        let proxies = match self.options.faults {
            Some(spec) => Some(FaultProxies::start(spec, &template.tables, endpoints).await?),
            None => None,
        };
        let queues = queue::open_all(
            &template.queues,
            self.data_folder.queues().as_deref(),
            Clock::start(),
        )?;
        let host = Host::start(
            &template.functions,
            self.options.invoke.as_deref(),
            |function| {
                let mut environment: HashMap<_, _> =
                    function.environment.clone().into_iter().collect();
                environment.extend(match &proxies {
                    Some(proxies) => proxies.variables_of(function, endpoints),
                    None => lambda_variables(endpoints),
                });
                environment.insert("AWS_LAMBDA_FUNCTION_NAME".to_owned(), function.name.clone());
                environment
            },
        )?;
        let host = Arc::new(host);
        let (buckets, announced) = (&template.buckets, queues.clone());
        let s3 = match &self.options.engines {
            Some(engines) => S3::elsewhere(s3, &engines.s3, buckets, announced).await?,
            None => S3::start(s3, &self.data_folder.objects(), buckets, announced)?,
        };
        let events = EventBridge::start(
            events,
            &self.data_folder.event_log(),
            self.options.events_to.as_deref(),
        )?;
        forget_dead_runs(&setup_for(template, endpoints)).await?;
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
        Ok((proxies, s3, events, host, gateway, pollers))
    }
}

/// Releases the leases of earlier runs: none can be active when the local stack has just started. A
/// template without batches or exports has none.
async fn forget_dead_runs(setup: &Setup) -> Result<(), LocalStackError> {
    if let Ok(batches) = Batches::from_setup(setup) {
        batches.release_all().await?;
    }
    if let Ok(exports) = Exports::from_setup(setup) {
        exports.release_all().await?;
    }
    Ok(())
}
