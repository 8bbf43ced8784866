//! The HTTP API: finds the route of a request in the template, invokes the function with an event
//! of API Gateway's payload version 2.0, and converts the result into a response.
//!
//! It behaves like API Gateway where a client can see it: the order of routes, the limits (10 MB
//! per request, 10,240 bytes of headers, 6 MB per event, 30 s), and its own responses if a function fails (500), takes too
//! long (503), or does not exist (404).

mod answer;
mod event;
mod route;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::host::{Host, InvokeError};
use crate::serve::Server;
use crate::template::Function;
use event::Received;
use route::Routes;

/// The maximum size of a request's body, in bytes (an HTTP API limit).
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// The maximum size of the request line and the values of all headers, in bytes (an HTTP API limit).
const MAX_HEAD_BYTES: usize = 10_240;
/// How much of a body that is too large is read and discarded, so that the client receives the
/// response instead of a broken connection.
const MAX_DRAINED_BYTES: usize = 256 * 1024 * 1024;

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    server: Server,
}

impl Gateway {
    /// Starts to serve on `listener`.
    pub(crate) fn start(listener: TcpListener, functions: &[Function], host: Arc<Host>) -> Self {
        let port = listener.local_addr().map_or(0, |address| address.port());
        let api = Arc::new(Api {
            routes: Routes::new(functions),
            host,
            port,
        });
        let answer = move |request, peer| {
            let api = Arc::clone(&api);
            async move { api.answer(request, peer).await }
        };
        Self {
            server: Server::start(listener, answer),
        }
    }

    /// Stops serving.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

struct Api {
    routes: Routes,
    host: Arc<Host>,
    port: u16,
}

impl Api {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let request_id = event::request_id();
        let mut response = self
            .respond(request, peer, &request_id)
            .await
            .unwrap_or_else(answer::own);
        if let Ok(id) = request_id.parse() {
            response.headers_mut().insert("apigw-requestid", id);
        }
        response
    }

    /// Returns the function's response, or the status of the gateway's own response.
    async fn respond(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: &str,
    ) -> Result<Response<Full<Bytes>>, StatusCode> {
        let (head, body) = request.into_parts();
        let body = read(body).await?;
        if head_size(&head) > MAX_HEAD_BYTES {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        // `OPTIONS *` and `CONNECT host` name no path.
        if !head.uri.path().starts_with('/') {
            return Err(StatusCode::BAD_REQUEST);
        }
        let path = event::decoded_path(head.uri.path());
        let found = self.routes.find(&head.method, &path);
        let found = found.ok_or(StatusCode::NOT_FOUND)?;
        let event = event::build(&Received {
            head: &head,
            body: &body,
            path: &path,
            found: &found,
            peer,
            port: self.port,
            request_id,
        });
        drop(body);
        let function = &found.target.function;
        let invocation = self.host.invoke(function, event);
        let answer = match tokio::time::timeout(found.target.timeout, invocation).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::error!(function, request_id, %error, "a function failed");
                return Err(match error {
                    InvokeError::EventTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                    InvokeError::TimedOut(_) => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                });
            }
            Err(_) => {
                tracing::error!(
                    function,
                    request_id,
                    "a function took longer than the gateway waits"
                );
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
        };
        answer::response(answer).ok_or_else(|| {
            tracing::error!(
                function,
                request_id,
                "the result of a function is not a response"
            );
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

/// Returns the size of the request line and the values of all headers, in bytes.
fn head_size(head: &Parts) -> usize {
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let line = head.method.as_str().len() + target.len() + "  HTTP/1.1\r\n".len();
    head.headers
        .values()
        .fold(line, |size, value| size + value.len())
}

/// Reads a body within the limit; a larger one is read and discarded, up to a point.
async fn read(mut body: Incoming) -> Result<Bytes, StatusCode> {
    let mut whole = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen += data.len();
        if seen > MAX_DRAINED_BYTES {
            break;
        }
        if seen <= MAX_BODY_BYTES {
            whole.extend_from_slice(&data);
        } else {
            whole = Vec::new();
        }
    }
    if seen > MAX_BODY_BYTES {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(whole.into())
}
