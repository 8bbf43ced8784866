//! What a client says when it opens a batch, checked.

use mpulse_shared::batch::{BatchRequest, MAX_PUT_BYTES, Mode};
use mpulse_shared::http::form::{Fields, whole_number};
use mpulse_shared::member::{AccountId, FieldError};

/// The longest file name, in characters.
const MAX_FILE_NAME: usize = 255;

/// The fields that JSON may hold as booleans.
pub const FLAGS: &[&str] = &["multipart"];

/// Reads the fields of the request. A file may be announced with `most` bytes. What fields say
/// together is [`whole`]'s to look at.
///
/// # Errors
/// Every fault found.
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

/// Holds what the fields say together against what S3 takes.
///
/// # Errors
/// What is missing of a multipart upload, or is too large for one PUT.
pub fn whole(request: &BatchRequest) -> Result<(), FieldError> {
    match request.size {
        None if request.multipart => Err(FieldError::new(
            "size",
            "required",
            "is required with multipart",
        )),
        Some(size) if size > MAX_PUT_BYTES && !request.multipart => Err(FieldError::new(
            "size",
            "invalid_size",
            format!(
                "must be at most {MAX_PUT_BYTES}, which is what S3 takes in one request; ask for \
                 a larger file with \"multipart\": true, and send it in parts"
            ),
        )),
        _ => Ok(()),
    }
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
                    format!("must be at most {MAX_FILE_NAME} characters, none of them control"),
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
            request.multipart = match value.as_str() {
                "true" => true,
                "false" => false,
                _ => {
                    return Err(FieldError::new(
                        name,
                        "invalid_multipart",
                        "must be true or false",
                    ));
                }
            }
        }
        "account_id" => request.account_id = Some(AccountId::parse(&value)?),
        "mode" => {
            request.mode = match value.as_str() {
                "upsert" => Mode::Upsert,
                "create" => Mode::Create,
                "overwrite" => Mode::Overwrite,
                _ => {
                    return Err(FieldError::new(
                        name,
                        "invalid_mode",
                        "must be upsert, create or overwrite",
                    ));
                }
            }
        }
        "parent_batch_id" => {
            let parent = value
                .parse()
                .map_err(|_| FieldError::new(name, "invalid_batch_id", "must be a batch's id"))?;
            request.parent_batch_id = Some(parent);
        }
        _ => {
            return Err(FieldError::new(
                name,
                "unknown_field",
                "is not one of file_name, size, multipart, account_id, mode, parent_batch_id",
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
    fn nothing_said_is_an_upsert_of_any_size() {
        let request = parse(Fields::new()).unwrap();
        assert_eq!((request.mode, request.size), (Mode::Upsert, None));
    }

    #[test]
    fn faults_are_told_by_field() {
        let errors = parse(fields(&[
            ("account_id", "a b"),
            ("file_name", "a\nb"),
            ("mode", "replace"),
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
    fn five_gibibytes_is_the_most_of_one_put_and_parts_take_what_is_allowed() {
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
