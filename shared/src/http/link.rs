//! Absolute URLs of this API, built from the request.

use lambda_http::Request;
use lambda_http::http::header::HOST;

/// Returns the scheme and host that the client used, without a trailing slash. API Gateway passes
/// both on as headers.
#[must_use]
pub fn base(request: &Request) -> String {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let scheme = match header("x-forwarded-proto") {
        Some("http") => "http",
        _ => "https",
    };
    format!(
        "{scheme}://{}",
        header(HOST.as_str()).unwrap_or("localhost")
    )
}
