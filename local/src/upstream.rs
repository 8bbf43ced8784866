//! Another server to which requests are passed on: behind the fault proxies, and in front of an S3 that is not the local
//! stack's own. Bodies are streamed, and a request keeps its `Host` and signed headers.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, Request, Response, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How long an idle connection is kept: shorter than the engines keep it.
const IDLE: Duration = Duration::from_secs(15);

/// Why a body ended early.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request or a response that is passed on.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A server, and the connections to it.
#[derive(Debug)]
pub(crate) struct Upstream {
    authority: Authority,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    /// Prepares connections to `endpoint`, a URL of plain HTTP without a path; `None` if it is another URL.
    pub(crate) fn new(endpoint: &str) -> Option<Self> {
        let authority = authority(endpoint)?;
        let mut connector = HttpConnector::new();
        // Small requests must not wait for the engine's acknowledgement.
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Some(Self { authority, client })
    }

    /// Passes a request on, and returns the response; `None` if there is none.
    pub(crate) async fn forward(&self, mut request: Request<Body>) -> Option<Response<Body>> {
        let path = request.uri().path_and_query().cloned()?;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path);
        *request.uri_mut() = uri.build().ok()?;
        forget_connection(request.headers_mut());
        match self.client.request(request).await {
            Ok(mut response) => {
                forget_connection(response.headers_mut());
                Some(response.map(streamed))
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "no answer");
                None
            }
        }
    }
}

/// Returns a body as it arrives.
pub(crate) fn streamed(body: Incoming) -> Body {
    body.map_err(Into::into).boxed_unsync()
}

fn authority(endpoint: &str) -> Option<Authority> {
    let parts = endpoint.parse::<Uri>().ok()?.into_parts();
    let bare = parts.path_and_query.is_none_or(|path| path == "/");
    parts
        .authority
        .filter(|_| bare && parts.scheme == Some(Scheme::HTTP))
}

/// Removes headers that apply to one connection only (RFC 9110, 7.6.1).
fn forget_connection(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(HeaderName::from_static("keep-alive"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_plain() {
        assert_eq!(
            authority("http://127.0.0.1:9002").unwrap(),
            "127.0.0.1:9002"
        );
        assert_eq!(authority("http://localhost:1/").unwrap(), "localhost:1");
        for other in ["https://a:1", "a:1", "http://a:1/path", "http://", ""] {
            assert_eq!(authority(other), None, "{other}");
        }
    }
}
