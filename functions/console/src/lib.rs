//! `GET /`, `/admin/` and `/assets/{file}`: the console, for people who find members, send files
//! and follow their processing. It consists of a few static files. They use this API and the upload
//! URLs that it signs, and no other site.

use std::sync::Arc;

use lambda_http::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use lambda_http::http::{HeaderName, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::http::{self, Service, conditional};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{FromSetup, Setup, SetupError};

use files::Files;

pub mod files;

/// The files and the policy that they are served with.
struct Console {
    files: Files,
    /// The Content-Security-Policy: the page's own files, the API, and the bucket.
    policy: String,
}

impl FromSetup for Console {
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            files: Files::new(),
            policy: policy(setup.upload_origin()?),
        })
    }
}

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::public(setup, get)
}

/// Returns the Content-Security-Policy of a page that connects to its own origin and the bucket's.
fn policy(upload_origin: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
         connect-src 'self' {upload_origin}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

async fn get(console: Arc<Console>, request: Request) -> Result<Response<Body>, Problem> {
    let parameters = request.path_parameters();
    let name = parameters.first("file").unwrap_or(files::PAGE);
    let Some(file) = console.files.get(name) else {
        return Err(Problem::not_found(format!(
            "The file {name} does not exist."
        )));
    };
    let response = http::with_body(StatusCode::OK, file.media_type, &*file.content);
    let mut response = conditional::tagged(response, request.headers(), &file.tag)?;
    let headers: [(HeaderName, &str); 3] = [
        // Browsers revalidate each time, so a page load gets the deployed version.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, &console.policy),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in headers {
        http::set_header(&mut response, name, value)?;
    }
    Ok(response)
}
