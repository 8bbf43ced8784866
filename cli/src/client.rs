//! A small client of the REST API: batches, exports, and the API's errors.
//!
//! Fields that this command does not show are not read, and fields that an older or newer system
//! omits have defaults: the contract grows by adding.

mod batch;
mod error;
mod export;

use std::time::Duration;

use mpulse_local::http_client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;

use crate::credential::Credential;

pub use batch::*;
pub use error::*;
pub use export::*;

/// The timeout of opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout of a REST call: slightly more than API Gateway waits for a function.
const CALL_TIMEOUT: Duration = Duration::from_secs(35);

/// The header that makes a repeated call return the first response.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Calls the API with one key.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    credential: Credential,
}

impl Client {
    /// Creates a client of the API at `base`: an http or https URL, perhaps with a path (a stage).
    ///
    /// # Errors
    /// Returns an error if the system has no certificates.
    pub fn new(base: &Url, credential: Credential) -> Result<Self, ClientError> {
        let builder = || {
            let builder = http_client::builder().connect_timeout(CONNECT_TIMEOUT);
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

    /// Returns the HTTP client, to send requests without the key.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Returns the key.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Creates a batch. A call that is repeated with the same key returns the same batch.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn create_batch(&self, batch: &NewBatch, key: &str) -> Result<Created, ClientError> {
        let body = serde_json::to_vec(batch).expect("texts and numbers are always JSON");
        let request = self.request(Method::POST, "/api/members/batch", Some(body));
        self.answer(request.header(IDEMPOTENCY_KEY, key)).await
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn batch(&self, id: &str) -> Result<Batch, ClientError> {
        self.call(Method::GET, &format!("/api/members/batch/{id}"), None)
            .await
    }

    /// Reads parts of a batch's file, starting with a number, each with a URL.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn parts(&self, id: &str, from: u64, most: u64) -> Result<PartPage, ClientError> {
        let path = format!("/api/members/batch/{id}/parts?from={from}&limit={most}&urls=all");
        self.call(Method::GET, &path, None).await
    }

    /// Completes the upload of a batch's file.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn complete(&self, id: &str) -> Result<Batch, ClientError> {
        let path = format!("/api/members/batch/{id}/complete");
        self.call(Method::POST, &path, None).await
    }

    /// Creates the batch that applies a dry run.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn apply(&self, id: &str) -> Result<Batch, ClientError> {
        let path = format!("/api/members/batch/{id}/apply");
        self.call(Method::POST, &path, None).await
    }

    /// Creates the batch that takes back the changes of another.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn revert(&self, id: &str) -> Result<Batch, ClientError> {
        let path = format!("/api/members/batch/{id}/revert");
        self.call(Method::POST, &path, None).await
    }

    /// Returns the signed URL of a batch's report of changes.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn changes(&self, id: &str) -> Result<ReportUrl, ClientError> {
        let path = format!("/api/members/batch/{id}/changes");
        self.call(Method::GET, &path, None).await
    }

    /// Creates an export.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn create_export(&self, export: &NewExport) -> Result<Export, ClientError> {
        let body = serde_json::to_vec(export).expect("texts are always JSON");
        self.call(Method::POST, "/api/exports", Some(body)).await
    }

    /// Reads an export.
    ///
    /// # Errors
    /// Returns [`ClientError`] without a retry.
    pub async fn export(&self, id: &str) -> Result<Export, ClientError> {
        self.call(Method::GET, &format!("/api/exports/{id}"), None)
            .await
    }

    /// Resolves a URL of the API, which may be relative.
    pub fn resolve(&self, link: &str) -> String {
        self.base
            .join(link)
            .map_or_else(|_| link.to_owned(), String::from)
    }

    /// Returns the URL of the report of rejected rows.
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
        self.answer(self.request(method, path, body)).await
    }

    fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> RequestBuilder {
        let request = self
            .http
            .request(method, self.url(path))
            .timeout(CALL_TIMEOUT)
            .basic_auth(&self.credential.id, Some(&self.credential.secret))
            .header(ACCEPT, format!("application/json, {PROBLEM_JSON}"));
        match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body),
            None => request,
        }
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let origin = self.base.origin().ascii_serialization();
        let lost = |source: reqwest::Error| ClientError::Connection {
            origin: origin.clone(),
            source: source.without_url(),
        };
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let body = response.bytes().await.map_err(lost)?;
        if !status.is_success() {
            return Err(refusal(origin, status, &body));
        }
        serde_json::from_slice(&body).map_err(|source| ClientError::Unreadable { origin, source })
    }
}

/// Returns whether the URL's host is this computer, by its name.
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
    use reqwest::StatusCode;
    use serde_json::json;

    use super::*;

    fn client(base: &str) -> Client {
        let credential = "admin:secret".parse().unwrap();
        Client::new(&base.parse().unwrap(), credential).unwrap()
    }

    #[test]
    fn a_batch_is_read_according_to_the_contract() {
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
            panic!("it is sent by one request");
        };
        assert_eq!(request.headers["content-type"], "text/csv");
    }

    #[test]
    fn an_upload_in_parts_has_their_number() {
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
    fn a_batch_may_omit_fields() {
        let batch: Batch =
            serde_json::from_value(json!({"batch_id": "1", "status": "new-word"})).unwrap();
        assert!(!batch.has_ended());
        assert_eq!(batch.problem_text(), None);
    }

    #[test]
    fn a_dry_run_is_read_according_to_the_contract() {
        let batch: Batch = serde_json::from_value(json!({
            "batch_id": "01K", "status": "completed", "mode": "replace", "dry_run": true, "changes": true,
            "removal": {"limit": "10%", "despite_unreadable_rows": false}, "applied_by": null,
            "rows": {"read": 5, "absent": 2, "created": 1, "updated": 1, "unchanged": 3, "superseded": 0,
                     "rejected": 0, "removed": 2},
            "links": {"self": "/b", "rejects": null, "parts": null, "changes": "/b/changes",
                      "apply": "/b/apply", "revert": null},
        }))
        .unwrap();
        assert!(batch.is_plan() && batch.may_remove());
        assert_eq!((batch.rows.absent, batch.rows.changed()), (2, 4));
        assert!(batch.links.changes.is_some() && batch.links.apply.is_some());
        assert_eq!(batch.links.revert, None);
    }

    #[test]
    fn the_problem_of_a_batch_is_a_sentence() {
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
    fn a_problem_lists_the_fields() {
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
    fn a_gateway_error_is_quoted_and_transient() {
        let error = refusal(
            "http://x".into(),
            StatusCode::SERVICE_UNAVAILABLE,
            b"{\"message\":\n  \"busy\"}",
        );
        assert_eq!(
            error.to_string(),
            "http://x responded with 503 Service Unavailable: {\"message\": \"busy\"}"
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
    fn loopback_hosts_are_recognised_by_name() {
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
