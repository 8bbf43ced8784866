//! The local stack's EventBridge: it accepts `PutEvents`, and appends each event to a file as the JSON
//! that EventBridge delivers to a rule's target, one event a line.
//!
//! With a URL, every event is also sent there by POST, in order, again and again until the response is 2xx,
//! as an API destination does. The position of the next event to send is saved in a file beside the
//! log, so a killed process loses none and may send one twice.

mod forward;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::serve::Server;
use crate::template::{ACCOUNT_ID, REGION};
use crate::uuid::uuid;
use forward::Forwarder;

/// The maximum number of events of a request (EventBridge).
const MAX_ENTRIES: usize = 10;
/// The maximum size of a request in bytes (EventBridge: 1 MB).
const MAX_BYTES: usize = 1 << 20;
/// The only operation.
const PUT_EVENTS: &str = "AWSEvents.PutEvents";

/// Events cannot be logged or sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventBridgeError {
    /// The log cannot be used.
    #[error("the event log {path} cannot be used")]
    Log {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The URL to send events to is invalid.
    #[error("events cannot be sent to {0}: it is not an http or https URL")]
    Url(String),
}

/// A running EventBridge.
#[derive(Debug)]
pub(crate) struct EventBridge {
    server: Server,
    forwarder: Option<Forwarder>,
}

/// The file of all events.
#[derive(Debug)]
struct Log {
    file: Mutex<File>,
    /// Wakes the forwarder.
    appended: Arc<Notify>,
}

impl EventBridge {
    /// Serves on `listener`, appends events to the file `path`, and sends them to the URL, if there is one.
    pub(crate) fn start(
        listener: TcpListener,
        path: &Path,
        forward_to: Option<&str>,
    ) -> Result<Self, EventBridgeError> {
        let failed = |source| EventBridgeError::Log {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let appended = Arc::new(Notify::new());
        let log = Arc::new(Log {
            file: Mutex::new(file.map_err(failed)?),
            appended: Arc::clone(&appended),
        });
        let forwarder = match forward_to {
            Some(url) => {
                let url = http_url(url).ok_or_else(|| EventBridgeError::Url(url.to_owned()))?;
                Some(Forwarder::start(path, url, appended).map_err(failed)?)
            }
            None => None,
        };
        let server = Server::start(listener, move |request, _: SocketAddr| {
            let log = Arc::clone(&log);
            async move { answer(&log, request).await }
        });
        Ok(Self { server, forwarder })
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
        if let Some(forwarder) = self.forwarder {
            forwarder.stop().await;
        }
    }
}

impl Log {
    /// Appends events. They are in the file when this returns.
    fn append(&self, events: &[Value]) -> io::Result<()> {
        let mut lines = String::new();
        for event in events {
            lines.push_str(&event.to_string());
            lines.push('\n');
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(lines.as_bytes())?;
        drop(file);
        self.appended.notify_one();
        Ok(())
    }
}

fn http_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    /// Seconds since 1970.
    time: Option<f64>,
}

async fn answer(log: &Log, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let target = request.headers().get("x-amz-target").cloned();
    if target.as_ref().and_then(|target| target.to_str().ok()) != Some(PUT_EVENTS) {
        let message = "The local stack supports only PutEvents.";
        return response(
            StatusCode::BAD_REQUEST,
            &json!({"__type": "UnknownOperationException", "message": message}),
        );
    }
    let invalid = |message: &str| {
        let body = json!({"__type": "ValidationException", "message": message});
        response(StatusCode::BAD_REQUEST, &body)
    };
    let Ok(body) = Limited::new(request.into_body(), MAX_BYTES).collect().await else {
        return invalid("The request is larger than 1 MB, or was cut off.");
    };
    let Ok(request) = serde_json::from_slice::<PutEvents>(&body.to_bytes()) else {
        return invalid("The request is not the JSON of PutEvents.");
    };
    if !(1..=MAX_ENTRIES).contains(&request.entries.len()) {
        return invalid("A request has 1 to 10 entries.");
    }
    let (mut events, mut results) = (Vec::new(), Vec::new());
    for entry in request.entries {
        match event(entry) {
            Ok((id, event)) => {
                events.push(event);
                results.push(json!({"EventId": id}));
            }
            Err((code, message)) => {
                results.push(json!({"ErrorCode": code, "ErrorMessage": message}));
            }
        }
    }
    if let Err(error) = log.append(&events) {
        tracing::error!(%error, "the event log cannot be written");
        let message = "The event log cannot be written.";
        return response(
            StatusCode::INTERNAL_SERVER_ERROR,
            &json!({"__type": "InternalException", "message": message}),
        );
    }
    let failed = results.len() - events.len();
    response(
        StatusCode::OK,
        &json!({"FailedEntryCount": failed, "Entries": results}),
    )
}

/// Returns an event as EventBridge delivers it, with its id; or the code and message of why it is invalid.
fn event(entry: Entry) -> Result<(String, Value), (&'static str, &'static str)> {
    let required = |text: Option<String>, message| {
        text.filter(|text| !text.is_empty())
            .ok_or(("InvalidArgument", message))
    };
    let source = required(entry.source, "Source is required.")?;
    let detail_type = required(entry.detail_type, "DetailType is required.")?;
    let detail = required(entry.detail, "Detail is required.")?;
    let detail: Value = serde_json::from_str(&detail)
        .ok()
        .filter(Value::is_object)
        .ok_or(("MalformedDetail", "Detail is not a JSON object."))?;
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a date")]
    let at = entry
        .time
        .and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
    let at = at.unwrap_or_else(Timestamp::now);
    let id = uuid();
    let event = json!({
        "version": "0",
        "id": id,
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT_ID,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": REGION,
        "resources": entry.resources,
        "detail": detail,
    });
    Ok((id, event))
}

fn response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-amz-json-1.1"),
    );
    response
}
