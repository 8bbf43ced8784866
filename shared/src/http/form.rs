//! Reads the fields of a body: JSON, `application/x-www-form-urlencoded` or `multipart/form-data`.

use bytes::Bytes;
use lambda_http::Request;
use lambda_http::http::Method;
use lambda_http::http::header::{CONTENT_TYPE, HeaderName};
use serde_json::Value;

use super::body::{bytes, decompressed};
use super::fields::{Fields, unique};
use super::json;
use crate::member::FieldError;
use crate::problem::Problem;

/// The header that lists the media types of a POST.
pub const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// The header that lists the media types of a PATCH.
pub const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The media types of a form, for `Accept-Post`.
pub const FORM_TYPES: &str =
    "application/json, application/x-www-form-urlencoded, multipart/form-data";

/// The media types of a PATCH, for `Accept-Patch`.
pub const PATCH_TYPES: &str = "application/json, application/merge-patch+json, \
                               application/x-www-form-urlencoded, multipart/form-data";

/// The largest body of a form, in bytes. The fields of a member need about a hundredth of it.
pub const MAX_BYTES: usize = 64 * 1024;

/// The message for a value that is not a [`scalar`].
pub const INVALID_TYPE: &str = "must be a string, or an integer of at most 15 digits";

/// The maximum number of fields of a form.
const MAX_FIELDS: usize = 100;

/// Returns the media type of a body, in lower case and without parameters; empty if there is none.
#[must_use]
pub fn media_type(request: &Request) -> String {
    content_type(request)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Returns whether a media type is JSON, or based on it (RFC 6839). A JSON Patch is not an object of fields.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || (media_type.starts_with("application/")
            && media_type.ends_with("+json")
            && media_type != "application/json-patch+json")
}

fn content_type(request: &Request) -> &str {
    request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Reads the fields of a body.
///
/// # Errors
/// Returns 400 if the body does not match its media type or has a field twice, 413 if it is too large, 415 if the media
/// type or the content coding is not supported.
pub async fn fields(request: Request) -> Result<Fields, Problem> {
    let is_patch = request.method() == Method::PATCH;
    check_size(&request)?;
    let request = decompressed(request, MAX_BYTES)?;
    match media_type(&request).as_str() {
        media_type if is_json(media_type) => json_fields(&bytes(request.into_body()), &[]),
        "application/x-www-form-urlencoded" => {
            let body = bytes(request.into_body());
            if form_urlencoded::parse(&body).nth(MAX_FIELDS).is_some() {
                return Err(Problem::malformed_body(format!(
                    "The form has more than {MAX_FIELDS} fields."
                )));
            }
            unique(form_urlencoded::parse(&body).into_owned())
        }
        "multipart/form-data" => {
            let parts = parts(request).await?.into_iter();
            let mut fields = Fields::new();
            for (name, content) in unique(parts.map(|part| (part.name, part.content)))? {
                let text = String::from_utf8(content.to_vec())
                    .map_err(|_| Problem::invalid_field(&name, "not_utf8", "must be UTF-8 text"))?;
                fields.insert(name, text);
            }
            Ok(fields)
        }
        _ if is_patch => Err(Problem::media_type(ACCEPT_PATCH, PATCH_TYPES)),
        _ => Err(Problem::media_type(ACCEPT_POST, FORM_TYPES)),
    }
}

/// Checks the size of a form's body.
///
/// # Errors
/// Returns 413 if it is too large.
pub fn check_size(request: &Request) -> Result<(), Problem> {
    let bytes: &[u8] = request.body();
    if bytes.len() > MAX_BYTES {
        return Err(Problem::too_large(format!(
            "The body has {} bytes; the maximum is {MAX_BYTES}.",
            bytes.len()
        )));
    }
    Ok(())
}

/// Returns the text of a string, or the digits of a whole number; `None` for other values.
#[must_use]
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_f64().and_then(whole),
        _ => None,
    }
}

/// Returns the digits of a whole number, which may be written with a decimal point or an exponent.
/// Many clients silently lose digits of numbers that a double cannot represent exactly (RFC 7493,
/// 2.2), so such a number must be sent as a string.
fn whole(number: f64) -> Option<String> {
    const MAX_EXACT: f64 = 9_007_199_254_740_991.0; // 2^53 - 1
    let is_whole = number.fract() == 0.0 && number.abs() <= MAX_EXACT;
    is_whole.then(|| format!("{number:.0}"))
}

/// Parses a whole number that is written in digits only.
#[must_use]
pub fn whole_number(text: &str) -> Option<u64> {
    let in_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| in_digits)
}

/// Reads a JSON object whose values are texts or whole numbers. A number is read as its digits,
/// because clients send ids and phone numbers unquoted. `null` means absent. The fields called
/// `other` may have any value, which is read as its JSON text: `true`, or `{"a": null}`.
///
/// # Errors
/// Returns 400 if it is not such an object.
pub fn json_fields(body: &[u8], other: &[&str]) -> Result<Fields, Problem> {
    let object = json::object(body)?;
    let mut fields = Fields::new();
    let mut errors = Vec::new();
    for (name, value) in object {
        let is_other = !value.is_null() && other.contains(&name.as_str());
        match scalar(&value).or_else(|| is_other.then(|| value.to_string())) {
            Some(text) => {
                fields.insert(name, text);
            }
            None if value.is_null() => {}
            None => errors.push(FieldError::new(name, "invalid_type", INVALID_TYPE)),
        }
    }
    if errors.is_empty() {
        Ok(fields)
    } else {
        Err(Problem::invalid_fields(errors))
    }
}

/// One part of a multipart body.
#[derive(Debug)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// The name of the file, if the part is one.
    pub file_name: Option<String>,
    /// Its content.
    pub content: Bytes,
}

/// Returns the boundary of a multipart body; `None` if it is not one.
#[must_use]
pub fn boundary(request: &Request) -> Option<String> {
    multer::parse_boundary(content_type(request)).ok()
}

/// Reads the parts of a `multipart/form-data` body.
///
/// # Errors
/// Returns 400 if the body is not valid.
pub async fn parts(request: Request) -> Result<Vec<Part>, Problem> {
    let malformed = |error: multer::Error| {
        Problem::malformed_body(format!("The multipart body is invalid: {error}."))
    };
    let boundary = multer::parse_boundary(content_type(&request)).map_err(malformed)?;
    let body = bytes(request.into_body());
    let stream = futures_util::stream::once(async move { Ok::<_, std::convert::Infallible>(body) });
    let mut multipart = multer::Multipart::new(stream, boundary);
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(malformed)? {
        if parts.len() == MAX_FIELDS {
            return Err(Problem::malformed_body(format!(
                "The multipart body has more than {MAX_FIELDS} parts."
            )));
        }
        // A part without a name is not a field.
        let Some(name) = field.name().map(str::to_owned) else {
            continue;
        };
        parts.push(Part {
            name,
            file_name: field.file_name().map(str::to_owned),
            content: field.bytes().await.map_err(malformed)?,
        });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use lambda_http::Body;

    use super::*;

    fn request(media_type: &str, body: &str) -> Request {
        lambda_http::http::Request::builder()
            .header(CONTENT_TYPE, media_type)
            .body(Body::from(body))
            .unwrap()
    }

    #[tokio::test]
    async fn each_media_type_yields_the_same_fields() {
        let multipart = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
             --x\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\nZoë & co\r\n--x--\r\n";
        for (media_type, body) in [
            (
                "application/json",
                r#"{"a": 1, "b": "Zoë & co", "c": null}"#,
            ),
            (
                "Application/JSON; charset=utf-8",
                r#"{"a": "1", "b": "Zoë & co"}"#,
            ),
            (
                "application/vnd.acme.member+json",
                "\u{FEFF}{\"a\": 1, \"b\": \"Zoë & co\"}",
            ),
            ("application/x-www-form-urlencoded", "a=1&b=Zo%C3%AB+%26+co"),
            ("multipart/form-data; boundary=x", multipart),
        ] {
            let fields = fields(request(media_type, body)).await.unwrap();
            let expected: Fields = [("a", "1"), ("b", "Zoë & co")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
            assert_eq!(fields, expected, "{media_type}");
        }
    }

    #[test]
    fn a_field_may_have_another_value() {
        let body = br#"{"a": true, "b": "x", "c": null}"#;
        let fields = json_fields(body, &["a", "c"]).unwrap();
        assert_eq!((fields["a"].as_str(), fields.len()), ("true", 2));
        assert!(json_fields(body, &["b"]).is_err());
    }

    #[tokio::test]
    async fn invalid_forms_are_rejected() {
        const REPEATED: &str = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
             --x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n";
        for (media_type, body) in [
            ("application/json", "{"),
            ("application/json", "[1]"),
            ("application/json", r#"{"a": {"b": 1}}"#),
            ("application/json", r#"{"a": 1.5}"#),
            ("application/json", r#"{"a": 1e300}"#),
            ("application/json", r#"{"a": 9007199254740993}"#),
            ("application/json", r#"{"a": 1, "a": 1}"#),
            ("application/json-patch+json", r#"{"a": 1}"#),
            ("text/x+json", r#"{"a": 1}"#),
            ("application/x-www-form-urlencoded", "a=1&b=2&a=1"),
            ("multipart/form-data; boundary=x", REPEATED),
            ("multipart/form-data", "x"),
            ("multipart/form-data; boundary=x", "nothing"),
            ("text/plain", "a=1"),
        ] {
            assert!(fields(request(media_type, body)).await.is_err(), "{body}");
        }
    }
}
