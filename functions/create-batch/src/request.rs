//! What a client says when it opens a batch, checked.

use mpulse_shared::batch::{BatchRequest, Mode};
use mpulse_shared::http::form::{Fields, whole_number};
use mpulse_shared::member::{AccountId, FieldError};

/// The longest file name, in characters.
const MAX_FILE_NAME: usize = 255;

/// Reads the fields of the request. A file may be announced with `most` bytes.
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
                "is not one of file_name, size, account_id, mode, parent_batch_id",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpulse_shared::batch::MAX_UPLOAD_BYTES;

    fn parse(fields: Fields) -> Result<BatchRequest, Vec<FieldError>> {
        super::parse(fields, MAX_UPLOAD_BYTES)
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
    fn five_gibibytes_is_the_most() {
        let size = |n: u64| parse(fields(&[("size", &n.to_string())]));
        assert!(size(MAX_UPLOAD_BYTES).is_ok());
        assert!(size(MAX_UPLOAD_BYTES + 1).is_err());
    }
}
