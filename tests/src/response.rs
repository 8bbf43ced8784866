//! Responses of the API, read to their end and checked.

use std::time::Duration;

use mpulse_local::http_client;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, redirect};
use serde_json::Value;

/// The longest wait for anything.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Returns a client that does not follow redirects.
#[must_use]
pub fn client() -> Client {
    http_client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .expect("a client")
}

/// Sends a request and reads the whole response.
pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.expect("a whole answer").to_vec();
    Answer {
        status,
        headers,
        body,
    }
}

/// A response with its body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns a header; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a header is text"))
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// Returns the body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Checks the status.
    #[track_caller]
    pub fn expect(&self, status: u16) {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
    }

    /// Checks that the response is this problem, and returns it.
    #[expect(clippy::must_use_candidate, reason = "often only the kind is checked")]
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for name in ["title", "detail"] {
            assert!(!text(&problem[name]).is_empty(), "{name} of {problem}");
        }
        problem
    }

    /// Returns the errors of a 400 as (field, code), sorted.
    #[must_use]
    #[track_caller]
    pub fn faults(&self) -> Vec<(String, String)> {
        let problem = self.problem(400, "invalid-fields");
        let mut faults: Vec<_> = problem["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|error| {
                assert!(!text(&error["message"]).is_empty(), "{error}");
                (
                    text(&error["field"]).to_owned(),
                    text(&error["code"]).to_owned(),
                )
            })
            .collect();
        faults.sort();
        faults
    }
}

/// Returns a JSON string.
#[track_caller]
#[must_use]
pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a text"))
}

/// Returns a JSON number that is a count.
#[track_caller]
#[must_use]
pub fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is not a count"))
}

/// Returns whether a batch has ended.
#[must_use]
pub fn has_ended(batch: &Value) -> bool {
    [
        "completed",
        "completed_with_rejects",
        "failed",
        "cancelled",
        "expired",
    ]
    .contains(&text(&batch["status"]))
}
