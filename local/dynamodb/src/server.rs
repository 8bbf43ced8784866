//! The engine over HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::blocking::blocking;
use crate::engine::{Engine, Response};
use crate::error::{ApiError, Kind};
use crate::loopback::{OTHER_HOST, check_host};
use crate::operation::changes_tables;

/// The maximum number of bytes of a request's body (an AWS limit).
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The time that a client has to send a request's headers.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);

const TARGET: &str = "x-amz-target";
const TARGET_PREFIX: &str = "DynamoDB_20120810.";
const JSON: &str = "application/x-amz-json-1.0";

/// The server failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener cannot be used.
    #[error("the listener cannot be used: {0}")]
    Listener(#[from] std::io::Error),
}

/// Responds to requests on `listener` until `shutdown` resolves; then finishes those in progress,
/// and returns. If it listens on a loopback address, requests to another host are rejected.
///
/// # Errors
/// Returns [`ServeError`] if the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let is_loopback = listener.local_addr()?.ip().is_loopback();
    let (stop, stopped) = watch::channel(());
    let stopped = Arc::new(stopped);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Too many open files, or a client that has disconnected: others can still be served.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            // Removes ended connections.
            Some(_) = connections.join_next() => continue,
        };
        // Responses are written whole; waiting for more bytes would only delay them.
        let _ = stream.set_nodelay(true);
        let engine = engine.clone();
        let mut stopped = (*stopped).clone();
        connections.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let checked = if is_loopback {
                    check_host(&request)
                } else {
                    Ok(())
                };
                let engine = engine.clone();
                async move {
                    match checked {
                        Ok(()) => answer(engine, request).await,
                        Err(status) => Ok(refusal(status)),
                    }
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                // The sender is dropped: no more requests on this connection.
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended with an error");
            }
        });
    }
    drop(stop);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn answer(
    engine: Engine,
    request: Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET {
        return Ok(plain("healthy: dynamodb.us-east-1.amazonaws.com "));
    }
    let operation = request
        .headers()
        .get(TARGET)
        .and_then(|target| target.to_str().ok())
        .and_then(|target| target.strip_prefix(TARGET_PREFIX))
        .map(str::to_owned);
    let Some(operation) = operation.filter(|_| request.method() == Method::POST) else {
        let error = ApiError::new(Kind::UnknownOperation, "");
        return Ok(http(Response {
            status: error.status(),
            body: error.body(),
        }));
    };
    let body = match Limited::new(request.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let error = if error.is::<LengthLimitError>() {
                ApiError::new(Kind::Serialization, "Request size exceeded 16777216 bytes")
            } else {
                ApiError::new(Kind::Serialization, "The request's body cannot be read")
            };
            return Ok(http(Response {
                status: error.status(),
                body: error.body(),
            }));
        }
    };
    Ok(http(call(&engine, &operation, &body)))
}

/// Calls the engine. A change of a table may take long: filling an index reads the whole table.
fn call(engine: &Engine, operation: &str, body: &[u8]) -> Response {
    if changes_tables(operation) {
        blocking(|| engine.call(operation, body))
    } else {
        engine.call(operation, body)
    }
}

fn http(response: Response) -> hyper::Response<Full<Bytes>> {
    let checksum = crc32fast::hash(&response.body);
    let mut answer = hyper::Response::new(Full::new(Bytes::from(response.body)));
    *answer.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(SERVER, HeaderValue::from_static("Server"));
    headers.insert("x-amz-crc32", HeaderValue::from(checksum));
    if let Ok(id) = HeaderValue::from_str(&ulid::Ulid::generate().to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    answer
}

/// The response to a request that does not name this computer as its host.
fn refusal(status: StatusCode) -> hyper::Response<Full<Bytes>> {
    let mut response = plain(OTHER_HOST);
    *response.status_mut() = status;
    response
}

fn plain(text: &'static str) -> hyper::Response<Full<Bytes>> {
    hyper::Response::new(Full::new(Bytes::from_static(text.as_bytes())))
}
