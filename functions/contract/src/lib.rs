//! `GET /api/openapi.yaml` and `GET /api/docs`: the contract of this API, for programs and as a
//! page for people. Both are part of the build, so they describe the version that responds.
//! `build.rs` generates the page from the contract.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use lambda_http::{Body, Request, Response};
use mpulse_shared::http::conditional::{self, etag_of};
use mpulse_shared::http::{self, Service};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};

/// The contract.
const CONTRACT: &str = include_str!("../../../openapi.yaml");

/// The last segment of the contract's path.
const CONTRACT_NAME: &str = "openapi.yaml";

/// The page.
const PAGE: &str = include_str!(concat!(env!("OUT_DIR"), "/docs.html"));

/// The Content-Security-Policy of the page: only its own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Creates the service.
///
/// # Errors
/// Never fails: the function has no settings.
pub fn service(_setup: &Setup) -> Result<Service, SetupError> {
    Ok(http::service(|request| async move { get(&request) }))
}

fn get(request: &Request) -> Result<Response<Body>, Problem> {
    let is_contract = is_contract(request.uri().path());
    let (media_type, content) = if is_contract {
        ("application/yaml", CONTRACT)
    } else {
        ("text/html; charset=utf-8", PAGE)
    };
    let response = http::with_body(StatusCode::OK, media_type, content);
    let mut response = conditional::tagged(response, request.headers(), &etag_of([content]))?;
    http::set_header(&mut response, CACHE_CONTROL, "no-cache")?;
    if !is_contract {
        http::set_header(&mut response, CONTENT_SECURITY_POLICY, POLICY)?;
    }
    Ok(response)
}

/// Returns whether a path is that of the contract, with or without a trailing slash.
fn is_contract(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.rsplit('/').next() == Some(CONTRACT_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the paths of the contract: the keys two spaces deep that begin with a slash.
    fn paths() -> Vec<&'static str> {
        CONTRACT
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
            .filter(|key| key.starts_with('/'))
            .collect()
    }

    #[test]
    fn the_path_selects_contract_or_page() {
        for path in ["/api/openapi.yaml", "/api/openapi.yaml/"] {
            assert!(is_contract(path), "{path}");
        }
        for path in ["/api/docs", "/api/docs/", "/"] {
            assert!(!is_contract(path), "{path}");
        }
    }

    #[test]
    fn the_page_shows_every_path_and_operation() {
        assert!(paths().len() > 10);
        for path in paths() {
            let shown = format!("<code class=\"path\">{path}</code>");
            assert!(PAGE.contains(&shown), "{path}");
        }
        for line in CONTRACT.lines() {
            if let Some(id) = line.strip_prefix("      operationId: ") {
                assert!(PAGE.contains(&format!("id=\"{id}\"")), "{id}");
            }
        }
    }

    #[test]
    fn the_page_has_no_external_resources() {
        for loading in ["<script", "<link", "<img", "src=", "@import", "url("] {
            assert!(!PAGE.contains(loading), "{loading}");
        }
        for target in PAGE.split("href=\"").skip(1) {
            assert!(
                target.starts_with(['#', '/']) && !target.starts_with("//"),
                "{}",
                &target[..20]
            );
        }
    }

    #[test]
    fn every_internal_link_has_a_target() {
        for target in PAGE.split("href=\"#").skip(1) {
            let name = target.split('"').next().unwrap_or_default();
            assert!(PAGE.contains(&format!("id=\"{name}\"")), "{name}");
        }
    }
}
