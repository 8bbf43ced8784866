//! A member of an account: its fields, its provenance, and the rules for its fields.

mod field;
mod id;
mod profile;
mod rules;
mod text;

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::time::Timestamp;

pub use field::{ACCOUNT_NOT_ALLOWED, Field, FieldError};
pub use id::{AccountId, ClientMemberId, InvalidMemberId, MAX_ID, MemberId};
pub use profile::{Profile, RawProfile};
pub use rules::{MAX_NAME, Rules};
pub(crate) use text::is_printable;

/// The author of a write: `key:<id>` or `batch:<id>`. Cloning it shares its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Author(Arc<str>);

impl Author {
    /// Returns the author of a request: its key.
    #[must_use]
    pub fn key(key_id: &str) -> Self {
        Self(format!("key:{key_id}").into())
    }

    /// Returns the author of a batch's rows.
    #[must_use]
    pub fn batch(batch_id: &str) -> Self {
        Self(format!("batch:{batch_id}").into())
    }

    /// Returns an author as stored.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the author as text.
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

/// A member as stored: its fields and its provenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The fields that the client sets.
    pub profile: Profile,
    /// When the member was created: the time of the request, or of the upload.
    pub created_at: Timestamp,
    /// When a field was last changed: the time of the request, or of the upload.
    pub updated_at: Timestamp,
    /// The author that created it.
    pub created_by: Author,
    /// The author that last changed it.
    pub updated_by: Author,
}

impl Member {
    /// Creates a member that did not exist.
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

    /// Returns this member with other fields. `created_at` and `created_by` stay.
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
