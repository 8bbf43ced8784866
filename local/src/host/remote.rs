//! Functions elsewhere: Lambda's Invoke API, as `cargo lambda watch` serves it.

use reqwest::{Client, Url};
use serde_json::Value;

use crate::http_client;

use super::{HostError, InvokeError, read_answer};

/// The address of one function.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    client: Client,
    url: Url,
}

impl Remote {
    /// Creates the address of function `binary` at `base`.
    pub(super) fn new(base: &str, binary: &str) -> Result<Self, HostError> {
        let unusable = |reason: String| HostError::Url {
            url: base.to_owned(),
            reason,
        };
        let base_url = base.trim_end_matches('/');
        let url = format!("{base_url}/2015-03-31/functions/{binary}/invocations");
        Ok(Self {
            client: http_client::builder()
                .no_proxy()
                .build()
                .map_err(|e| unusable(e.to_string()))?,
            url: Url::parse(&url).map_err(|e| unusable(e.to_string()))?,
        })
    }

    /// Runs it once.
    pub(super) async fn run(self, event: String) -> Result<Value, InvokeError> {
        let unreachable = |e: reqwest::Error| InvokeError::Unreachable(e.to_string());
        let request = self.client.post(self.url).body(event);
        let answer = request
            .header("content-type", "application/json")
            .send()
            .await
            .map_err(unreachable)?;
        let status = answer.status();
        let failed = answer.headers().contains_key("x-amz-function-error");
        let body = answer.bytes().await.map_err(unreachable)?;
        if failed || !status.is_success() {
            return Err(InvokeError::Failed(format!("status {status}")));
        }
        read_answer(&body)
    }
}
