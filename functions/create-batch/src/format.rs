//! The fields that say how to read the file.

use std::collections::BTreeSet;

use encoding_rs::Encoding;
use mpulse_shared::batch::{Columns, FileFormat};
use mpulse_shared::http::json;
use mpulse_shared::member::{Field, FieldError};
use mpulse_shared::phone::is_region;

/// The longest name of a sheet, in characters (a limit of workbooks).
const MAX_SHEET: usize = 31;

/// The longest `columns`, in bytes.
const MAX_COLUMNS: usize = 64 * 1024;

/// Checks that the columns fit a file with or without a header. `has_account` means that the batch names the account.
///
/// # Errors
/// Returns what does not fit.
pub fn check_columns(format: &FileFormat, has_account: bool) -> Result<(), FieldError> {
    let invalid = |message: String| Err(FieldError::new("columns", "invalid_columns", message));
    let fields: Vec<Field> = match (&format.columns, format.header) {
        (None, true) => return Ok(()),
        (Some(Columns::ByName(columns)), true) => columns.values().copied().flatten().collect(),
        (Some(Columns::InOrder(columns)), false) => columns.iter().copied().flatten().collect(),
        (_, true) => {
            return invalid(
                "must be an object of header names and fields; an array is for a file without a header (\"header\": false)"
                    .to_owned(),
            );
        }
        (_, false) => {
            return invalid(
                "must be an array with the field of each column, because the file has no header"
                    .to_owned(),
            );
        }
    };
    let distinct: BTreeSet<Field> = fields.iter().copied().collect();
    if distinct.len() < fields.len() {
        return invalid("has the same field for two columns".to_owned());
    }
    let missing: Vec<&str> = Field::ALL
        .into_iter()
        .filter(|field| !distinct.contains(field))
        .filter(|field| !(has_account && *field == Field::AccountId))
        .map(Field::name)
        .collect();
    if let Some(Columns::ByName(columns)) = &format.columns
        && columns.contains_key("")
    {
        return invalid("has an empty header name".to_owned());
    }
    if !format.header && !missing.is_empty() {
        return invalid(format!("has no column for {}", missing.join(", ")));
    }
    Ok(())
}

/// Sets a field. Returns `false` if it is not one of these.
///
/// # Errors
/// Returns what is invalid.
pub fn take(format: &mut FileFormat, name: &str, value: &str) -> Result<bool, FieldError> {
    match name {
        "columns" => {
            let columns = json::value(value).and_then(|value| serde_json::from_value(value).ok());
            format.columns = Some(columns.filter(|_| value.len() <= MAX_COLUMNS).ok_or_else(
                || {
                    FieldError::new(
                        name,
                        "invalid_columns",
                        format!(
                            "must be a JSON object such as {{\"Handy\": \"phone_number\", \"Notes\": null}}, or an array of \
                             fields for a file without a header. The fields are {}",
                            Field::ALL.map(Field::name).join(", ")
                        ),
                    )
                },
            )?);
        }
        "header" => format.header = flag(name, value, "invalid_header")?,
        "stop_early" => format.stop_early = flag(name, value, "invalid_stop_early")?,
        "default_region" => {
            let region = value.to_ascii_uppercase();
            if !is_region(&region) {
                return Err(FieldError::new(
                    name,
                    "invalid_region",
                    "must be the two letters of a country, such as GB",
                ));
            }
            format.default_region = Some(region);
        }
        "encoding" => {
            let encoding = Encoding::for_label_no_replacement(value.as_bytes());
            let encoding = encoding.ok_or_else(|| {
                FieldError::new(
                    name,
                    "invalid_encoding",
                    "must be a label of the WHATWG Encoding Standard, such as utf-8, windows-1252 or shift_jis",
                )
            })?;
            format.encoding = Some(encoding.name().to_ascii_lowercase());
        }
        "sheet" => {
            if value.is_empty() || value.chars().count() > MAX_SHEET {
                return Err(FieldError::new(
                    name,
                    "invalid_sheet",
                    format!("must be the name of a sheet, of 1 to {MAX_SHEET} characters"),
                ));
            }
            format.sheet = Some(value.to_owned());
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads a boolean.
///
/// # Errors
/// Returns an error with this code for any other text.
pub fn flag(name: &str, value: &str, code: &'static str) -> Result<bool, FieldError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(FieldError::new(name, code, "must be true or false")),
    }
}
