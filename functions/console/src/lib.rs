//! `GET /` and `/admin/`: a page on which people look members up and send files. It is one
//! embedded file that talks to this API and to the upload URLs it signs, and to no other site.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use mpulse_shared::http::{self, Service};
use mpulse_shared::setup::{Setup, SetupError};

/// The page.
const PAGE: &str = include_str!("page.html");

/// What the page may load and reach. Uploads go to the bucket's own host, which differs by
/// deployment, hence any host there.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self' http: https:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The function as a service.
///
/// # Errors
/// Never: it has no settings.
pub fn service(_setup: &Setup) -> Result<Service, SetupError> {
    Ok(http::service(|_request| async {
        let mut response = http::with_body(StatusCode::OK, "text/html; charset=utf-8", PAGE);
        http::set_header(&mut response, CONTENT_SECURITY_POLICY, POLICY)?;
        http::set_header(&mut response, CACHE_CONTROL, "no-cache")?;
        Ok(response)
    }))
}
