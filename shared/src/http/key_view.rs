//! The JSON view of a key: all its fields except the hash of the secret.

use serde::Serialize;

use crate::key::{Key, KeyId, Role, Secret};
use crate::scope::Scope;
use crate::time::Timestamp;

/// The JSON view of a key.
#[derive(Serialize)]
pub struct KeyView<'a> {
    key_id: &'a KeyId,
    role: Role,
    accounts: &'a Scope,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    /// Only in the response that creates the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl<'a> KeyView<'a> {
    /// Creates the view of a key.
    #[must_use]
    pub fn new(key: &'a Key) -> Self {
        Self {
            key_id: &key.key_id,
            role: key.role,
            accounts: &key.accounts,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
            secret: None,
        }
    }

    /// Adds the secret, which is shown once.
    #[must_use]
    pub fn with_secret(mut self, secret: &Secret) -> Self {
        self.secret = Some(secret.reveal().to_owned());
        self
    }
}
