//! The headers by which a browser protects the console and the data: policy, types, caching, referrers; and that no page of
//! another origin may read a response.

use mpulse_tests::{Answer, Stack, send};
use reqwest::Method;

/// The policy of the console, but for the bucket's origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' BUCKET; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

async fn get(stack: &Stack, path: &str) -> Answer {
    send(stack.request_as(&stack.admin, Method::GET, path)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_a_policy_and_data_is_not_stored() {
    let stack = Stack::start().await;
    let policy = POLICY.replace("BUCKET", &stack.local_stack.endpoints().s3);
    for path in ["/", "/admin/", "/assets/app.js", "/assets/console.css"] {
        let answer = get(&stack, path).await;
        answer.expect(200);
        assert_eq!(answer.header("content-security-policy"), policy, "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    let page = get(&stack, "/api/docs").await;
    let policy = page.header("content-security-policy").to_owned();
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    for (path, status) in [
        ("/api/members?aid=4", 200),
        ("/api/members/4~nobody", 404),
        ("/api/members/batch", 200),
        ("/api/exports", 200),
        ("/api/keys", 200),
        ("/api/persons?phone_number=7145550123", 200),
        ("/api/health", 200),
        ("/api/nothing", 404),
    ] {
        let answer = get(&stack, path).await;
        answer.expect(status);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(!answer.headers.contains_key("set-cookie"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_may_read_nothing_but_the_bucket() {
    let stack = Stack::start().await;
    let own = stack.local_stack.endpoints();
    let api = stack.local_stack.api_url();
    let urls = [
        format!("{api}/api/members?aid=4"),
        format!("{api}/api/keys"),
        own.dynamodb,
        own.events,
    ];
    for url in &urls {
        for method in [Method::OPTIONS, Method::GET, Method::POST] {
            let request = stack.request(method.clone(), url);
            let request = request
                .header("origin", "https://example.com")
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "authorization,x-amz-target",
                );
            let answer = send(request).await;
            let allowed = answer
                .headers
                .keys()
                .find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(allowed, None, "{method} {url}");
        }
    }
    // The signature of a URL authorises the request there, not the page's origin.
    let unsigned = stack.anonymous(Method::GET, &format!("{}/bucket/key", own.s3));
    let answer = send(unsigned.header("origin", "https://example.com")).await;
    assert!([403, 404].contains(&answer.status), "{}", answer.status);
}
