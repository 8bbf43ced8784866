//! The validation of a member's fields. Requests and rows pass their text to the same [`Rules`], so
//! both are validated alike, with stable codes.

use super::field::{Field, FieldError};
use super::id::{AccountId, ClientMemberId, MemberId};
use super::profile::{Profile, RawProfile};
use super::text::{self, SPREADSHEET_NUMBER, SPREADSHEET_NUMBER_MESSAGE};
use crate::phone::{DefaultRegion, Phone, PhoneError};

/// The longest first or last name, in characters.
pub const MAX_NAME: usize = 100;

/// The validation rules for requests and rows.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The country of phone numbers without a country code.
    pub region: DefaultRegion,
}

impl Rules {
    /// Validates every field.
    ///
    /// # Errors
    /// Returns every error found, in the order of the fields; never empty.
    pub fn check(&self, raw: &RawProfile<'_>) -> Result<Profile, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut keep = |error: FieldError| errors.push(error);
        let account_id = AccountId::parse(raw.get(Field::AccountId))
            .map_err(&mut keep)
            .ok();
        let client_member_id = ClientMemberId::parse(raw.get(Field::ClientMemberId))
            .map_err(&mut keep)
            .ok();
        let first_name = check_name(Field::FirstName, raw.get(Field::FirstName))
            .map_err(&mut keep)
            .ok();
        let last_name = check_name(Field::LastName, raw.get(Field::LastName))
            .map_err(&mut keep)
            .ok();
        let phone_number = self
            .check_phone(Field::PhoneNumber, raw.get(Field::PhoneNumber))
            .map_err(&mut keep)
            .ok();
        match (
            account_id,
            client_member_id,
            first_name,
            last_name,
            phone_number,
        ) {
            (
                Some(account_id),
                Some(client_member_id),
                Some(first_name),
                Some(last_name),
                Some(phone_number),
            ) => Ok(Profile {
                id: MemberId {
                    account_id,
                    client_member_id,
                },
                first_name,
                last_name,
                phone_number,
            }),
            _ => Err(errors),
        }
    }

    fn check_phone(self, field: Field, text: &str) -> Result<Phone, FieldError> {
        if text.trim().is_empty() {
            return Err(FieldError::required(field));
        }
        if text::scientific(text).is_some() {
            return Err(FieldError::new(
                field.name(),
                SPREADSHEET_NUMBER,
                SPREADSHEET_NUMBER_MESSAGE,
            ));
        }
        self.region.parse(text).map_err(|error| {
            let code = match error {
                PhoneError::Placeholder => "placeholder_phone",
                PhoneError::Extension => "phone_extension",
                _ => "invalid_phone",
            };
            FieldError::new(field.name(), code, error.to_string())
        })
    }
}

fn check_name(field: Field, text: &str) -> Result<String, FieldError> {
    let text = text::nfc(text.trim());
    if text.is_empty() {
        return Err(FieldError::required(field));
    }
    if text.chars().any(char::is_control) {
        return Err(FieldError::new(
            field.name(),
            "control_character",
            "must not contain control characters such as a line break",
        ));
    }
    if text.len() > MAX_NAME && text.chars().count() > MAX_NAME {
        return Err(FieldError::new(
            field.name(),
            "too_long",
            format!("must be at most {MAX_NAME} characters"),
        ));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: [&str; 5]) -> Result<Profile, Vec<(String, &'static str)>> {
        let rules = Rules {
            region: "US".parse().unwrap(),
        };
        let mut raw = RawProfile::default();
        for (field, text) in Field::ALL.into_iter().zip(fields) {
            raw.set(field, text);
        }
        rules
            .check(&raw)
            .map_err(|errors| errors.into_iter().map(|e| (e.field, e.code)).collect())
    }

    #[test]
    fn a_valid_member_is_trimmed_and_normalised() {
        let profile = check([" 4 ", "5622780", " Zoë ", "O'Brien", "(714) 555-0123"]).unwrap();
        assert_eq!(profile.id.to_string(), "4~5622780");
        assert_eq!(profile.first_name, "Zoë");
        assert_eq!(profile.phone_number.as_str(), "+17145550123");
    }

    #[test]
    fn every_error_has_a_field_and_a_code() {
        let long_id = "x".repeat(65);
        let long_name = "é".repeat(101);
        for (fields, field, code) in [
            (["", "1", "A", "B", "7145550123"], "account_id", "required"),
            (
                ["4 4", "1", "A", "B", "7145550123"],
                "account_id",
                "invalid_account_id",
            ),
            (
                ["4~", "1", "A", "B", "7145550123"],
                "account_id",
                "invalid_account_id",
            ),
            (
                [&long_id, "1", "A", "B", "7145550123"],
                "account_id",
                "invalid_account_id",
            ),
            (
                ["4", " ", "A", "B", "7145550123"],
                "client_member_id",
                "required",
            ),
            (
                ["4", "1\u{200B}2", "A", "B", "7145550123"],
                "client_member_id",
                "invalid_client_member_id",
            ),
            (["4", "1", "", "B", "7145550123"], "first_name", "required"),
            (
                ["4", "1", "A\nB", "B", "7145550123"],
                "first_name",
                "control_character",
            ),
            (
                ["4", "1", "A", &long_name, "7145550123"],
                "last_name",
                "too_long",
            ),
            (["4", "1", "A", "B", ""], "phone_number", "required"),
            (["4", "1", "A", "B", "12"], "phone_number", "invalid_phone"),
            (
                ["4", "1", "A", "B", "0000000000"],
                "phone_number",
                "placeholder_phone",
            ),
            (
                ["4", "1", "A", "B", "7,14556E+09"],
                "phone_number",
                "spreadsheet_number",
            ),
            (
                ["4", "1", "A", "B", "714-555-0123 x12"],
                "phone_number",
                "phone_extension",
            ),
        ] {
            assert_eq!(
                check(fields),
                Err(vec![(field.to_owned(), code)]),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn all_errors_are_returned_at_once() {
        assert_eq!(check(["", "", "", "", ""]).unwrap_err().len(), 5);
    }

    #[test]
    fn the_limits_are_inclusive() {
        let id = "x".repeat(64);
        let name = "é".repeat(100);
        assert!(check([&id, &id, &name, &name, "7145550123"]).is_ok());
    }
}
