//! A small client of the REST API: batches, and errors as the API words them.
//!
//! Fields that this command doesn't show are not read, and ones that an older or newer
//! system leaves out have defaults: the contract grows by adding.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::credential::Credential;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a REST call may take: as long as API Gateway waits for a function, and a little.
const CALL_TIMEOUT: Duration = Duration::from_secs(35);

/// Characters of an answer that isn't ours which an error repeats.
const EXCERPT: usize = 300;

/// The media type of a problem (RFC 9457).
const PROBLEM_JSON: &str = "application/problem+json";

/// What a new batch is told.
#[derive(Debug, Serialize)]
pub struct NewBatch {
    /// What the file is called here.
    pub file_name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it comes in parts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub multipart: bool,
    /// The account of rows that don't say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// What is done with rows whose member exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// The batch whose report was corrected to make this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_batch_id: Option<String>,
}

/// A batch, as far as this command shows it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Batch {
    /// Its id.
    #[serde(rename = "batch_id")]
    pub id: String,
    /// Where it is in its life; a word, since later versions may add some.
    pub status: String,
    /// Bytes read.
    #[serde(default)]
    pub bytes: Bytes,
    /// Rows by outcome.
    #[serde(default)]
    pub rows: Rows,
    /// Its pace; that of the whole batch once it has ended.
    #[serde(default)]
    pub rows_per_second: Option<f64>,
    /// Time left, in seconds.
    #[serde(default)]
    pub eta_seconds: Option<f64>,
    /// Runs begun.
    #[serde(default)]
    pub attempts: u32,
    /// What its reads and writes cost, by the list price.
    #[serde(default)]
    pub price: Option<Price>,
    /// Columns of the file that mean nothing to the registry.
    #[serde(default)]
    pub ignored_columns: Vec<String>,
    /// Why it failed.
    #[serde(default)]
    pub problem: Option<serde_json::Value>,
    /// Where more is to be had.
    #[serde(default)]
    pub links: Links,
}

/// How much of a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Bytes {
    /// The file's size, if it is known.
    #[serde(default)]
    pub total: Option<u64>,
    /// Bytes read.
    #[serde(default)]
    pub done: Option<u64>,
}

/// Rows by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rows {
    /// Rows of the file.
    pub read: u64,
    /// Members that were new.
    pub created: u64,
    /// Members that differed.
    pub updated: u64,
    /// Members that were the same already.
    pub unchanged: u64,
    /// Rows older than what stands.
    pub superseded: u64,
    /// Rows refused.
    pub rejected: u64,
}

/// An estimated price.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Price {
    /// US dollars.
    pub usd: f64,
    /// Whose prices they are.
    #[serde(default)]
    pub region: String,
}

/// Addresses that a batch names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Links {
    /// The report of refused rows.
    pub rejects: Option<String>,
    /// The parts of its file, while they are awaited.
    pub parts: Option<String>,
}

impl Batch {
    /// Whether nothing more will happen to it.
    pub fn has_ended(&self) -> bool {
        self.is_complete() || matches!(&*self.status, "failed" | "cancelled" | "expired")
    }

    /// Whether every row was read and dealt with.
    pub fn is_complete(&self) -> bool {
        matches!(&*self.status, "completed" | "completed_with_rejects")
    }

    /// Whether it still has no file.
    pub fn awaits_upload(&self) -> bool {
        self.status == "awaiting_upload"
    }

    /// Why it failed, in words.
    pub fn problem_text(&self) -> Option<String> {
        let problem = self.problem.as_ref().filter(|value| !value.is_null())?;
        let word = |name: &str| problem.get(name)?.as_str();
        let text = word("message")
            .or_else(|| word("detail"))
            .or_else(|| word("title"));
        Some(match (text.or_else(|| problem.as_str()), word("code")) {
            (Some(text), Some(code)) => format!("{text} ({code})"),
            (Some(text), None) => text.to_owned(),
            (None, _) => problem.to_string(),
        })
    }
}

/// A batch that was just opened.
#[derive(Debug, Deserialize)]
pub struct Created {
    /// The batch.
    #[serde(flatten)]
    pub batch: Batch,
    /// How to send its file.
    pub upload: Upload,
}

/// How a file is sent.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Upload {
    /// By one request.
    Whole(Request),
    /// In parts.
    InParts {
        /// How many.
        part_count: u64,
    },
}

/// Some of the parts of a file.
#[derive(Debug, Deserialize)]
pub struct PartPage {
    /// How many the file has.
    pub part_count: u64,
    /// These.
    pub results: Vec<Part>,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    #[serde(rename = "part_number")]
    pub number: u64,
    /// The byte of the file that it begins at.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    /// S3's ETag of it, where it has arrived.
    pub etag: Option<String>,
    /// Where to send it; its signature is good for this part, for a while.
    pub url: Option<String>,
}

/// The one request that a file is sent with.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// PUT.
    pub method: String,
    /// Where to; its signature is good for one object, for a while.
    pub url: String,
    /// What the signature wants to be said.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// An error in the API's words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    title: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<FieldProblem>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct FieldProblem {
    field: String,
    #[serde(default)]
    code: String,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if let Some(detail) = self.detail.as_deref().filter(|detail| !detail.is_empty()) {
            write!(f, ": {detail}")?;
        }
        for FieldProblem {
            field,
            code,
            message,
        } in &self.errors
        {
            write!(f, "\n  {field}: {message}")?;
            if !code.is_empty() {
                write!(f, " ({code})")?;
            }
        }
        Ok(())
    }
}

/// A call that didn't give what was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody to send requests with.
    #[error("can't set up HTTP")]
    Build(#[source] reqwest::Error),
    /// No answer, or half of one.
    #[error("no answer from {origin}")]
    Connection {
        /// Who was asked.
        origin: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// An error from the API.
    #[error("{status}: {problem}")]
    Problem {
        /// The HTTP status.
        status: StatusCode,
        /// What it says.
        problem: Problem,
    },
    /// An error from something else that answers HTTP.
    #[error("{origin} answered {status}: {excerpt}")]
    Status {
        /// Who answered.
        origin: String,
        /// The HTTP status.
        status: StatusCode,
        /// How the answer begins.
        excerpt: String,
    },
    /// A success whose body is not what the contract says.
    #[error("{origin} answered with something that isn't mPulse's")]
    Unreadable {
        /// Who answered.
        origin: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// Whether the same call may well succeed in a moment: the machine is being started
    /// again, or the cloud is busy.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Problem { status, .. } | Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Build(_) | Self::Unreadable { .. } => false,
        }
    }
}

/// Calls the API with one key.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    credential: Credential,
}

impl Client {
    /// A client of the API at `base`: an http or https URL, perhaps with a path (a stage).
    ///
    /// # Errors
    /// Where there are no certificates to trust.
    pub fn new(base: &Url, credential: Credential) -> Result<Self, ClientError> {
        let builder = || {
            let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
            if is_this_machine(base) {
                builder.no_proxy()
            } else {
                builder
            }
        };
        let http = match builder().build() {
            // Without certificates (a bare container) plain http still works.
            Err(_) if base.scheme() == "http" => builder().tls_certs_only([]).build(),
            built => built,
        };
        Ok(Self {
            http: http.map_err(ClientError::Build)?,
            base: base.clone(),
            credential,
        })
    }

    /// Sends requests without the key, over the same connections.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The key in use.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Opens a batch.
    ///
    /// # Errors
    /// [`ClientError`] as it comes; nothing is tried again.
    pub async fn create_batch(&self, batch: &NewBatch) -> Result<Created, ClientError> {
        let body = serde_json::to_vec(batch).expect("texts and numbers are always JSON");
        self.call(Method::POST, "/api/members/batch", Some(body))
            .await
    }

    /// Asks how far a batch is.
    ///
    /// # Errors
    /// [`ClientError`] as it comes; nothing is tried again.
    pub async fn batch(&self, id: &str) -> Result<Batch, ClientError> {
        self.call(Method::GET, &format!("/api/members/batch/{id}"), None)
            .await
    }

    /// Asks for parts of a batch's file, from that number on, each with a URL.
    ///
    /// # Errors
    /// [`ClientError`] as it comes; nothing is tried again.
    pub async fn parts(&self, id: &str, from: u64, most: u64) -> Result<PartPage, ClientError> {
        let path = format!("/api/members/batch/{id}/parts?from={from}&limit={most}&urls=all");
        self.call(Method::GET, &path, None).await
    }

    /// Says that all parts of a batch's file are sent.
    ///
    /// # Errors
    /// [`ClientError`] as it comes; nothing is tried again.
    pub async fn complete(&self, id: &str) -> Result<Batch, ClientError> {
        let path = format!("/api/members/batch/{id}/complete");
        self.call(Method::POST, &path, None).await
    }

    /// An address that the API named, as this side reaches it: perhaps it is relative.
    pub fn resolve(&self, link: &str) -> String {
        self.base
            .join(link)
            .map_or_else(|_| link.to_owned(), String::from)
    }

    /// The address of the report of refused rows.
    pub fn rejects_url(&self, batch: &Batch) -> String {
        match &batch.links.rejects {
            Some(link) => self.resolve(link),
            None => self.url(&format!("/api/members/batch/{}/rejects", batch.id)),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, ClientError> {
        let origin = self.base.origin().ascii_serialization();
        let lost = |source: reqwest::Error| ClientError::Connection {
            origin: origin.clone(),
            source: source.without_url(),
        };
        let mut request = self
            .http
            .request(method, self.url(path))
            .timeout(CALL_TIMEOUT)
            .basic_auth(&self.credential.id, Some(&self.credential.secret))
            .header(ACCEPT, format!("application/json, {PROBLEM_JSON}"));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let body = response.bytes().await.map_err(lost)?;
        if !status.is_success() {
            return Err(refusal(origin, status, &body));
        }
        serde_json::from_slice(&body).map_err(|source| ClientError::Unreadable { origin, source })
    }
}

/// What an answer that isn't a success says.
fn refusal(origin: String, status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice(body) {
        Ok(problem) => ClientError::Problem { status, problem },
        Err(_) => ClientError::Status {
            origin,
            status,
            excerpt: excerpt(body),
        },
    }
}

/// The beginning of a text that may be anything, on one line.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(EXCERPT).collect()
}

/// Whether the URL leads to this machine, by its text.
pub fn is_this_machine(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|ip| ip.is_loopback()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(base: &str) -> Client {
        let credential = "admin:secret".parse().unwrap();
        Client::new(&base.parse().unwrap(), credential).unwrap()
    }

    #[test]
    fn a_batch_is_read_as_the_contract_has_it() {
        let created: Created = serde_json::from_value(json!({
            "batch_id": "01K", "status": "awaiting_upload", "file_name": "members.csv",
            "bytes": {"total": 100, "done": 0, "percent": 0.0},
            "rows": {"read": 0, "created": 0, "updated": 0, "unchanged": 0, "superseded": 0, "rejected": 0},
            "rows_per_second": null, "eta_seconds": null, "problem": null, "ignored_columns": [],
            "links": {"self": "/api/members/batch/01K", "rejects": null},
            "upload": {"method": "PUT", "url": "http://127.0.0.1:9001/x",
                       "headers": {"content-type": "text/csv"}, "expires_at": "2026-11-23T18:06:00.000Z"}
        }))
        .unwrap();
        assert!(created.batch.awaits_upload() && !created.batch.has_ended());
        assert_eq!(created.batch.bytes.total, Some(100));
        let Upload::Whole(request) = created.upload else {
            panic!("it comes by one request");
        };
        assert_eq!(request.headers["content-type"], "text/csv");
    }

    #[test]
    fn an_upload_in_parts_is_told_by_their_number() {
        let upload = json!({"method": "PUT", "part_size": 8_388_608, "part_count": 38,
                            "parts": "/p", "complete": "/c", "expires_at": "…"});
        let upload: Upload = serde_json::from_value(upload).unwrap();
        assert!(matches!(upload, Upload::InParts { part_count: 38 }));
        let page: PartPage = serde_json::from_value(json!({
            "part_size": 5, "part_count": 1, "expires_at": "…", "next": null, "results": [
                {"part_number": 1, "offset": 0, "size": 5, "etag": null, "url": "http://x"}]
        }))
        .unwrap();
        assert_eq!(page.results[0].size, 5);
    }

    #[test]
    fn a_batch_may_say_little() {
        let batch: Batch =
            serde_json::from_value(json!({"batch_id": "1", "status": "new-word"})).unwrap();
        assert!(!batch.has_ended());
        assert_eq!(batch.problem_text(), None);
    }

    #[test]
    fn a_batch_s_problem_is_told_in_words() {
        let text = |problem| {
            let batch = Batch {
                problem: Some(problem),
                ..Batch::default()
            };
            batch.problem_text()
        };
        assert_eq!(
            text(json!({"code": "no_header", "message": "the file is empty"})).unwrap(),
            "the file is empty (no_header)"
        );
        assert_eq!(text(json!("plain")).unwrap(), "plain");
        assert_eq!(text(json!({"title": "Gone"})).unwrap(), "Gone");
        assert_eq!(text(json!(null)), None);
    }

    #[test]
    fn a_refusal_names_the_fields() {
        let body = json!({
            "type": "about:blank", "title": "Invalid", "status": 400, "detail": "1 field is wrong",
            "errors": [{"field": "mode", "code": "invalid_mode", "message": "is not a mode"}]
        });
        let error = refusal(
            "http://x".into(),
            StatusCode::BAD_REQUEST,
            body.to_string().as_bytes(),
        );
        assert_eq!(
            error.to_string(),
            "400 Bad Request: Invalid: 1 field is wrong\n  mode: is not a mode (invalid_mode)"
        );
        assert!(!error.is_transient());
    }

    #[test]
    fn what_a_gateway_says_is_cut_and_may_pass() {
        let error = refusal(
            "http://x".into(),
            StatusCode::SERVICE_UNAVAILABLE,
            b"{\"message\":\n  \"busy\"}",
        );
        assert_eq!(
            error.to_string(),
            "http://x answered 503 Service Unavailable: {\"message\": \"busy\"}"
        );
        assert!(error.is_transient());
        assert_eq!(excerpt(&[b'x'; 1000]).len(), EXCERPT);
    }

    #[test]
    fn links_are_resolved_against_the_api() {
        let stage = client("http://127.0.0.1:9000/prod/");
        assert_eq!(
            stage.url("/api/health"),
            "http://127.0.0.1:9000/prod/api/health"
        );
        assert_eq!(stage.resolve("/a/b"), "http://127.0.0.1:9000/a/b");
        assert_eq!(stage.resolve("https://y.example/a"), "https://y.example/a");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for url in [
            "http://127.0.0.1:9000",
            "http://localhost",
            "http://[::1]:80/",
        ] {
            assert!(is_this_machine(&url.parse().unwrap()), "{url}");
        }
        for url in [
            "https://api.example.com",
            "http://10.0.0.1",
            "http://localhost.example",
        ] {
            assert!(!is_this_machine(&url.parse().unwrap()), "{url}");
        }
    }
}
