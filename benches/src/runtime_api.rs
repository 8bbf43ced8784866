//! The Lambda Runtime API for one function: delivers events, and receives its responses.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::Error;
use crate::http_server::{self, Answer};

/// The prefix of all paths of the API.
const PREFIX: &str = "/2018-06-01/runtime/";

/// The function's name.
pub const FUNCTION: &str = "mpulse-bench-ingest";

/// A running Runtime API.
#[derive(Debug)]
pub struct RuntimeApi {
    /// Host and port, as in `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    events: mpsc::UnboundedSender<Invocation>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Invocation {
    id: String,
    event: String,
    deadline: SystemTime,
}

#[derive(Debug)]
struct Shared {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Result<Bytes, String>>>>,
    /// Notified when the function requests an event.
    polled: Notify,
}

impl RuntimeApi {
    /// Serves it on a free port.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub async fn start() -> Result<Self, Error> {
        let (events, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events: tokio::sync::Mutex::new(receiver),
            waiting: Mutex::default(),
            polled: Notify::new(),
        });
        let of_server = Arc::clone(&shared);
        let address = http_server::serve(move |request| {
            let shared = Arc::clone(&of_server);
            async move { shared.answer(request).await }
        })
        .await?;
        Ok(Self {
            address: address.to_string(),
            events,
            shared,
        })
    }

    /// Waits until the function requests an event.
    pub async fn polled(&self) {
        self.shared.polled.notified().await;
    }

    /// Delivers an event and waits for the response.
    ///
    /// # Errors
    /// Returns the error that the function reports.
    pub async fn invoke(&self, event: &Value, timeout: Duration) -> Result<Value, Error> {
        let id = ulid::Ulid::generate().to_string();
        let (done, answer) = oneshot::channel();
        self.shared.waiting().insert(id.clone(), done);
        self.events.send(Invocation {
            id,
            event: event.to_string(),
            deadline: SystemTime::now() + timeout,
        })?;
        let answer = answer.await??;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        if head.method == Method::GET && path == "invocation/next" {
            return self.next().await;
        }
        let Ok(body) = body.collect().await else {
            return status(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        if path == "init/error" {
            eprintln!("mpulse-bench: the function cannot start: {}", lossy(&body));
            return status(StatusCode::ACCEPTED);
        }
        let mut parts = path.trim_start_matches("invocation/").split('/');
        let (id, kind) = (parts.next().unwrap_or_default(), parts.next());
        let waiting = self.waiting().remove(id);
        match (waiting, kind) {
            (Some(waiting), Some("response")) => drop(waiting.send(Ok(body))),
            (Some(waiting), Some("error")) => drop(waiting.send(Err(lossy(&body)))),
            _ => return status(StatusCode::NOT_FOUND),
        }
        status(StatusCode::ACCEPTED)
    }

    async fn next(&self) -> Answer {
        self.polled.notify_one();
        let Some(invocation) = self.events.lock().await.recv().await else {
            return status(StatusCode::GONE);
        };
        let since = invocation.deadline.duration_since(UNIX_EPOCH);
        Response::builder()
            .header("content-type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", invocation.id)
            .header(
                "Lambda-Runtime-Deadline-Ms",
                since.unwrap_or_default().as_millis().to_string(),
            )
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                format!("arn:aws:lambda:us-east-1:000000000000:function:{FUNCTION}"),
            )
            .body(Full::new(Bytes::from(invocation.event)))
            .expect("the headers are plain ASCII")
    }

    fn waiting(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Result<Bytes, String>>>> {
        // No code panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lossy(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn status(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    answer
}
