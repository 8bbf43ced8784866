//! Request bodies: read into typed requests, with the protocol's errors for what can't be.

use serde::de::Deserialize;

use crate::error::{ApiError, Kind, Result};
use crate::json::{SERIALIZATION, VALIDATION};

/// Reads a request body.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| api_error(&error))
}

fn api_error(error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(text, _)| text);
    if let Some(message) = text.strip_prefix(VALIDATION) {
        return ApiError::validation(message);
    }
    if let Some(message) = text.strip_prefix(SERIALIZATION) {
        return ApiError::new(Kind::Serialization, message);
    }
    if !error.is_data() {
        return ApiError::new(Kind::Serialization, "");
    }
    ApiError::new(Kind::Serialization, mismatch(text))
}

/// A mismatch of types in the service's words, as far as they are known.
fn mismatch(text: &str) -> String {
    let Some((found, wanted)) = text
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.split_once(", expected "))
    else {
        return text.to_owned();
    };
    let into = if wanted.contains("bool") {
        "Boolean"
    } else if wanted.contains("string") {
        "String"
    } else if wanted.contains("32") || wanted.contains("64") {
        "Integer"
    } else {
        return "Start of structure or map found where not expected.".into();
    };
    let found = match found.split(' ').next() {
        Some("integer") => "NUMBER_VALUE",
        Some("floating") => "DECIMAL_VALUE",
        Some("boolean") if found.contains("true") => "TRUE_VALUE",
        Some("boolean") => "FALSE_VALUE",
        Some("string") => "STRING_VALUE",
        Some("sequence") => return format!("Unrecognized collection type class java.lang.{into}"),
        _ => return "Start of structure or map found where not expected.".into(),
    };
    format!("{found} cannot be converted to {into}")
}
