//! The HTTP side of a function: from a handler to a service that the Lambda runtime (or
//! the local machine) can run, and what handlers answer with.

use std::future::Future;
use std::time::Instant;

use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use serde::Serialize;
use tower::util::BoxCloneSyncService;
use tracing::{Instrument, Span};

use crate::setup::{Setup, SetupError};
use problem::Problem;

pub mod batch_view;
pub mod cursor;
pub mod form;
pub mod key_view;
pub mod link;
pub mod member_view;
pub mod problem;

/// How often a change to a record is tried that another change came before.
pub const ATTEMPTS: u32 = 10;

/// A function that answers HTTP: what its main.rs hands to the Lambda runtime, and
/// what the local machine calls.
pub type Service = BoxCloneSyncService<Request, Response<Body>, Error>;

/// Makes a service of a handler. A [`Problem`] becomes the answer it describes, so the
/// service itself never fails.
pub fn service<H, F>(handler: H) -> Service
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Problem>> + Send + 'static,
{
    Service::new(tower::service_fn(move |request: Request| {
        let span = span(&request);
        let began = Instant::now();
        let answer = handler(request);
        async move {
            let mut response = answer.await.unwrap_or_else(Problem::into_response);
            let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(status = response.status().as_u16(), millis, "answered");
            // Answers are personal data or change at any time.
            response
                .headers_mut()
                .entry(CACHE_CONTROL)
                .or_insert(HeaderValue::from_static("no-store"));
            Ok::<_, Error>(response)
        }
        .instrument(span)
    }))
}

/// What every line in a request's log says: the id that API Gateway gave it, which the client
/// sees too, its route, and the key, once that is known. The path holds personal data.
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

/// The id that API Gateway gave a request; the client is told it in `apigw-requestid`.
#[must_use]
pub fn request_id(request: &Request) -> Option<String> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.request_id.clone(),
        _ => None,
    }
}

/// The whole of an HTTP function's main.rs: logs, settings, and the Lambda runtime.
///
/// # Errors
/// Where a setting is missing, or the runtime API can't be reached.
pub async fn run(build: fn(&Setup) -> Result<Service, SetupError>) -> Result<(), Error> {
    crate::logging::start();
    lambda_http::run(build(&Setup::from_process())?).await
}

/// An answer with a JSON body.
///
/// # Errors
/// An internal problem where the value can't be written as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let body = serde_json::to_string(value).map_err(|error| Problem::internal(&error))?;
    Ok(with_body(status, "application/json", body))
}

/// A page of a list, as JSON and with a `Link` header (RFC 8288) to the next one.
///
/// # Errors
/// An internal problem where a result can't be written as JSON.
pub fn page<T: Serialize>(next: Option<String>, results: &[T]) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct Nothing {}
    page_with(&Nothing {}, next, results)
}

/// The same, with something to say of the whole list: the fields of `about`, a struct.
///
/// # Errors
/// An internal problem where it can't be written as JSON.
pub fn page_with<A: Serialize, T: Serialize>(
    about: &A,
    next: Option<String>,
    results: &[T],
) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct Page<'a, A, T> {
        #[serde(flatten)]
        about: &'a A,
        next: Option<&'a str>,
        results: &'a [T],
    }
    let body = Page {
        about,
        next: next.as_deref(),
        results,
    };
    let mut response = json(StatusCode::OK, &body)?;
    if let Some(next) = next {
        set_header(&mut response, LINK, &format!("<{next}>; rel=\"next\""))?;
    }
    Ok(response)
}

/// An answer with a text body of some media type.
pub fn with_body(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// Adds a header whose value was built at run time.
///
/// # Errors
/// An internal problem where the value can't stand in a header.
pub fn set_header(
    response: &mut Response<Body>,
    name: lambda_http::http::HeaderName,
    value: &str,
) -> Result<(), Problem> {
    let value = HeaderValue::from_str(value).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(name, value);
    Ok(())
}
