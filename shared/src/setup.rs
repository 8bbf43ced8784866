//! The settings of a function, and clients for the AWS services that it uses.
//!
//! Settings are the environment variables that template.yaml declares. They are passed as a value,
//! not read from the process, so that several functions can run in one process (the local stack, a
//! test), each with its own settings.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient,
};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use thiserror::Error;

use crate::member::Rules;
use crate::phone::{DefaultRegion, UnknownRegion};

/// The timeout of one attempt of a request to DynamoDB or S3. The ingest lease is several times as
/// long, so that no request outlives it.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

/// The number of attempts of a request while a client waits; the SDK's default.
pub const ATTEMPTS: u32 = 3;

/// The longest wait before the second attempt; the SDK's default. Each further wait is at most
/// twice as long.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The timeout of opening a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A setting is missing or invalid; the function cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Missing(String),
    /// The variable has an invalid value.
    #[error("the environment variable {name} has the value {value:?}: {reason}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why it is invalid.
        reason: String,
    },
}

/// The settings of one function, by name.
#[derive(Debug, Clone)]
pub struct Setup {
    vars: HashMap<String, String>,
    attempts: u32,
    first_wait: Duration,
    /// The HTTP client that all AWS clients of these settings share. It is created with the first of
    /// them, so a function without one does not spend time on it.
    http: Arc<OnceLock<SharedHttpClient>>,
}

/// The configuration of an SDK's client, with the region, credentials, HTTP client, retries and timeouts of the settings, and
/// the endpoint that a variable sets. Each SDK has a type of its own for it.
macro_rules! client_config {
    ($setup:expr, $sdk:ident, $endpoint:expr) => {{
        let config = $sdk::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region($setup.region()?)
            .credentials_provider($setup.credentials()?)
            .http_client($setup.http())
            .retry_config($setup.retries())
            .timeout_config(timeouts());
        match $setup.endpoint($endpoint) {
            Some(url) => config.endpoint_url(url),
            None => config,
        }
    }};
}

impl Setup {
    /// Creates settings from variables.
    #[must_use]
    pub fn new(vars: HashMap<String, String>) -> Self {
        Self {
            vars,
            attempts: ATTEMPTS,
            first_wait: FIRST_WAIT,
            http: Arc::default(),
        }
    }

    /// Returns the same settings for clients that make at most `attempts` attempts and wait at most
    /// `first_wait` before the second.
    #[must_use]
    pub fn with_retries(&self, attempts: u32, first_wait: Duration) -> Self {
        Self {
            vars: self.vars.clone(),
            attempts,
            first_wait,
            http: Arc::clone(&self.http),
        }
    }

    /// Returns the settings of this process: the environment that Lambda provides.
    #[must_use]
    pub fn from_process() -> Self {
        Self::new(std::env::vars().collect())
    }

    /// Returns a required setting.
    ///
    /// # Errors
    /// Returns [`SetupError::Missing`] if it is unset or empty.
    pub fn required(&self, name: &str) -> Result<&str, SetupError> {
        self.optional(name)
            .ok_or_else(|| SetupError::Missing(name.to_owned()))
    }

    /// Returns an optional setting; an empty value counts as unset.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.vars
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    /// Returns the maximum write units per second of one batch (`MAX_WRITE_UNITS_PER_SECOND`);
    /// `None` if it is unset or 0.
    ///
    /// # Errors
    /// Returns an error if it is not a whole number.
    pub fn max_write_units_per_second(&self) -> Result<Option<f64>, SetupError> {
        const NAME: &str = "MAX_WRITE_UNITS_PER_SECOND";
        let Some(text) = self.optional(NAME) else {
            return Ok(None);
        };
        let units: u32 = text.parse().map_err(|error| SetupError::Invalid {
            name: NAME,
            value: text.to_owned(),
            reason: format!("not a whole number: {error}"),
        })?;
        Ok((units > 0).then(|| f64::from(units)))
    }

    /// Returns the largest file size that an upload may announce, in bytes (`MAX_UPLOAD_BYTES`).
    ///
    /// # Errors
    /// Returns an error if it is missing or not a whole number.
    pub fn max_upload_bytes(&self) -> Result<u64, SetupError> {
        const NAME: &str = "MAX_UPLOAD_BYTES";
        let text = self.required(NAME)?;
        text.parse()
            .map_err(|error: std::num::ParseIntError| SetupError::Invalid {
                name: NAME,
                value: text.to_owned(),
                reason: error.to_string(),
            })
    }

    /// Creates a client for DynamoDB. `AWS_ENDPOINT_URL_DYNAMODB` sets another endpoint than AWS.
    ///
    /// # Errors
    /// Returns an error if the region or the credentials are missing.
    pub fn dynamodb(&self) -> Result<aws_sdk_dynamodb::Client, SetupError> {
        let config = client_config!(self, aws_sdk_dynamodb, "AWS_ENDPOINT_URL_DYNAMODB");
        Ok(aws_sdk_dynamodb::Client::from_conf(config.build()))
    }

    /// Creates a client for DynamoDB that sends each request once, for a caller that repeats requests by itself.
    ///
    /// # Errors
    /// Returns an error if the region or the credentials are missing.
    pub fn dynamodb_without_retries(&self) -> Result<aws_sdk_dynamodb::Client, SetupError> {
        let config = client_config!(self, aws_sdk_dynamodb, "AWS_ENDPOINT_URL_DYNAMODB")
            .retry_config(RetryConfig::disabled());
        Ok(aws_sdk_dynamodb::Client::from_conf(config.build()))
    }

    /// Creates a client for S3. `AWS_ENDPOINT_URL_S3` sets another endpoint than AWS, and buckets
    /// are then addressed by path, because a local endpoint has no DNS names for them.
    ///
    /// # Errors
    /// Returns an error if the region or the credentials are missing.
    pub fn s3(&self) -> Result<aws_sdk_s3::Client, SetupError> {
        const ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";
        let mut config = client_config!(self, aws_sdk_s3, ENDPOINT);
        if self.endpoint(ENDPOINT).is_some() {
            config = config.force_path_style(true);
        }
        Ok(aws_sdk_s3::Client::from_conf(config.build()))
    }

    /// Creates a client for EventBridge. `AWS_ENDPOINT_URL_EVENTBRIDGE` sets another endpoint than AWS.
    ///
    /// # Errors
    /// Returns an error if the region or the credentials are missing.
    pub fn eventbridge(&self) -> Result<aws_sdk_eventbridge::Client, SetupError> {
        let config = client_config!(self, aws_sdk_eventbridge, "AWS_ENDPOINT_URL_EVENTBRIDGE");
        Ok(aws_sdk_eventbridge::Client::from_conf(config.build()))
    }

    /// Returns the origin of upload URLs, as `https://host`, which a page that uploads must be
    /// allowed to reach. The S3 client does not expose it, so the template sets it
    /// (`UPLOAD_ORIGIN`), unless there is another endpoint.
    ///
    /// # Errors
    /// Returns an error if it is missing.
    pub fn upload_origin(&self) -> Result<&str, SetupError> {
        match self.endpoint("AWS_ENDPOINT_URL_S3") {
            Some(url) => Ok(url),
            None => self.required("UPLOAD_ORIGIN"),
        }
    }

    fn http(&self) -> SharedHttpClient {
        self.http.get_or_init(http).clone()
    }

    fn retries(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.attempts)
            .with_initial_backoff(self.first_wait)
    }

    fn endpoint(&self, service: &str) -> Option<&str> {
        self.optional(service)
            .or_else(|| self.optional("AWS_ENDPOINT_URL"))
    }

    fn region(&self) -> Result<Region, SetupError> {
        Ok(Region::new(self.required("AWS_REGION")?.to_owned()))
    }

    /// Lambda provides the credentials of the function's role in the environment, and they outlive
    /// the sandbox, so no chain of providers is needed.
    fn credentials(&self) -> Result<SharedCredentialsProvider, SetupError> {
        Ok(SharedCredentialsProvider::new(Credentials::new(
            self.required("AWS_ACCESS_KEY_ID")?,
            self.required("AWS_SECRET_ACCESS_KEY")?,
            self.optional("AWS_SESSION_TOKEN").map(str::to_owned),
            None,
            "environment",
        )))
    }
}

/// A value that is created from a function's settings, once, before the first request: a store, a
/// setting, or a tuple of them.
pub trait FromSetup: Sized {
    /// Creates the value.
    ///
    /// # Errors
    /// Returns an error if a setting is missing or invalid.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError>;
}

impl FromSetup for () {
    fn from_setup(_setup: &Setup) -> Result<Self, SetupError> {
        Ok(())
    }
}

impl<T: FromSetup> FromSetup for Arc<T> {
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        T::from_setup(setup).map(Self::new)
    }
}

macro_rules! tuple_from_setup {
    ($($type:ident),+) => {
        impl<$($type: FromSetup),+> FromSetup for ($($type,)+) {
            fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
                Ok(($($type::from_setup(setup)?,)+))
            }
        }
    };
}

tuple_from_setup!(A, B);
tuple_from_setup!(A, B, C);
tuple_from_setup!(A, B, C, D);

impl FromSetup for DefaultRegion {
    /// Returns the country of phone numbers without a country code (`DEFAULT_REGION`).
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        let text = setup.required("DEFAULT_REGION")?;
        text.parse()
            .map_err(|error: UnknownRegion| SetupError::Invalid {
                name: "DEFAULT_REGION",
                value: text.to_owned(),
                reason: error.to_string(),
            })
    }
}

impl FromSetup for Rules {
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            region: DefaultRegion::from_setup(setup)?,
        })
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// Returns an HTTP client whose connections are shared. Without it, the SDKs would create one client
/// for each table, and each would read the system's certificates twice before its first request.
/// *ring* has a third of the size of the SDKs' default cryptography.
fn http() -> SharedHttpClient {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT);
    let connector = Connector::builder()
        .connector_settings(settings.build())
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build();
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}
