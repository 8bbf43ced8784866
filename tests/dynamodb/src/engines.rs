//! How engines are called: each by its URL, with the headers of DynamoDB's protocol.

use serde_json::Value;

use crate::requests::Request;

/// A response: the HTTP status and the body.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The body, `Null` if it is not JSON.
    pub body: Value,
}

/// An engine that listens at a URL.
#[derive(Debug, Clone)]
pub struct Engine {
    http: reqwest::Client,
    url: String,
}

impl Engine {
    /// The engine at `url`.
    #[must_use]
    pub fn new(http: reqwest::Client, url: String) -> Self {
        Self { http, url }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Returns the connection's error.
    pub async fn call(&self, request: &Request) -> Result<Response, reqwest::Error> {
        let credentials = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                           SignedHeaders=host, Signature=0";
        let response = self
            .http
            .post(&self.url)
            .header("content-type", "application/x-amz-json-1.0")
            .header(
                "x-amz-target",
                format!("DynamoDB_20120810.{}", request.operation),
            )
            .header("authorization", credentials)
            .header("x-amz-date", "20260101T000000Z")
            .body(request.body.to_string())
            .send()
            .await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok(Response {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        })
    }
}
