//! The fields of a member that a client sets, and the error for an invalid one.

use serde::Serialize;

/// The code of a member, or row, of an account that a key has no access to.
pub const ACCOUNT_NOT_ALLOWED: &str = "account_not_allowed";

/// The fields of a member that a client sets, in the order of the CSV template.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The account that the member belongs to.
    AccountId,
    /// The client's own id for the person.
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

    /// Returns the field's name in JSON, forms, CSV headers and the table.
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

/// An invalid field. The code is stable; the message is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name.
    pub field: String,
    /// A stable code.
    pub code: &'static str,
    /// A message for people.
    pub message: String,
}

impl FieldError {
    /// Creates an error for a field, or parameter of the query, of any name.
    pub fn new(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            code,
            message: message.into(),
        }
    }

    /// Returns the error for a field that is missing or empty.
    pub(super) fn required(field: Field) -> Self {
        Self::new(field.name(), "required", "is required")
    }
}
