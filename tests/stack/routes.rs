//! The routes of the template, and the responses of other paths.

use std::collections::{BTreeMap, BTreeSet};

use mpulse_tests::{Stack, send, text};
use reqwest::Method;
use serde_json::json;

/// Returns a path of the route table as a client would send it.
fn example(pattern: &str) -> String {
    pattern.replace('*', "01ARZ3NDEKTSV4RRFFQ69G5FAV")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_the_default_route_matches_the_template() {
    let stack = Stack::start().await;
    let mut declared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut defaults = 0;
    for function in &stack.local_stack.template().functions {
        for route in &function.routes {
            let Some(path) = &route.path else {
                defaults += 1;
                continue;
            };
            // Routes that it rejects beside a path with a parameter are not routes of the API.
            if function.binary != "default-route" {
                let method = route.method.clone().expect("every route names its method");
                let path = path.replace("{file}", "{id}");
                declared.entry(path).or_default().insert(method);
            }
        }
    }
    assert_eq!(defaults, 1, "one $default");
    let mut known = BTreeMap::new();
    for (pattern, methods) in default_route::ROUTES {
        let path = pattern.replace('*', "{id}");
        let methods: BTreeSet<String> = methods.iter().map(ToString::to_string).collect();
        if path != "/" {
            known.insert(format!("{path}/"), methods.clone());
        }
        known.insert(path, methods);
    }
    assert_eq!(declared, known, "with and without a slash at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailing_slash_makes_no_difference() {
    let stack = Stack::start().await;
    for (pattern, methods) in default_route::ROUTES {
        let path = example(pattern);
        for method in methods.iter().filter(|_| path != "/") {
            let method: Method = method.parse().unwrap();
            let bare = send(stack.request(method.clone(), &path)).await;
            let slashed = send(stack.request(method.clone(), &format!("{path}/"))).await;
            assert_eq!(bare.status, slashed.status, "{method} {path}");
            assert_ne!(bare.status, 405, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_returns_the_supported_ones() {
    let stack = Stack::start().await;
    for (pattern, allowed) in default_route::ROUTES {
        let path = example(pattern);
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
            if allowed.contains(&method) {
                continue;
            }
            let answer = send(stack.request(method.parse().unwrap(), &path)).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(
                answer.header("allow"),
                allowed.join(", "),
                "{method} {path}"
            );
            if method != "HEAD" {
                answer.problem(405, "method-not-allowed");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_path_returns_a_problem() {
    let stack = Stack::start().await;
    for path in [
        "/api",
        "/api/member",
        "/api/members//",
        "/api/members/4~1/phones",
        "/api/members/batch/01ARZ3NDEKTSV4RRFFQ69G5FAV/rejects/1",
        "/favicon.ico",
        "/ADMIN",
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = send(stack.anonymous(method, path)).await;
            answer.problem(404, "not-found");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_key() {
    let stack = Stack::start().await;
    for path in ["/api/health", "/api/health/"] {
        let answer = send(stack.anonymous(Method::GET, path)).await;
        answer.expect(200);
        assert_eq!(answer.json(), json!({"status": "ok"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_a_page() {
    let stack = Stack::start().await;
    for path in ["/", "/admin", "/admin/"] {
        let answer = send(stack.anonymous(Method::GET, path)).await;
        answer.expect(200);
        let media_type = answer.header("content-type");
        assert!(media_type.starts_with("text/html"), "{path}: {media_type}");
        assert!(answer.text().to_lowercase().contains("<html"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_may_reach_the_bucket_and_is_cached_by_version() {
    let stack = Stack::start().await;
    let batch = stack.post("/api/members/batch", &json!({})).await.json();
    let page = send(stack.anonymous(Method::GET, "/admin/")).await;
    let policy = page.header("content-security-policy");
    let reached = policy
        .split(';')
        .find_map(|part| part.trim().strip_prefix("connect-src 'self' "));
    let origin = reached.expect("the policy names the bucket's host");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        text(&batch["upload"]["url"]).starts_with(&format!("{origin}/")),
        "{policy}"
    );

    let script = send(stack.anonymous(Method::GET, "/assets/app.js")).await;
    script.expect(200);
    assert_eq!(
        script.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    let tag = script.header("etag");
    let again = stack.anonymous(Method::GET, "/assets/app.js");
    send(again.header("if-none-match", tag)).await.expect(304);
    let other = send(stack.anonymous(Method::GET, "/assets/other.js")).await;
    other.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_gateway_s_limit_is_rejected_by_the_gateway() {
    let stack = Stack::start().await;
    let body = vec![b' '; mpulse_local::gateway::MAX_BODY_BYTES + 1];
    let answer = stack
        .post_text("/api/members/", "application/json", body)
        .await;
    answer.expect(413);
    assert_eq!(text(&answer.json()["message"]), "Request Entity Too Large");
}
