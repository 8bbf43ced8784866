//! An HTTP/1.1 server on a listener: the base of the gateway, S3, EventBridge and the fault proxies. It accepts requests that name
//! this computer as their host, and no others.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mpulse_dynamodb::loopback::{OTHER_HOST, check_host};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// The timeout for the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after accepting a connection failed (too many open files, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts to serve on `listener`. `answer` gets each request and its sender's address.
    pub(crate) fn start<A, F, B>(listener: TcpListener, answer: A) -> Self
    where
        A: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::start_or_hang_up(listener, move |request, peer| {
            let answer = answer(request, peer);
            async move { Some(answer.await) }
        })
    }

    /// Like [`Server::start`]; `None` closes the connection without a response.
    pub(crate) fn start_or_hang_up<A, F, B>(listener: TcpListener, answer: A) -> Self
    where
        A: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Option<Response<B>>> + Send + 'static,
        B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, answer, stopped));
        Self { stop, task }
    }

    /// Stops accepting, and drops every connection with its request.
    pub(crate) async fn stop(self) {
        let Self { stop, task } = self;
        drop(stop);
        if let Err(error) = task.await {
            tracing::error!(%error, "a server did not stop properly");
        }
    }
}

async fn accept<A, F, B>(listener: TcpListener, answer: A, mut stopped: oneshot::Receiver<()>)
where
    A: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Option<Response<B>>> + Send + 'static,
    B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small responses must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer.clone();
            async move {
                if let Err(status) = check_host(&request) {
                    return Ok(refusal(status));
                }
                let response = answer(request, peer).await;
                // An error makes hyper close the connection.
                response
                    .map(|response| response.map(Either::Right))
                    .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))
            }
        });
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    connections.shutdown().await;
}

/// The response to a request that does not name this computer as its host.
fn refusal<B>(status: StatusCode) -> Response<Either<Full<Bytes>, B>> {
    let mut response = Response::new(Either::Left(Full::from(OTHER_HOST)));
    *response.status_mut() = status;
    response
}
