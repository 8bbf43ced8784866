//! A member of an account: who it is, and the rules that a new one must meet.
//!
//! REST and CSV hand their text to the same [`Rules`], so that a row and a request are
//! judged alike, by codes that never change.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::phone::{DefaultRegion, Phone, PhoneError};
use crate::time::Timestamp;

/// The longest account id or client member id, in bytes (both are ASCII).
pub const MAX_ID: usize = 64;

/// The longest first or last name, in characters.
pub const MAX_NAME: usize = 100;

/// The code of a member, or row, of an account that a key isn't bound to.
pub const ACCOUNT_NOT_ALLOWED: &str = "account_not_allowed";

/// What separates the two parts of a public id. It needs no escaping in a URL and can't
/// appear in either part.
const SEPARATOR: char = '~';

/// The fields of a member that a client sets, in the order of a CSV template.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The account that the member belongs to.
    AccountId,
    /// The account's own id for the person.
    ClientMemberId,
    /// Given name.
    FirstName,
    /// Family name.
    LastName,
    /// Phone number.
    PhoneNumber,
}

impl Field {
    /// All fields, in order.
    pub const ALL: [Self; 5] = [
        Self::AccountId,
        Self::ClientMemberId,
        Self::FirstName,
        Self::LastName,
        Self::PhoneNumber,
    ];

    /// The field's name in JSON, forms, CSV headers and the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccountId => "account_id",
            Self::ClientMemberId => "client_member_id",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::PhoneNumber => "phone_number",
        }
    }
}

/// What is wrong with one field. The code is stable; the message is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name, as the client wrote or should have written it.
    pub field: String,
    /// A stable word for the kind of fault.
    pub code: &'static str,
    /// What is wrong, in words.
    pub message: String,
}

impl FieldError {
    /// A fault in a field of any name.
    pub fn new(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            code,
            message: message.into(),
        }
    }
}

/// An account's id: 1–64 of `A-Za-z0-9_-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

/// An account's own id for a person: 1–64 of `A-Za-z0-9._:@-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ClientMemberId(String);

macro_rules! id_text {
    ($type:ident, $extra:literal, $code:literal, $field:expr) => {
        impl $type {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// An id that was checked before it was stored.
            #[must_use]
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            /// Checks a text against the rules of the id.
            ///
            /// # Errors
            /// A [`FieldError`] that names the rule.
            pub fn parse(text: &str) -> Result<Self, FieldError> {
                let text = text.trim();
                if text.is_empty() {
                    return Err(required($field));
                }
                let allowed = |b: u8| b.is_ascii_alphanumeric() || $extra.contains(&b);
                if text.len() > MAX_ID || !text.bytes().all(allowed) {
                    return Err(FieldError::new(
                        $field.name(),
                        $code,
                        format!(
                            "must be 1 to {MAX_ID} of the characters A-Z a-z 0-9 {}",
                            $extra.escape_ascii()
                        ),
                    ));
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id_text!(AccountId, b"_-", "invalid_account_id", Field::AccountId);
id_text!(
    ClientMemberId,
    b"._:@-",
    "invalid_client_member_id",
    Field::ClientMemberId
);

/// What makes a member one member: the account, and the account's own id for the person.
/// Its text, `4~5622780`, is the public id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    /// The table's partition key.
    pub account_id: AccountId,
    /// The table's sort key.
    pub client_member_id: ClientMemberId,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SEPARATOR}{}", self.account_id, self.client_member_id)
    }
}

impl Serialize for MemberId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not a public id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("must be an account id, a tilde and a client member id, such as 4~5622780")]
pub struct NotAMemberId;

impl FromStr for MemberId {
    type Err = NotAMemberId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (account, client) = text.split_once(SEPARATOR).ok_or(NotAMemberId)?;
        Ok(Self {
            account_id: AccountId::parse(account).map_err(|_| NotAMemberId)?,
            client_member_id: ClientMemberId::parse(client).map_err(|_| NotAMemberId)?,
        })
    }
}

/// Who wrote a member: `key:<id>` or `batch:<id>`. Cloning it shares its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Author(Arc<str>);

impl Author {
    /// The holder of a key, by REST.
    #[must_use]
    pub fn key(key_id: &str) -> Self {
        Self(format!("key:{key_id}").into())
    }

    /// A batch, by its file.
    #[must_use]
    pub fn batch(batch_id: &str) -> Self {
        Self(format!("batch:{batch_id}").into())
    }

    /// An author as it was stored.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The author as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Author {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What a client says of a member, checked: everything but who wrote it and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Who it is.
    pub id: MemberId,
    /// Given name, trimmed.
    pub first_name: String,
    /// Family name, trimmed.
    pub last_name: String,
    /// Where messages go.
    pub phone_number: Phone,
}

/// A member as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What the client said.
    pub profile: Profile,
    /// When the member first appeared: the request's time, or the upload's.
    pub created_at: Timestamp,
    /// When a field last changed, by the same clock.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: Author,
    /// Who last changed it.
    pub updated_by: Author,
}

impl Member {
    /// A member that wasn't there before.
    #[must_use]
    pub fn new(profile: Profile, at: Timestamp, by: Author) -> Self {
        Self {
            profile,
            created_at: at,
            updated_at: at,
            created_by: by.clone(),
            updated_by: by,
        }
    }

    /// This member with another profile, and its origin kept.
    #[must_use]
    pub fn changed(&self, profile: Profile, at: Timestamp, by: Author) -> Self {
        Self {
            profile,
            created_at: self.created_at,
            updated_at: at,
            created_by: self.created_by.clone(),
            updated_by: by,
        }
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let Profile {
            id,
            first_name,
            last_name,
            phone_number,
        } = &self.profile;
        let mut s = serializer.serialize_struct("Member", 10)?;
        s.serialize_field("id", id)?;
        s.serialize_field("account_id", &id.account_id)?;
        s.serialize_field("client_member_id", &id.client_member_id)?;
        s.serialize_field("first_name", first_name)?;
        s.serialize_field("last_name", last_name)?;
        s.serialize_field("phone_number", phone_number.as_str())?;
        s.serialize_field("created_at", &self.created_at)?;
        s.serialize_field("updated_at", &self.updated_at)?;
        s.serialize_field("created_by", &self.created_by)?;
        s.serialize_field("updated_by", &self.updated_by)?;
        s.end()
    }
}

/// The fields of a member as somebody wrote them; `None` where nothing was written.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawProfile<'a> {
    fields: [Option<&'a str>; Field::ALL.len()],
}

impl<'a> RawProfile<'a> {
    /// Sets one field.
    pub fn set(&mut self, field: Field, text: &'a str) {
        self.fields[field as usize] = Some(text);
    }

    fn get(&self, field: Field) -> &'a str {
        self.fields[field as usize].unwrap_or_default()
    }
}

/// The validator, for requests and rows alike.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Where a phone number without a country code belongs.
    pub region: DefaultRegion,
}

impl Rules {
    /// Checks every field.
    ///
    /// # Errors
    /// Every fault found, in the order of the fields; never empty.
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
            return Err(required(field));
        }
        self.region.parse(text).map_err(|error| {
            let code = match error {
                PhoneError::Placeholder => "placeholder_phone",
                _ => "invalid_phone",
            };
            FieldError::new(field.name(), code, error.to_string())
        })
    }
}

fn check_name(field: Field, text: &str) -> Result<String, FieldError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(required(field));
    }
    if text.chars().any(char::is_control) {
        return Err(FieldError::new(
            field.name(),
            "control_character",
            "must not hold control characters such as a line break",
        ));
    }
    if text.len() > MAX_NAME && text.chars().count() > MAX_NAME {
        return Err(FieldError::new(
            field.name(),
            "too_long",
            format!("must be at most {MAX_NAME} characters"),
        ));
    }
    Ok(text.to_owned())
}

fn required(field: Field) -> FieldError {
    FieldError::new(field.name(), "required", "is required")
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
    fn a_good_member_is_trimmed_and_normalised() {
        let profile = check([" 4 ", "5622780", " Zoë ", "O'Brien", "(714) 555-0123"]).unwrap();
        assert_eq!(profile.id.to_string(), "4~5622780");
        assert_eq!(profile.first_name, "Zoë");
        assert_eq!(profile.phone_number.as_str(), "+17145550123");
    }

    #[test]
    fn every_fault_is_named_by_field_and_code() {
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
                ["4", "1~2", "A", "B", "7145550123"],
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
        ] {
            assert_eq!(
                check(fields),
                Err(vec![(field.to_owned(), code)]),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        assert_eq!(check(["", "", "", "", ""]).unwrap_err().len(), 5);
    }

    #[test]
    fn the_limits_are_inclusive() {
        let id = "x".repeat(64);
        let name = "é".repeat(100);
        assert!(check([&id, &id, &name, &name, "7145550123"]).is_ok());
    }

    #[test]
    fn public_ids_read_back() {
        let id: MemberId = "4~a.b:c@d-e".parse().unwrap();
        assert_eq!(id.client_member_id.as_str(), "a.b:c@d-e");
        for text in ["", "4", "~", "4~", "~1", "4~1~2", "4/1"] {
            assert!(text.parse::<MemberId>().is_err(), "{text}");
        }
    }
}
