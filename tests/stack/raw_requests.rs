//! Requests that a proper client does not send, written to the gateway's socket byte by byte: each has one definite response,
//! or its connection is closed. No bytes are read as two requests by one part and as one by another.

use std::time::Duration;

use mpulse_tests::Stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any response takes, and shorter than the gateway waits for the rest of a request.
const LIMIT: Duration = Duration::from_secs(10);

/// A request, without the line breaks of its head, and the statuses of all responses on its connection.
type Case<'a> = (&'a str, &'a [u16]);

/// Sends bytes, and returns what the gateway sends until it closes the connection.
pub(crate) async fn exchange(stack: &Stack, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(authority(stack))
        .await
        .expect("it listens");
    let mut received = Vec::new();
    let conversation = async {
        // It may close the connection before it has read all.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut received).await;
    };
    let ended = timeout(LIMIT, conversation).await;
    let sent = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
    assert!(
        ended.is_ok(),
        "the connection was not closed after {sent:?}"
    );
    received
}

/// Returns the gateway's address.
pub(crate) fn authority(stack: &Stack) -> String {
    stack.local_stack.api_url().replace("http://", "")
}

/// Returns the statuses of responses that follow each other.
fn statuses(mut received: &[u8]) -> Vec<u16> {
    let mut all = Vec::new();
    while !received.is_empty() {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.expect("a whole head") + 4;
        let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
        let status = head.strip_prefix("http/1.").and_then(|rest| rest.get(2..5));
        all.push(status.expect("a status").parse().expect("a number"));
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |text| text.parse().expect("a number"));
        received = &received[end + length..];
    }
    all
}

/// Sends each request, with `{host}` replaced, and compares the statuses.
pub(crate) async fn check(stack: &Stack, cases: &[Case<'_>]) {
    let mut wrong = Vec::new();
    for (request, expected) in cases {
        let bytes = request.replace("{host}", &authority(stack));
        let found = statuses(&exchange(stack, bytes.as_bytes()).await);
        if found != *expected {
            let shown: String = request.chars().take(300).collect();
            wrong.push(format!("{found:?}, not {expected:?}: {shown:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let next = "GET /api/health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n";
    let next = next.replace("{host}", &authority(stack));
    assert_eq!(statuses(&exchange(stack, next.as_bytes()).await), [200]);
}

/// Returns a request with these lines after its first two.
pub(crate) fn with_lines(line: &str, lines: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: {{host}}\r\n{lines}\r\n\r\n{body}")
}

/// Another request, which must not be read from the body of the first.
const SMUGGLED: &str = "GET /api/docs HTTP/1.1\r\nhost: {host}\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of requests")]
async fn a_body_has_one_length() {
    let stack = Stack::start().await;
    let post = |lines: &str, body: &str| with_lines("POST /api/health", lines, body);
    let chunked_and_more = format!("0\r\n\r\n{SMUGGLED}");
    let both = "content-length: 6\r\ntransfer-encoding: chunked";
    let both_reversed = "transfer-encoding: chunked\r\ncontent-length: 6";
    for (lines, expected) in [
        // The chunks count, and the connection is closed after the response (RFC 9112, 6.3).
        (both, 405),
        (both_reversed, 405),
        ("content-length: 6\r\ntransfer-encoding: identity", 400),
        ("transfer-encoding: chunked, identity", 400),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: identity",
            400,
        ),
        ("transfer-encoding: xchunked", 400),
        ("transfer-encoding : chunked", 400),
        ("transfer-encoding:\u{b}chunked", 400),
        ("transfer-encoding: chunked\r\n x", 400),
        ("transfer-encoding", 400),
        ("content-length: 5\r\ncontent-length: 6", 400),
        ("content-length: 5, 5", 400),
        ("content-length: +5", 400),
        ("content-length: -1", 400),
        ("content-length: 0x5", 400),
        ("content-length: 5 5", 400),
        ("content-length: 99999999999999999999", 400),
        ("content-length:", 400),
        ("content-length : 5", 400),
    ] {
        check(&stack, &[(&post(lines, &chunked_and_more), &[expected])]).await;
    }
    let close = "connection: close";
    check(
        &stack,
        &[
            (
                &post(
                    "content-length: 0\r\ncontent-length: 0\r\nconnection: close",
                    "",
                ),
                &[405],
            ),
            (
                &post(
                    &format!("content-length: 3\r\n{close}"),
                    &format!("abc{SMUGGLED}"),
                ),
                &[405],
            ),
            (
                &post(
                    &format!("transfer-encoding: Chunked\r\n{close}"),
                    &format!("3;x=y\r\nabc\r\n0\r\n\r\n{SMUGGLED}"),
                ),
                &[405],
            ),
            // Chunks that are no chunks.
            (
                &post(
                    "transfer-encoding: chunked",
                    &format!("zz\r\nabc\r\n0\r\n\r\n{SMUGGLED}"),
                ),
                &[400],
            ),
            (
                &post(
                    "transfer-encoding: chunked",
                    &format!("fffffffffffffffff\r\nabc\r\n0\r\n\r\n{SMUGGLED}"),
                ),
                &[400],
            ),
            (
                &post(
                    "transfer-encoding: chunked",
                    &format!("3\r\nabcdef\r\n0\r\n\r\n{SMUGGLED}"),
                ),
                &[400],
            ),
            (
                &post(
                    "transfer-encoding: chunked",
                    &format!("-1\r\nabc\r\n0\r\n\r\n{SMUGGLED}"),
                ),
                &[400],
            ),
            // A GET with a body, and requests that follow each other.
            (
                &with_lines(
                    "GET /api/health",
                    "content-length: 3\r\nconnection: close",
                    &format!("abc{SMUGGLED}"),
                ),
                &[200],
            ),
            (
                &format!("{SMUGGLED}{}", with_lines("GET /api/health", close, "")),
                &[200, 200],
            ),
            (
                &format!(
                    "{}garbage\r\n\r\n",
                    with_lines("GET /api/health", "x: y", "")
                ),
                &[200, 400],
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_well_formed() {
    let stack = Stack::start().await;
    let get = |lines: &str| {
        with_lines(
            "GET /api/health",
            &format!("{lines}\r\nconnection: close"),
            "",
        )
    };
    let cases = [
        (get("x-a: b"), 200),
        (get("x-a:"), 200),
        (get("x-a: b\r\n c"), 400),
        (get("x-a: b\r\n\tc"), 400),
        (get("x-a: b\rc"), 400),
        (get("x-a: b\0c"), 400),
        (get("x\0a: b"), 400),
        (get("x a: b"), 400),
        (get("x-a : b"), 400),
        (get(": b"), 400),
        (get("b"), 400),
        (get("x-ä: b"), 400),
        (get("(x): b"), 400),
        // A line may end with LF alone (RFC 9112, 2.2).
        (get("x-a: b\nx-c: d"), 200),
        (
            get("upgrade: h2c\r\nhttp2-settings: AAAA\r\nconnection: upgrade, http2-settings"),
            200,
        ),
        (get("expect: 100-continue"), 200),
        (
            get("te: trailers\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive"),
            200,
        ),
    ];
    for (request, status) in &cases {
        check(&stack, &[(request, &[*status])]).await;
    }
    let lines: [Case<'_>; 18] = [
        ("GET / HTTP/1.1\r\nconnection: close", &[400]),
        (
            "GET / HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\nconnection: close",
            &[400],
        ),
        (
            "GET / HTTP/1.1\r\nhost: {host}\r\nhost: example.com\r\nconnection: close",
            &[400],
        ),
        ("GET / HTTP/1.1\r\nhost: \r\nconnection: close", &[400]),
        (
            "GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close",
            &[421],
        ),
        (
            "GET http://{host}/api/health HTTP/1.1\r\nhost: {host}\r\nconnection: close",
            &[200],
        ),
        (
            "GET http://example.com/api/health HTTP/1.1\r\nhost: {host}\r\nconnection: close",
            &[421],
        ),
        ("GET /api/health HTTP/1.0", &[200]),
        (
            "GET /api/health HTTP/1.0\r\ntransfer-encoding: chunked",
            &[400],
        ),
        ("GET /api/health HTTP/3.0\r\nhost: {host}", &[400]),
        ("GET /api/health", &[400]),
        ("PRI * HTTP/2.0", &[400]),
        ("\x16\x03\x01", &[400]),
        ("GET  /api/health HTTP/1.1\r\nhost: {host}", &[400]),
        (
            "OPTIONS * HTTP/1.1\r\nhost: {host}\r\nconnection: close",
            &[400],
        ),
        (
            "CONNECT {host} HTTP/1.1\r\nhost: {host}\r\nconnection: close",
            &[400],
        ),
        (
            "get /api/health HTTP/1.1\r\nhost: {host}\r\nconnection: close",
            &[405],
        ),
        (
            "G@T /api/health HTTP/1.1\r\nhost: {host}\r\nconnection: close",
            &[400],
        ),
    ];
    for (line, statuses) in lines {
        check(&stack, &[(&format!("{line}\r\n\r\n"), statuses)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_at_most_10240_bytes() {
    let stack = Stack::start().await;
    let host = authority(&stack).len();
    // The values of `host` and `connection`, and the request line.
    let others = host + "close".len() + "GET /api/health HTTP/1.1\r\n".len();
    let with_value = |size: usize| {
        with_lines(
            "GET /api/health",
            &format!("connection: close\r\nx-a: {}", "b".repeat(size)),
            "",
        )
    };
    let with_query = |size: usize| {
        with_lines(
            &format!("GET /api/health?{}", "b".repeat(size)),
            "connection: close",
            "",
        )
    };
    let many: String = (0..200).fold(String::new(), |lines, n| lines + &format!("x-{n}: b\r\n"));
    let with_body = with_lines(
        "POST /api/health",
        &format!(
            "content-length: 3\r\nconnection: close\r\nx-a: {}",
            "b".repeat(20_000)
        ),
        "abc",
    );
    check(
        &stack,
        &[
            (&with_value(10_240 - others), &[200]),
            (&with_value(10_241 - others), &[431]),
            (&with_query(10_239 - others), &[200]),
            (&with_query(10_240 - others), &[431]),
            (&with_query(70_000), &[414]),
            (&with_value(1_000_000), &[431]),
            (&with_body, &[431]),
            (
                &with_lines("GET /api/health", &format!("{many}connection: close"), ""),
                &[431],
            ),
        ],
    )
    .await;
    let answer = exchange(
        &stack,
        with_value(11_000)
            .replace("{host}", &authority(&stack))
            .as_bytes(),
    )
    .await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.ends_with("{\"message\":\"Request Header Fields Too Large\"}"),
        "{answer}"
    );
}
