//! What a function is given when it starts: its settings, and clients for the AWS
//! services it uses.
//!
//! Settings are the environment variables that template.yaml declares. They are
//! passed as a value rather than read from the process, so that many functions can
//! run in one process (the local machine, a test) with settings of their own.

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

use crate::phone::DefaultRegion;

/// How long one attempt of a request to DynamoDB or S3 may take before it is given up.
/// The ingest lease is several times as long, so that no request outlives it.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

/// How often a request is tried in all while somebody waits for the answer; the SDK's default.
pub const ATTEMPTS: u32 = 3;

/// The longest wait before a request is tried again for the first time; the SDK's default.
/// Each further one is at most twice as long.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How long opening a connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A setting is missing or unusable; the function can't start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The variable isn't set.
    #[error("the environment variable {0} is not set")]
    Missing(String),
    /// The variable has a value that means nothing.
    #[error("the environment variable {name} has the value {value:?}: {reason}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// Why that won't do.
        reason: String,
    },
}

/// The settings of one function, by name.
#[derive(Debug, Clone)]
pub struct Setup {
    vars: HashMap<String, String>,
    attempts: u32,
    first_wait: Duration,
    /// What all clients of these settings send by. Empty until the first is made: a function
    /// without one pays nothing for it.
    http: Arc<OnceLock<SharedHttpClient>>,
}

impl Setup {
    /// Settings given by the caller.
    #[must_use]
    pub fn new(vars: HashMap<String, String>) -> Self {
        Self {
            vars,
            attempts: ATTEMPTS,
            first_wait: FIRST_WAIT,
            http: Arc::default(),
        }
    }

    /// The same settings, for clients that try a request this many times in all, and wait
    /// at most `first_wait` before the second.
    #[must_use]
    pub fn with_retries(&self, attempts: u32, first_wait: Duration) -> Self {
        Self {
            vars: self.vars.clone(),
            attempts,
            first_wait,
            http: Arc::clone(&self.http),
        }
    }

    /// The settings of this process: what Lambda gives a function.
    #[must_use]
    pub fn from_process() -> Self {
        Self::new(std::env::vars().collect())
    }

    /// A setting the function can't do without.
    ///
    /// # Errors
    /// [`SetupError::Missing`] where it is unset or empty.
    pub fn required(&self, name: &str) -> Result<&str, SetupError> {
        self.optional(name)
            .ok_or_else(|| SetupError::Missing(name.to_owned()))
    }

    /// A setting with a default; an empty value counts as unset.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.vars
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    /// The country of phone numbers without a country code (`DEFAULT_REGION`).
    ///
    /// # Errors
    /// Where it is missing or no country.
    pub fn default_region(&self) -> Result<DefaultRegion, SetupError> {
        let text = self.required("DEFAULT_REGION")?;
        text.parse()
            .map_err(|error: crate::phone::UnknownRegion| SetupError::Invalid {
                name: "DEFAULT_REGION",
                value: text.to_owned(),
                reason: error.to_string(),
            })
    }

    /// The write units a second that one batch may take at most
    /// (`MAX_WRITE_UNITS_PER_SECOND`); `None` where it is unset or 0.
    ///
    /// # Errors
    /// Where it is no whole number.
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

    /// The largest file that an upload may announce, in bytes (`MAX_UPLOAD_BYTES`).
    ///
    /// # Errors
    /// Where it is missing or no whole number.
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

    /// A client for DynamoDB. `AWS_ENDPOINT_URL_DYNAMODB` points it elsewhere than at AWS.
    ///
    /// # Errors
    /// Where the region or the credentials are missing.
    pub fn dynamodb(&self) -> Result<aws_sdk_dynamodb::Client, SetupError> {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region()?)
            .credentials_provider(self.credentials()?)
            .http_client(self.http())
            .retry_config(self.retries())
            .timeout_config(timeouts());
        if let Some(url) = self.endpoint("AWS_ENDPOINT_URL_DYNAMODB") {
            config = config.endpoint_url(url);
        }
        Ok(aws_sdk_dynamodb::Client::from_conf(config.build()))
    }

    /// A client for S3. `AWS_ENDPOINT_URL_S3` points it elsewhere than at AWS, and
    /// then buckets are addressed by path: a machine of one's own has no DNS for them.
    ///
    /// # Errors
    /// Where the region or the credentials are missing.
    pub fn s3(&self) -> Result<aws_sdk_s3::Client, SetupError> {
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region()?)
            .credentials_provider(self.credentials()?)
            .http_client(self.http())
            .retry_config(self.retries())
            .timeout_config(timeouts());
        if let Some(url) = self.endpoint("AWS_ENDPOINT_URL_S3") {
            config = config.endpoint_url(url).force_path_style(true);
        }
        Ok(aws_sdk_s3::Client::from_conf(config.build()))
    }

    /// Where the URLs of uploads lead, as `https://host`: what a page that sends there has to
    /// be allowed to reach. The S3 client has it from its own rules, so the template says it
    /// (`UPLOAD_ORIGIN`), unless the client is pointed elsewhere.
    ///
    /// # Errors
    /// Where it is missing.
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

    /// Lambda puts the credentials of the function's role into its environment, where
    /// they outlive the sandbox: no chain of providers is needed, nor its start-up time.
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

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// Connections, kept and shared. The SDKs' own client would be one for each of a function's
/// tables, and each would read the system's certificates twice before its first request. *ring*
/// does the cryptography in a third of the space that the SDKs' default takes.
fn http() -> SharedHttpClient {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT);
    let connector = Connector::builder()
        .connector_settings(settings.build())
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build();
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}
