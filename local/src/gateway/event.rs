//! Builds the event of API Gateway's payload version 2.0 for a request.
//!
//! Version 2.0 has no lists of headers or parameters: repeated ones are joined with commas. The
//! path is decoded, the query string is as sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use ulid::Ulid;

use super::route::Found;
use crate::template::ACCOUNT_ID;

/// The API's id: on AWS the first part of its host name.
const API_ID: &str = "local";

/// A request and what the gateway knows about it.
pub(super) struct Received<'a> {
    pub(super) head: &'a Parts,
    pub(super) body: &'a [u8],
    /// Decoded.
    pub(super) path: &'a str,
    pub(super) found: &'a Found<'a>,
    pub(super) peer: SocketAddr,
    /// The gateway's own port.
    pub(super) port: u16,
    pub(super) request_id: &'a str,
}

/// Returns an id in the form of an HTTP API's.
pub(super) fn request_id() -> String {
    let bytes = Ulid::generate().to_bytes();
    base64::engine::general_purpose::URL_SAFE.encode(&bytes[5..])
}

/// Returns the path as an HTTP API sees it: decoded.
pub(super) fn decoded_path(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

/// Builds the event.
pub(super) fn build(received: &Received<'_>) -> Value {
    let head = received.head;
    let host = text(&head.headers, HOST);
    let raw_query = head.uri.query().unwrap_or_default();
    let now = Timestamp::now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": received.found.target.route_key,
        "rawPath": received.path,
        "rawQueryString": raw_query,
        "headers": headers(received),
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": API_ID,
            "domainName": host,
            "domainPrefix": API_ID,
            "http": {
                "method": head.method.as_str(),
                "path": received.path,
                "protocol": "HTTP/1.1",
                "sourceIp": received.peer.ip().to_string(),
                "userAgent": text(&head.headers, USER_AGENT),
            },
            "requestId": received.request_id,
            "routeKey": received.found.target.route_key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    let cookies = cookies(&head.headers);
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    let query = query(raw_query);
    if !query.is_empty() {
        event["queryStringParameters"] = json!(query);
    }
    if !received.found.parameters.is_empty() {
        let parameters = received.found.parameters.iter().cloned();
        event["pathParameters"] = json!(parameters.collect::<BTreeMap<_, _>>());
    }
    if !received.body.is_empty() {
        let is_text = !head.headers.contains_key(CONTENT_ENCODING)
            && is_text(&text(&head.headers, CONTENT_TYPE));
        event["isBase64Encoded"] = json!(!is_text);
        event["body"] = if is_text {
            Value::String(String::from_utf8_lossy(received.body).into_owned())
        } else {
            Value::String(STANDARD.encode(received.body))
        };
    }
    event
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers.get(name).map(http::HeaderValue::as_bytes);
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}

fn headers(received: &Received<'_>) -> Map<String, Value> {
    let mut joined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &received.head.headers {
        if name != COOKIE {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            joined
                .entry(name.as_str().to_owned())
                .or_default()
                .push(value);
        }
    }
    let forwarded = joined.entry("x-forwarded-for".to_owned()).or_default();
    forwarded.push(received.peer.ip().to_string());
    joined.insert("x-forwarded-proto".to_owned(), vec!["http".to_owned()]);
    joined.insert(
        "x-forwarded-port".to_owned(),
        vec![received.port.to_string()],
    );
    joined
        .entry("x-amzn-trace-id".to_owned())
        .or_insert_with(|| vec![trace_id()]);
    joined
        .into_iter()
        .map(|(name, values)| {
            let separator = if name == "x-forwarded-for" { ", " } else { "," };
            (name, Value::String(values.join(separator)))
        })
        .collect()
}

/// Returns a trace id in X-Ray's form: the time in seconds, then 96 bits.
fn trace_id() -> String {
    let id = Ulid::generate();
    let random = id.random() | (1 << 95);
    let hex = format!("{random:024x}");
    format!(
        "Root=1-{:08x}-{}",
        id.timestamp_ms() / 1000,
        &hex[hex.len() - 24..]
    )
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            value
                .split(';')
                .map(|one| one.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

fn query(raw: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (form_decoded(name), form_decoded(value));
        parameters
            .entry(name)
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert(value);
    }
    parameters
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Returns whether an HTTP API passes a body that is not compressed on as a string; everything else is Base64, forms too. AWS
/// documents the rule for compressed bodies for load balancers only.
fn is_text(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    media.starts_with("text/")
        || matches!(
            media.as_str(),
            "application/json" | "application/javascript" | "application/xml"
        )
        || media.ends_with("/xml")
        || media.ends_with("+json")
        || media.ends_with("+xml")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;

    use super::super::route::Target;
    use super::*;

    fn event(request: Request<&[u8]>, parameters: Vec<(String, String)>) -> Value {
        let (head, body) = request.into_parts();
        let target = Target {
            function: "f".into(),
            route_key: "GET /a/{id}".into(),
            timeout: Duration::ZERO,
        };
        build(&Received {
            head: &head,
            body,
            path: &decoded_path(head.uri.path()),
            found: &Found {
                target: &target,
                parameters,
            },
            peer: ([127, 0, 0, 1], 5).into(),
            port: 9000,
            request_id: "id",
        })
    }

    #[test]
    fn repeated_headers_are_joined_and_the_path_is_decoded() {
        let request = Request::get("/a/b%20c%7Ed?x=1&y=%2B&x=2+3&z")
            .header("host", "127.0.0.1:9000")
            .header("accept", "a")
            .header("accept", "b")
            .header("cookie", "k=v; l=w")
            .header("x-forwarded-for", "10.0.0.1")
            .body(&b""[..])
            .unwrap();
        let event = event(request, vec![("id".into(), "b c~d".into())]);
        assert_eq!(event["rawPath"], "/a/b c~d");
        assert_eq!(event["rawQueryString"], "x=1&y=%2B&x=2+3&z");
        let expected = json!({"x": "1,2 3", "y": "+", "z": ""});
        assert_eq!(event["queryStringParameters"], expected);
        assert_eq!(event["headers"]["accept"], "a,b");
        assert_eq!(event["headers"]["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
        assert_eq!(event["headers"]["x-forwarded-proto"], "http");
        assert_eq!(event["cookies"], json!(["k=v", "l=w"]));
        assert_eq!(event["pathParameters"]["id"], "b c~d");
        assert_eq!(event["requestContext"]["domainName"], "127.0.0.1:9000");
        assert!(event.get("body").is_none());
    }

    #[test]
    fn text_is_a_string_and_other_bodies_are_base64() {
        for (content_type, is_text) in [
            ("text/csv", true),
            ("application/json; charset=utf-8", true),
            ("Application/XML", true),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=x", false),
            ("application/octet-stream", false),
        ] {
            let request = Request::post("/")
                .header("content-type", content_type)
                .body(&b"caf\xe9"[..])
                .unwrap();
            let event = event(request, Vec::new());
            assert_eq!(event["isBase64Encoded"], !is_text, "{content_type}");
            let body = if is_text { "caf\u{fffd}" } else { "Y2Fm6Q==" };
            assert_eq!(event["body"], body, "{content_type}");
        }
    }

    #[test]
    fn compressed_text_is_base64() {
        let request = Request::post("/")
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(&b"\x1f\x8b"[..])
            .unwrap();
        let event = event(request, Vec::new());
        assert_eq!(
            (&event["isBase64Encoded"], &event["body"]),
            (&json!(true), &json!("H4s="))
        );
    }

    #[test]
    fn lambda_http_understands_it() {
        let request = Request::post("/a/b")
            .header("host", "h")
            .body(&b"x"[..])
            .unwrap();
        let event = event(request, Vec::new()).to_string();
        let request = lambda_http::request::from_str(&event).unwrap();
        assert_eq!(request.uri().to_string(), "http://h/a/b");
        assert_eq!(request.method(), "POST");
    }
}
