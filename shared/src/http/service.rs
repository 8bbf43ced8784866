//! Turns a handler into a service that the Lambda runtime or the local stack runs: it logs each
//! request, converts a [`Problem`] into a response, and removes the body of a response to HEAD.

use std::future::Future;
use std::time::Instant;

use lambda_http::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use lambda_http::http::{HeaderValue, Method};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use tower::util::BoxCloneSyncService;
use tracing::{Instrument, Span};

use crate::problem::Problem;
use crate::setup::{Setup, SetupError};

/// A function that responds to HTTP requests. Its main.rs passes it to the Lambda runtime, and the
/// local stack calls it directly.
pub type Service = BoxCloneSyncService<Request, Response<Body>, Error>;

/// Turns a handler into a service. A [`Problem`] becomes a response, so the service itself does not
/// fail. A handler of GET need not know HEAD: the response is the same without its body (RFC 9110,
/// 9.3.2). The length of the body is not sent, because the gateway sets `Content-Length`.
pub fn service<H, F>(handler: H) -> Service
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Problem>> + Send + 'static,
{
    Service::new(tower::service_fn(move |request: Request| {
        let span = span(&request);
        let is_head = request.method() == Method::HEAD;
        let started = Instant::now();
        let response = handler(request);
        async move {
            let mut response = response.await.unwrap_or_else(Problem::into_response);
            let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(status = response.status().as_u16(), millis, "responded");
            let headers = response.headers_mut();
            // Responses contain personal data, or change at any time.
            headers
                .entry(CACHE_CONTROL)
                .or_insert(HeaderValue::from_static("no-store"));
            // A browser must not take a list for a page.
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            if is_head {
                *response.body_mut() = Body::Empty;
            }
            Ok::<_, Error>(response)
        }
        .instrument(span)
    }))
}

/// Returns the span whose fields are in every log line of a request: the id that API Gateway
/// assigned, the route, and the key, once it is known. The path is not logged, because it contains
/// personal data.
fn span(request: &Request) -> Span {
    let route = request
        .request_context_ref()
        .and_then(|context| match context {
            RequestContext::ApiGatewayV2(context) => context.route_key.clone(),
            _ => None,
        });
    let id = request_id(request).unwrap_or_default();
    let route = route.unwrap_or_default();
    tracing::info_span!(
        "request",
        request_id = id,
        route,
        key_id = tracing::field::Empty
    )
}

/// Returns the id that API Gateway assigned to a request; the client receives it in
/// `apigw-requestid`.
#[must_use]
pub fn request_id(request: &Request) -> Option<String> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.request_id.clone(),
        _ => None,
    }
}

/// Runs an HTTP function: starts logging, reads the settings, and serves requests of the Lambda
/// runtime. It is the whole of a function's main.rs.
///
/// # Errors
/// Returns an error if a setting is missing or the runtime API is unreachable.
pub async fn run(build: fn(&Setup) -> Result<Service, SetupError>) -> Result<(), Error> {
    crate::logging::start();
    lambda_http::run(build(&Setup::from_process())?).await
}
