//! The query of a list of records, newest first: `limit`, and `cursor`, the position of the page.

use std::str::FromStr;

use super::cursor;
use super::fields::Fields;
use super::form::whole_number;
use crate::member::FieldError;

/// Records per page by default.
const DEFAULT_LIMIT: usize = 50;

/// Reads the query of the list called `list`, whose pages have at most `most` records. Returns the limit, and the id of the
/// last record of the previous page.
///
/// # Errors
/// Returns an error for an unknown parameter, an invalid limit, and a cursor of another list.
pub fn parse<Id: FromStr>(
    query: &Fields,
    list: &str,
    most: usize,
) -> Result<(usize, Option<Id>), FieldError> {
    let mut limit = DEFAULT_LIMIT;
    let mut before = None;
    for (name, value) in query {
        match name.as_str() {
            "limit" => {
                limit = whole_number(value)
                    .and_then(|limit| usize::try_from(limit).ok())
                    .filter(|limit| (1..=most).contains(limit))
                    .ok_or_else(|| {
                        FieldError::new(
                            "limit",
                            "invalid_limit",
                            format!("must be a whole number from 1 to {most}"),
                        )
                    })?;
            }
            "cursor" => {
                let id = cursor::decode(value, list).and_then(|last| last.parse().ok());
                before = Some(id.ok_or_else(|| {
                    FieldError::new("cursor", "invalid_cursor", "is not a cursor of this list")
                })?);
            }
            other => {
                return Err(FieldError::new(
                    other,
                    "unknown_parameter",
                    "must be one of limit, cursor",
                ));
            }
        }
    }
    Ok((limit, before))
}
