//! The fields of a request that creates a batch, validated.

use mpulse_shared::batch::{BatchRequest, Limit, MAX_PUT_BYTES, MAX_REMOVED, Mode, Removal};
use mpulse_shared::http::fields::Fields;
use mpulse_shared::http::form::whole_number;
use mpulse_shared::http::json;
use mpulse_shared::member::{AccountId, FieldError};

use crate::format;

/// The longest file name, in characters.
const MAX_FILE_NAME: usize = 255;

/// The fields that may be other than texts and numbers in JSON.
pub const NOT_TEXT: &[&str] = &[
    "changes",
    "columns",
    "dry_run",
    "header",
    "multipart",
    "removal",
    "stop_early",
];

/// Reads the fields of the request. A file may be announced with at most `most` bytes. [`whole`]
/// validates the fields together.
///
/// # Errors
/// Returns every error found.
pub fn parse(fields: Fields, most: u64) -> Result<BatchRequest, Vec<FieldError>> {
    let mut request = BatchRequest::default();
    let mut errors = Vec::new();
    for (name, value) in fields {
        if let Err(error) = take(&mut request, &name, value, most) {
            errors.push(error);
        }
    }
    if errors.is_empty() {
        Ok(request)
    } else {
        Err(errors)
    }
}

/// Validates the fields together.
///
/// # Errors
/// Returns what a multipart upload or the mode lacks, what the mode does not allow, that the file is too large for one PUT,
/// or that the columns do not fit a file with or without a header.
pub fn whole(request: &BatchRequest) -> Result<(), FieldError> {
    check_mode(request)?;
    format::check_columns(&request.format, request.account_id.is_some())?;
    match request.size {
        None if request.multipart => Err(FieldError::new(
            "size",
            "required",
            "is required if multipart is true",
        )),
        Some(size) if size > MAX_PUT_BYTES && !request.multipart => Err(FieldError::new(
            "size",
            "invalid_size",
            format!(
                "must be at most {MAX_PUT_BYTES}, the limit of S3 for one request. Send a larger file in parts, with \
                 \"multipart\": true"
            ),
        )),
        _ => Ok(()),
    }
}

/// Checks that the fields fit the mode.
fn check_mode(request: &BatchRequest) -> Result<(), FieldError> {
    let replaces = request.mode == Mode::Replace;
    if replaces && request.account_id.is_none() {
        return Err(FieldError::new(
            "account_id",
            "required",
            "is required in mode replace",
        ));
    }
    if replaces && request.parent_batch_id.is_some() {
        return Err(FieldError::new(
            "mode",
            "invalid_mode",
            "must not be replace for the corrected report of a batch, which has only some of the members",
        ));
    }
    if request.removal.is_some() && !replaces {
        return Err(FieldError::new(
            "removal",
            "invalid_removal",
            "is allowed in mode replace only: other modes remove no members",
        ));
    }
    if request.changes == Some(true) && !request.mode.compares() {
        return Err(FieldError::new(
            "changes",
            "invalid_changes",
            "must not be true in mode overwrite, which reads no members and so does not know what it changes",
        ));
    }
    Ok(())
}

/// Reads `removal`, which is JSON.
fn removal(name: &str, value: &str) -> Result<Removal, FieldError> {
    // An array would be taken for the fields in order.
    let value = json::value(value).filter(serde_json::Value::is_object);
    let removal = value.and_then(|value| serde_json::from_value(value).ok());
    removal
        .filter(|removal: &Removal| match removal.limit {
            Limit::Members(most) => most <= MAX_REMOVED,
            Limit::Share(_) => true,
        })
        .ok_or_else(|| {
            FieldError::new(
                name,
                "invalid_removal",
                "must be a JSON object such as {\"limit\": \"10%\", \"despite_unreadable_rows\": false}. The limit is a \
                 number of members, or a percentage with at most two decimals",
            )
        })
}

fn take(
    request: &mut BatchRequest,
    name: &str,
    value: String,
    most: u64,
) -> Result<(), FieldError> {
    match name {
        "file_name" => {
            if value.chars().count() > MAX_FILE_NAME || value.chars().any(char::is_control) {
                return Err(FieldError::new(
                    name,
                    "invalid_file_name",
                    format!(
                        "must be at most {MAX_FILE_NAME} characters without control characters"
                    ),
                ));
            }
            request.file_name = Some(value).filter(|name| !name.is_empty());
        }
        "size" => {
            let size = whole_number(&value).filter(|&n| n <= most);
            request.size = Some(size.ok_or_else(|| {
                FieldError::new(
                    name,
                    "invalid_size",
                    format!("must be a whole number of bytes, at most {most}"),
                )
            })?);
        }
        "multipart" => {
            request.multipart = format::flag(name, &value, "invalid_multipart")?;
        }
        "account_id" => request.account_id = Some(AccountId::parse(&value)?),
        "mode" => {
            request.mode = match value.as_str() {
                "upsert" => Mode::Upsert,
                "create" => Mode::Create,
                "overwrite" => Mode::Overwrite,
                "replace" => Mode::Replace,
                _ => {
                    return Err(FieldError::new(
                        name,
                        "invalid_mode",
                        "must be upsert, create, overwrite or replace",
                    ));
                }
            }
        }
        "dry_run" => request.dry_run = format::flag(name, &value, "invalid_dry_run")?,
        "changes" => request.changes = Some(format::flag(name, &value, "invalid_changes")?),
        "removal" => request.removal = Some(removal(name, &value)?),
        "parent_batch_id" => {
            let parent = value.parse().map_err(|_| {
                FieldError::new(name, "invalid_batch_id", "must be the id of a batch")
            })?;
            request.parent_batch_id = Some(parent);
        }
        _ if format::take(&mut request.format, name, &value)? => {}
        _ => {
            return Err(FieldError::new(
                name,
                "unknown_field",
                "must be one of file_name, size, multipart, account_id, mode, dry_run, changes, removal, parent_batch_id, columns, \
                 header, default_region, encoding, sheet, stop_early",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 100 * 1024 * 1024 * 1024;

    fn parse(fields: Fields) -> Result<BatchRequest, Vec<FieldError>> {
        super::parse(fields, MOST)
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_empty_request_is_an_upsert_of_any_size() {
        let request = parse(Fields::new()).unwrap();
        assert_eq!((request.mode, request.size), (Mode::Upsert, None));
    }

    #[test]
    fn errors_name_their_field() {
        let errors = parse(fields(&[
            ("account_id", "a b"),
            ("file_name", "a\nb"),
            ("mode", "revert"),
            ("parent_batch_id", "1"),
            ("size", "-1"),
            ("sise", "1"),
        ]))
        .unwrap_err();
        let codes: Vec<&str> = errors.iter().map(|error| error.code).collect();
        assert_eq!(
            codes,
            [
                "invalid_account_id",
                "invalid_file_name",
                "invalid_mode",
                "invalid_batch_id",
                "unknown_field",
                "invalid_size"
            ]
        );
    }

    #[test]
    fn flags_and_removal_are_validated() {
        for (name, value, code) in [
            ("dry_run", "yes", "invalid_dry_run"),
            ("changes", "1", "invalid_changes"),
            ("removal", "10%", "invalid_removal"),
            ("removal", "[5, true]", "invalid_removal"),
            ("removal", r#"{"limit": "101%"}"#, "invalid_removal"),
            ("removal", r#"{"limit": -1}"#, "invalid_removal"),
            (
                "removal",
                r#"{"limit": 1000000000000000}"#,
                "invalid_removal",
            ),
            ("removal", r#"{"limits": 5}"#, "invalid_removal"),
        ] {
            let errors = parse(fields(&[(name, value)])).unwrap_err();
            assert_eq!((errors.len(), errors[0].code), (1, code), "{name} {value}");
        }
        let removal = r#"{"limit": 250, "despite_unreadable_rows": true}"#;
        let request = parse(fields(&[
            ("mode", "replace"),
            ("account_id", "4"),
            ("dry_run", "true"),
            ("changes", "false"),
            ("removal", removal),
        ]));
        let request = request.unwrap();
        assert_eq!((request.mode, request.dry_run), (Mode::Replace, true));
        assert_eq!(request.changes, Some(false));
        assert_eq!(
            request.removal,
            Some(Removal {
                limit: Limit::Members(250),
                despite_unreadable_rows: true,
            })
        );
        assert!(whole(&request).is_ok());
    }

    #[test]
    fn fields_fit_the_mode() {
        let fault = |pairs: &[(&str, &str)]| {
            let request = parse(fields(pairs)).unwrap();
            let error = whole(&request).err()?;
            Some((error.field.clone(), error.code))
        };
        let found = |field: &str, code| Some((field.to_owned(), code));
        assert_eq!(
            fault(&[("mode", "replace")]),
            found("account_id", "required")
        );
        assert_eq!(fault(&[("mode", "replace"), ("account_id", "4")]), None);
        let parent = "01M8ER3WB4A1YDXGVAM3TVJJT5";
        assert_eq!(
            fault(&[
                ("mode", "replace"),
                ("account_id", "4"),
                ("parent_batch_id", parent)
            ]),
            found("mode", "invalid_mode")
        );
        assert_eq!(
            fault(&[("removal", "{}")]),
            found("removal", "invalid_removal")
        );
        for (mode, changes, valid) in [
            ("overwrite", "true", false),
            ("overwrite", "false", true),
            ("create", "true", true),
        ] {
            let fault = fault(&[("mode", mode), ("changes", changes)]);
            assert_eq!(fault.is_none(), valid, "{mode} {changes}");
        }
    }

    #[test]
    fn the_format_of_the_file_is_validated() {
        for (name, value, code) in [
            ("columns", "{\"a\": \"phone\"}", "invalid_columns"),
            ("columns", "x", "invalid_columns"),
            ("default_region", "Britain", "invalid_region"),
            ("encoding", "klingon", "invalid_encoding"),
            ("header", "no", "invalid_header"),
            ("sheet", "", "invalid_sheet"),
            ("stop_early", "1", "invalid_stop_early"),
        ] {
            let errors = parse(fields(&[(name, value)])).unwrap_err();
            assert_eq!((errors.len(), errors[0].code), (1, code), "{name}");
        }
        let request = parse(fields(&[("encoding", "Latin1"), ("default_region", "gb")])).unwrap();
        assert_eq!(request.format.encoding.as_deref(), Some("windows-1252"));
        assert_eq!(request.format.default_region.as_deref(), Some("GB"));
    }

    #[test]
    fn columns_fit_a_file_with_or_without_a_header() {
        let all =
            r#"["account_id","client_member_id","first_name","last_name","phone_number",null]"#;
        let some = r#"["client_member_id","first_name","last_name","phone_number"]"#;
        let twice = r#"{"a": "phone_number", "b": "phone_number"}"#;
        for (pairs, valid) in [
            (
                [("columns", all), ("header", "false"), ("mode", "upsert")],
                true,
            ),
            (
                [("columns", all), ("header", "true"), ("mode", "upsert")],
                false,
            ),
            (
                [("columns", "{}"), ("header", "false"), ("mode", "upsert")],
                false,
            ),
            (
                [("columns", "{}"), ("header", "true"), ("mode", "upsert")],
                true,
            ),
            (
                [("columns", twice), ("header", "true"), ("mode", "upsert")],
                false,
            ),
            (
                [
                    ("columns", r#"{"": null}"#),
                    ("header", "true"),
                    ("mode", "upsert"),
                ],
                false,
            ),
            (
                [("columns", some), ("header", "false"), ("mode", "upsert")],
                false,
            ),
            (
                [("columns", some), ("header", "false"), ("account_id", "4")],
                true,
            ),
        ] {
            let request = parse(fields(&pairs)).unwrap();
            assert_eq!(whole(&request).is_ok(), valid, "{pairs:?}");
        }
    }

    #[test]
    fn one_put_is_limited_to_five_gibibytes_and_parts_to_the_setting() {
        let fault = |fields: &[(&str, &str)]| {
            let request = parse(self::fields(fields)).map_err(|mut errors| errors.remove(0));
            let result = request.and_then(|request| whole(&request));
            result
                .err()
                .map(|error| (error.field.clone(), error.code, error.message.clone()))
        };
        let (put, beyond) = (MAX_PUT_BYTES.to_string(), (MAX_PUT_BYTES + 1).to_string());
        assert_eq!(fault(&[("size", &put)]), None);
        let (field, code, message) = fault(&[("size", &beyond)]).unwrap();
        assert_eq!((field.as_str(), code), ("size", "invalid_size"));
        assert!(message.contains("multipart"), "{message}");
        for flag in ["false", "true"] {
            let refused = fault(&[("size", &beyond), ("multipart", flag)]).is_some();
            assert_eq!(refused, flag == "false", "{flag}");
        }
        let too_much = (MOST + 1).to_string();
        assert!(fault(&[("size", &too_much), ("multipart", "true")]).is_some());
        let (field, code, _) = fault(&[("multipart", "true")]).unwrap();
        assert_eq!((field.as_str(), code), ("size", "required"));
        let (field, code, _) = fault(&[("multipart", "1")]).unwrap();
        assert_eq!((field.as_str(), code), ("multipart", "invalid_multipart"));
    }
}
