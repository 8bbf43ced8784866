//! Paths and headers that try to reach something else than they name, written to the gateway's socket byte by byte, and requests
//! that name another host.

use mpulse_shared::key::Role;
use mpulse_tests::{Stack, send};
use reqwest::Method;

use crate::raw_requests::{authority, check, exchange, with_lines};

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_one_path() {
    let stack = Stack::start().await;
    stack.fixed_key("raw", "secret", Role::Writer).await;
    // raw:secret
    let key = "authorization: Basic cmF3OnNlY3JldA==\r\nconnection: close";
    // The gateway matches a path as it is, so none of these reaches a function of another path. The function that responds to
    // paths without a route knows some of them, once their dots are resolved, and returns 405 instead of 404.
    for (path, status) in [
        ("/api/health", 200),
        ("//api/health", 404),
        ("/api//health", 404),
        ("/api/health//", 404),
        ("/api/./health", 405),
        ("/api/../api/health", 405),
        ("/api/%2e%2e/api/health", 405),
        ("/x/../api/health", 405),
        ("/api/health/..", 404),
        ("/api/health%00", 405),
        ("/api/health%0d%0ax: y", 400),
        ("/api/health%0d%0ax:%20y", 404),
        ("/api/health;x=1", 404),
        ("/api/health%3fx", 405),
        ("/api/health?%00=%0d%0a&=&&%", 200),
        ("/api/health%", 404),
        ("/api/health%zz", 404),
        ("/api/HEALTH", 404),
        // The gateway decodes the path before it looks for a route.
        ("/api%2fhealth", 200),
        ("/%61pi/health", 200),
        ("/assets/../index.html", 404),
        ("/assets/..%2f..%2fCargo.toml", 404),
        ("/assets/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404),
        ("/assets/..%5c..%5cCargo.toml", 404),
        ("/assets/..%252f..%252fCargo.toml", 404),
        ("/assets/app.js%00.css", 404),
        ("/api/members/4~a%00b", 404),
        ("/api/members/4~a%2fb", 404),
        ("/api/members/..%2fkeys", 405),
        ("/api/members/%ff%fe", 404),
        ("/api/members/%e2%80%ae", 404),
        ("/api/keys/..", 403),
        ("/api/members/batch/..%2f..%2f..%2fuploads", 404),
        ("/api/members/batch/%2e%2e", 404),
    ] {
        let request = with_lines(&format!("GET {path}"), key, "");
        check(&stack, &[(&request, &[status])]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_changes_the_request_or_its_caller() {
    let stack = Stack::start().await;
    stack.fixed_key("raw", "secret", Role::Writer).await;
    let key = "authorization: Basic cmF3OnNlY3JldA==";
    let get = |lines: &str| {
        with_lines(
            "GET /api/members/4~nobody",
            &format!("{lines}\r\nconnection: close"),
            "",
        )
    };
    let chunked = |head: &str, trailer: &str| {
        let lines = format!(
            "{head}transfer-encoding: chunked\r\ntrailer: authorization\r\nconnection: close"
        );
        with_lines(
            "DELETE /api/members/4~nobody",
            &lines,
            &format!("0\r\n{trailer}\r\n"),
        )
    };
    let continued = |lines: &str| {
        let lines = format!(
            "{lines}\r\nexpect: 100-continue\r\ncontent-length: 2\r\ncontent-type: application/json\r\nconnection: close"
        );
        with_lines("POST /api/members", &lines, "{}")
    };
    check(
        &stack,
        &[
            (&get(key), &[404]),
            (&get(&format!("{key}\r\nx-http-method-override: DELETE\r\nx-method-override: DELETE\r\nx-http-method: DELETE")), &[404]),
            (&get(&format!("{key}\r\nx-original-url: /api/health\r\nx-rewrite-url: /api/health")), &[404]),
            // A hop may not remove the credentials, nor may two of them be given.
            (&get(&format!("{key}\r\nconnection: authorization, x-forwarded-for")), &[404]),
            (&get(&format!("{key}\r\n{key}")), &[401]),
            (&get("proxy-authorization: Basic cmF3OnNlY3JldA=="), &[401]),
            (&get("x-forwarded-for: 127.0.0.1\r\nx-real-ip: 127.0.0.1\r\nforwarded: for=127.0.0.1"), &[401]),
            // Trailers are not headers.
            (&chunked("", &format!("{key}\r\n")), &[401]),
            (&chunked(&format!("{key}\r\n"), "authorization: Basic eDp5\r\n"), &[404]),
            (&continued(key), &[100, 400]),
            (&continued("x: y"), &[100, 401]),
        ],
    )
    .await;
    // Links contain the host of the request, and the scheme of the gateway.
    let member = r#"{"account_id":"4","client_member_id":"1","first_name":"A","last_name":"B","phone_number":"7145550123"}"#;
    let forged = "x-forwarded-host: example.com\r\nx-forwarded-proto: https\r\nx-forwarded-port: 1\r\nforwarded: host=example.com;proto=https";
    let lines = format!(
        "{key}\r\n{forged}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}",
        member.len()
    );
    let request =
        with_lines("POST /api/members", &lines, member).replace("{host}", &authority(&stack));
    let answer = exchange(&stack, request.as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let location = format!("location: http://{}/api/members/4~1\r\n", authority(&stack));
    assert!(answer.contains(&location), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_port_rejects_the_names_of_other_hosts() {
    let stack = Stack::with_faults("seed=1").await;
    let own = stack.local_stack.endpoints();
    let proxies = stack.local_stack.faulty_endpoints().expect("proxies");
    for url in [
        &own.s3,
        &own.dynamodb,
        &own.events,
        &proxies.s3,
        &proxies.dynamodb,
    ] {
        for (host, rejected) in [("example.com", true), ("localhost", false)] {
            let request = stack.anonymous(Method::POST, url).header("host", host);
            let answer = send(
                request
                    .header("x-amz-target", "DynamoDB_20120810.ListTables")
                    .body("{}"),
            )
            .await;
            assert_eq!(
                answer.status == 421,
                rejected,
                "{url} {host}: {}",
                answer.status
            );
        }
    }
}
