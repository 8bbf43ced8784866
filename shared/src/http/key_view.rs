//! A key as admins see it: everything but the hash of its secret.

use serde::Serialize;

use crate::access::{Key, KeyId, Role, Secret};
use crate::scope::Scope;
use crate::time::Timestamp;

/// A key as admins see it.
#[derive(Serialize)]
pub struct KeyView<'a> {
    key_id: &'a KeyId,
    role: Role,
    accounts: &'a Scope,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    /// Only in the answer that makes the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl<'a> KeyView<'a> {
    /// The view of a key.
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

    /// The same, with the secret, which is shown this once.
    #[must_use]
    pub fn with_secret(mut self, secret: &Secret) -> Self {
        self.secret = Some(secret.reveal().to_owned());
        self
    }
}
