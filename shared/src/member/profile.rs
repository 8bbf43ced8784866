//! The fields of a member: as sent, and as validated.

use super::field::Field;
use super::id::MemberId;
use crate::phone::Phone;

/// The fields of a member as sent; `None` if a field was not sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawProfile<'a> {
    fields: [Option<&'a str>; Field::ALL.len()],
}

impl<'a> RawProfile<'a> {
    /// Sets one field.
    pub fn set(&mut self, field: Field, text: &'a str) {
        self.fields[field as usize] = Some(text);
    }

    pub(super) fn get(&self, field: Field) -> &'a str {
        self.fields[field as usize].unwrap_or_default()
    }
}

/// The validated fields of a member, without its provenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its identity.
    pub id: MemberId,
    /// Given name, trimmed.
    pub first_name: String,
    /// Family name, trimmed.
    pub last_name: String,
    /// The phone number.
    pub phone_number: Phone,
}
