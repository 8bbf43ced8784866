//! CORS by the bucket's rules, as in S3: the response to a browser's preflight, and the headers of
//! the responses that follow.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use s3s::{Body, HttpRequest};

use super::error;
use crate::template::{Bucket, CorsRule};

/// The origin of a request's page, and the matching rule of its bucket.
pub(super) struct Caller {
    origin: Option<String>,
    requested_headers: Option<String>,
    rule: Option<CorsRule>,
}

impl Caller {
    /// Reads the request.
    pub(super) fn of(request: &HttpRequest, buckets: &[Bucket]) -> Self {
        let header = |name: HeaderName| {
            let value = request.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let origin = header(ORIGIN);
        let preflight = request.method() == Method::OPTIONS;
        let method = if preflight {
            header(ACCESS_CONTROL_REQUEST_METHOD)
        } else {
            Some(request.method().as_str().to_owned())
        };
        let requested_headers = header(ACCESS_CONTROL_REQUEST_HEADERS).filter(|_| preflight);
        let mut path = request.uri().path().split('/');
        let bucket = path.nth(1).unwrap_or_default();
        let rules = buckets
            .iter()
            .filter(|one| one.name == bucket)
            .flat_map(|one| &one.cors);
        let rule = origin.as_ref().zip(method).and_then(|(origin, method)| {
            let asked = requested_headers.as_deref().unwrap_or_default();
            rules
                .into_iter()
                .find(|rule| fits(rule, origin, &method, asked))
        });
        Self {
            rule: rule.cloned(),
            origin,
            requested_headers,
        }
    }

    /// Returns the response to a preflight.
    pub(super) fn preflight(&self) -> Response<Body> {
        if self.rule.is_none() {
            return error(
                StatusCode::FORBIDDEN,
                "AccessForbidden",
                "CORSResponse: This CORS request is not allowed.",
            );
        }
        let mut response = Response::new(Body::empty());
        self.add_headers(response.headers_mut());
        response
    }

    /// Adds the headers that the rule grants to a response.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        let (Some(rule), Some(origin)) = (&self.rule, &self.origin) else {
            return;
        };
        let mut set = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        if rule.origins.iter().any(|one| one == "*") {
            set(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            set(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        set(ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
        if let Some(asked) = &self.requested_headers {
            set(ACCESS_CONTROL_ALLOW_HEADERS, &asked.to_ascii_lowercase());
        }
        if !rule.exposed.is_empty() {
            set(ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
        }
        if let Some(age) = rule.max_age {
            set(ACCESS_CONTROL_MAX_AGE, &age.to_string());
        }
        set(
            VARY,
            "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        );
    }
}

fn fits(rule: &CorsRule, origin: &str, method: &str, headers: &str) -> bool {
    let mut headers = headers
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    rule.methods.iter().any(|one| one == method)
        && rule.origins.iter().any(|one| matches(one, origin))
        && headers.all(|name| rule.headers.iter().any(|one| matches(one, name)))
}

/// Returns whether `text` matches `pattern`, which may contain one `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Bucket {
        Bucket {
            lifecycle: Vec::new(),
            logical_id: "B".into(),
            name: "b".into(),
            notifications: Vec::new(),
            cors: vec![CorsRule {
                methods: vec!["PUT".into()],
                origins: vec!["https://*.example.com".into()],
                headers: vec!["x-amz-*".into(), "content-type".into()],
                exposed: vec!["ETag".into()],
                max_age: Some(60),
            }],
        }
    }

    fn preflight(origin: &str, method: &str, headers: &str) -> Response<Body> {
        let request = http::Request::options("/b/uploads/1")
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", headers)
            .body(Body::empty())
            .unwrap();
        Caller::of(&request, &[bucket()]).preflight()
    }

    #[test]
    fn a_preflight_follows_the_rules() {
        let response = preflight("https://a.example.com", "PUT", "Content-Type, x-amz-meta-a");
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(
            headers["access-control-allow-origin"],
            "https://a.example.com"
        );
        assert_eq!(
            headers["access-control-allow-headers"],
            "content-type, x-amz-meta-a"
        );
        assert_eq!(headers["access-control-max-age"], "60");
        for (origin, method, asked) in [
            ("https://a.example.org", "PUT", ""),
            ("https://a.example.com", "GET", ""),
            ("https://a.example.com", "PUT", "authorization"),
        ] {
            assert_eq!(
                preflight(origin, method, asked).status(),
                403,
                "{origin} {method}"
            );
        }
    }

    #[test]
    fn without_an_origin_no_header_is_added() {
        let request = http::Request::put("/b/k").body(Body::empty()).unwrap();
        let mut headers = HeaderMap::new();
        Caller::of(&request, &[bucket()]).add_headers(&mut headers);
        assert!(headers.is_empty());
    }
}
