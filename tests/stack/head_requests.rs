//! HEAD: the response to GET, without its body.

use mpulse_tests::{Answer, HEADER, Stack, row, send, text};
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Method, RequestBuilder};

use crate::contract;

/// Headers that differ from request to request, or that depend on the body.
const OTHER: [&str; 4] = ["apigw-requestid", "content-length", "date", "location"];

fn comparable(answer: &Answer) -> HeaderMap {
    let mut headers = answer.headers.clone();
    for name in OTHER {
        headers.remove(name);
    }
    headers
}

/// Checks that a HEAD has the response of a GET without its body.
async fn check(request: impl Fn(Method) -> RequestBuilder, what: &str) -> Answer {
    let get = send(request(Method::GET)).await;
    let head = send(request(Method::HEAD)).await;
    assert_eq!(head.status, get.status, "{what}");
    assert_eq!(comparable(&head), comparable(&get), "{what}");
    let is_redirection = |answer: &Answer| !answer.header("location").is_empty();
    assert_eq!(is_redirection(&head), is_redirection(&get), "{what}");
    assert!(head.body.is_empty(), "{what}");
    get
}

#[tokio::test(flavor = "multi_thread")]
async fn head_works_wherever_get_does() {
    let stack = Stack::start().await;
    let contract = contract::contract();
    let operations = contract::operations(&contract);
    let gets = operations.iter().filter(|one| one.method == Method::GET);
    let mut tried = 0;
    for operation in gets {
        let path = contract::example_path(&stack, &contract, operation).await;
        for accept in ["*/*", "application/json"] {
            let request = |method| {
                let request = stack.request_as(&stack.admin, method, &path);
                request.header(ACCEPT, accept)
            };
            let get = check(request, &path).await;
            assert!(get.status < 400, "{path}: {}", get.text());
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_no_body_either() {
    let stack = Stack::start().await;
    for path in [
        "/api/members/4~nobody",
        "/api/members?limit=0",
        "/api/members/create",
        "/api/nothing",
        "/assets/nothing.js",
    ] {
        let get = check(|method| stack.request(method, path), path).await;
        assert!(get.status >= 400, "{path}");
    }
    check(|method| stack.anonymous(method, "/api/members"), "no key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_report_redirects_to_the_head_of_its_object() {
    let stack = Stack::start().await;
    let batch = stack
        .upload(format!("{HEADER}{}4,,,,\n", row("4", 1)))
        .await;
    for name in ["rejects", "rejects_xlsx", "changes"] {
        let link = text(&batch["links"][name]);
        let mut answers = Vec::new();
        for method in [Method::GET, Method::HEAD] {
            let redirection = send(stack.request(method.clone(), link)).await;
            redirection.expect(302);
            let url = redirection.header("location").to_owned();
            let answer = send(stack.anonymous(method, &url)).await;
            answer.expect(200);
            // A URL is signed for one method.
            send(stack.anonymous(Method::DELETE, &url))
                .await
                .expect(403);
            answers.push(answer);
        }
        let [get, head] = &answers[..] else {
            unreachable!("two methods");
        };
        assert!(head.body.is_empty() && !get.body.is_empty());
        for header in ["content-length", "content-type", "etag"] {
            assert_eq!(head.header(header), get.header(header), "{name}");
        }
    }
}
