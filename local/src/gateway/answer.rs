//! Converts a function's result into an HTTP response, according to payload version 2.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

/// The content type of a result that has none.
const DEFAULT_CONTENT_TYPE: &str = "text/plain;charset=UTF-8";

/// Returns the gateway's own response with a status.
pub(super) fn own(status: StatusCode) -> Response<Full<Bytes>> {
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        StatusCode::INTERNAL_SERVER_ERROR => "Internal Server Error",
        other => other.canonical_reason().unwrap_or_default(),
    };
    let body = json!({ "message": message }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Returns the response for a function's result, if the result is one.
pub(super) fn response(answer: Value) -> Option<Response<Full<Bytes>>> {
    let Value::Object(mut answer) = answer else {
        return inferred(&answer);
    };
    if !answer.contains_key("statusCode") {
        return inferred(&Value::Object(answer));
    }
    let body = body(&mut answer)?;
    let mut response = Response::new(Full::new(body.clone()));
    *response.status_mut() = status(&answer["statusCode"])?;
    let headers = response.headers_mut();
    for (name, value) in answer
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let name = HeaderName::try_from(name).ok()?;
        // The gateway manages the connection itself.
        if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&name) {
            continue;
        }
        headers.insert(name, HeaderValue::from_str(&scalar(value)?).ok()?);
    }
    for cookie in answer
        .get("cookies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        headers.append(SET_COOKIE, HeaderValue::from_str(cookie.as_str()?).ok()?);
    }
    if !body.is_empty() {
        let default = HeaderValue::from_static(DEFAULT_CONTENT_TYPE);
        headers.entry(CONTENT_TYPE).or_insert(default);
    }
    Some(response)
}

/// In version 2.0, a result without a status is a JSON body.
fn inferred(answer: &Value) -> Option<Response<Full<Bytes>>> {
    let body = match answer {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .ok()
}

fn status(value: &Value) -> Option<StatusCode> {
    let code = match value {
        Value::String(text) => text.parse().ok()?,
        other => u16::try_from(other.as_u64()?).ok()?,
    };
    StatusCode::from_u16(code).ok()
}

fn body(answer: &mut Map<String, Value>) -> Option<Bytes> {
    let text = match answer.remove("body") {
        None | Some(Value::Null) => return Some(Bytes::new()),
        Some(Value::String(text)) => text,
        Some(_) => return None,
    };
    if answer.get("isBase64Encoded") == Some(&Value::Bool(true)) {
        STANDARD.decode(text).ok().map(Bytes::from)
    } else {
        Some(Bytes::from(text))
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_becomes_a_response() {
        let response = response(json!({
            "statusCode": 201,
            "headers": {"location": "/x", "content-length": "99"},
            "multiValueHeaders": {},
            "cookies": ["a=1", "b=2"],
            "body": "Y2Fm6Q==",
            "isBase64Encoded": true,
        }))
        .unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["location"], "/x");
        assert!(!response.headers().contains_key("content-length"));
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.headers()["content-type"], DEFAULT_CONTENT_TYPE);
    }

    #[test]
    fn invalid_results_are_rejected_or_inferred() {
        assert!(response(json!({"statusCode": 99})).is_none());
        assert!(response(json!({"statusCode": 200, "body": {}})).is_none());
        let not_base64 = json!({"statusCode": 200, "body": "?", "isBase64Encoded": true});
        assert!(response(not_base64).is_none());
        let inferred = response(json!({"hello": 1})).unwrap();
        assert_eq!(inferred.status(), 200);
        assert_eq!(inferred.headers()["content-type"], "application/json");
    }
}
