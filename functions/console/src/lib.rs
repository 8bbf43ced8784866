//! `GET /`, `/admin/` and `/assets/{file}`: the console, on which people look members up, send
//! files and watch them land. It is a few plain files that come with the build; what they do,
//! they do by this API and the upload URLs it signs, and they reach no other site.

use std::sync::Arc;

use files::Files;
use lambda_http::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{HeaderName, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service};
use mpulse_shared::setup::{Setup, SetupError};

pub mod files;

struct Function {
    files: Files,
    /// What the page may load and reach: its own files and API, and the bucket.
    policy: String,
}

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    let function = Arc::new(Function {
        files: Files::new(),
        policy: policy(setup.upload_origin()?),
    });
    Ok(http::service(move |request| {
        let function = Arc::clone(&function);
        async move { get(&function, &request) }
    }))
}

/// The Content-Security-Policy of a page that talks to its own origin and the bucket's.
fn policy(upload_origin: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
         connect-src 'self' {upload_origin}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

fn get(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let parameters = request.path_parameters();
    let name = parameters.first("file").unwrap_or(files::PAGE);
    let Some(file) = function.files.get(name) else {
        return Err(Problem::not_found(format!("There is no file {name}.")));
    };
    let known = request.headers().get(IF_NONE_MATCH);
    let mut response = if known.is_some_and(|tag| tag.as_bytes() == file.tag.as_bytes()) {
        http::empty(StatusCode::NOT_MODIFIED)
    } else {
        http::with_body(StatusCode::OK, file.media_type, &*file.content)
    };
    let headers: [(HeaderName, &str); 5] = [
        // Asked for again each time, so that a load of the page gets what is deployed.
        (CACHE_CONTROL, "no-cache"),
        (ETAG, &file.tag),
        (CONTENT_SECURITY_POLICY, &function.policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in headers {
        http::set_header(&mut response, name, value)?;
    }
    Ok(response)
}
