//! `If-None-Match`: a version that the client has is not sent again.

use mpulse_tests::{Answer, Stack, send};
use reqwest::Method;
use reqwest::header::IF_NONE_MATCH;
use serde_json::json;

const MEMBER: &str = "/api/members/4~1";

async fn read(stack: &Stack, method: Method, path: &str, known: &str) -> Answer {
    let request = stack.request(method, path).header(IF_NONE_MATCH, known);
    send(request).await
}

async fn create(stack: &Stack) {
    let member = json!({"account_id": "4", "client_member_id": "1", "first_name": "Ann",
                        "last_name": "Lee", "phone_number": "7145550123"});
    stack.post("/api/members", &member).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_version_is_not_sent_again() {
    let stack = Stack::start().await;
    create(&stack).await;
    for path in [
        MEMBER,
        "/api/openapi.yaml",
        "/api/docs",
        "/admin",
        "/assets/app.js",
    ] {
        let whole = stack.get(path).await;
        whole.expect(200);
        let tag = whole.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() > 10, "{path}: {tag}");
        for known in [&tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
            for method in [Method::GET, Method::HEAD] {
                let answer = read(&stack, method, path, known).await;
                answer.expect(304);
                assert!(answer.body.is_empty(), "{path}");
                assert_eq!(answer.header("content-type"), "", "{path}");
                for name in ["etag", "cache-control", "content-security-policy"] {
                    assert_eq!(answer.header(name), whole.header(name), "{path}");
                }
            }
        }
        let other = read(&stack, Method::GET, path, "\"x\"").await;
        other.expect(200);
        assert_eq!(other.body, whole.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_member_is_sent_again() {
    let stack = Stack::start().await;
    create(&stack).await;
    let before = stack.get(MEMBER).await;
    let patch = stack.request(Method::PATCH, MEMBER);
    let changed = send(patch.json(&json!({"first_name": "Bea"}))).await;
    changed.expect(200);
    let after = read(&stack, Method::GET, MEMBER, before.header("etag")).await;
    after.expect(200);
    assert_eq!(after.json()["first_name"], "Bea");
    // The tag of a change is that of the changed member.
    assert_eq!(changed.header("etag"), after.header("etag"));
    let again = read(&stack, Method::GET, MEMBER, changed.header("etag")).await;
    again.expect(304);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_exist_or_may_not_be_read_is_no_known_version() {
    let stack = Stack::start().await;
    create(&stack).await;
    read(&stack, Method::GET, "/api/members/4~2", "*")
        .await
        .problem(404, "not-found");
    let anonymous = stack.anonymous(Method::GET, MEMBER);
    let answer = send(anonymous.header(IF_NONE_MATCH, "*")).await;
    answer.problem(401, "no-key");
}
