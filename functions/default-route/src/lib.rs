//! `$default`: all requests that match no route of the API. The response is 405 with the supported
//! methods if the path exists, and 404 otherwise.

use mpulse_shared::http::{self, Service};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};

/// The paths of the API without a trailing slash, `*` for one segment of any text, and the methods
/// of each. The first match counts. A test compares this with template.yaml.
pub const ROUTES: &[(&str, &[&str])] = &[
    ("/", &["GET", "HEAD"]),
    ("/admin", &["GET", "HEAD"]),
    ("/api/accounts/*/members", &["DELETE"]),
    ("/api/docs", &["GET", "HEAD"]),
    ("/api/exports", &["GET", "HEAD", "POST"]),
    ("/api/exports/*", &["GET", "HEAD"]),
    ("/api/health", &["GET", "HEAD"]),
    ("/api/keys", &["GET", "HEAD", "POST"]),
    ("/api/keys/*", &["DELETE", "GET", "HEAD"]),
    ("/api/members", &["GET", "HEAD", "POST"]),
    ("/api/members/create", &["POST"]),
    ("/api/members/batch", &["GET", "HEAD", "POST", "PUT"]),
    ("/api/members/batch/template.csv", &["GET", "HEAD"]),
    ("/api/members/batch/*", &["GET", "HEAD", "DELETE"]),
    ("/api/members/batch/*/apply", &["POST"]),
    ("/api/members/batch/*/changes", &["GET", "HEAD"]),
    ("/api/members/batch/*/complete", &["POST"]),
    ("/api/members/batch/*/parts", &["GET", "HEAD"]),
    ("/api/members/batch/*/rejects", &["GET", "HEAD"]),
    ("/api/members/batch/*/revert", &["POST"]),
    ("/api/members/*", &["DELETE", "GET", "HEAD", "PATCH"]),
    ("/api/openapi.yaml", &["GET", "HEAD"]),
    ("/api/persons", &["DELETE", "GET", "HEAD"]),
    ("/assets/*", &["GET", "HEAD"]),
];

/// Creates the service.
///
/// # Errors
/// Never fails: the function has no settings.
pub fn service(_setup: &Setup) -> Result<Service, SetupError> {
    Ok(http::service(|request| async move {
        let path = request.uri().path();
        Err(match methods(path) {
            Some(allowed) => Problem::method_not_allowed(allowed),
            None => Problem::not_found(format!("The path {path} does not exist.")),
        })
    }))
}

/// Returns the methods of a path, if it is one of the API's.
fn methods(path: &str) -> Option<&'static [&'static str]> {
    let path = match path.strip_suffix('/') {
        Some("") | None => path,
        Some(path) => path,
    };
    let fits = |pattern: &str| {
        let mut segments = path.split('/');
        pattern.split('/').all(|wanted| {
            segments
                .next()
                .is_some_and(|segment| wanted == segment || (wanted == "*" && !segment.is_empty()))
        }) && segments.next().is_none()
    };
    ROUTES
        .iter()
        .find(|(pattern, _)| fits(pattern))
        .map(|(_, methods)| *methods)
}

#[cfg(test)]
mod tests {
    use super::methods;

    #[test]
    fn known_paths_have_methods() {
        assert_eq!(methods("/"), Some(["GET", "HEAD"].as_slice()));
        assert_eq!(methods("/api/members"), methods("/api/members/"));
        assert_eq!(
            methods("/api/members/4~1"),
            Some(["DELETE", "GET", "HEAD", "PATCH"].as_slice())
        );
        assert_eq!(
            methods("/api/members/batch/01K/"),
            Some(["GET", "HEAD", "DELETE"].as_slice())
        );
        assert_eq!(
            methods("/api/members/batch/template.csv"),
            Some(["GET", "HEAD"].as_slice())
        );
    }

    #[test]
    fn other_paths_are_unknown() {
        for path in ["/api", "/api/members//", "/api/members/a/b", "", "/x"] {
            assert_eq!(methods(path), None, "{path}");
        }
    }
}
