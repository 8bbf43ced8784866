//! An access key: its id, its secret and its role.
//!
//! Secrets are generated, never chosen, and shown once. The table stores their SHA-256. A hash
//! without salt or iterations is sufficient, because a secret has 256 random bits, and it is fast.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::ZeroizeOnDrop;

use crate::scope::Scope;
use crate::time::Timestamp;

/// Random bytes in a secret.
const SECRET_BYTES: usize = 32;

/// The longest key id.
const MAX_KEY_ID: usize = 64;

/// The role of a key. Each role includes the permissions of the roles before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May read.
    Reader,
    /// May also create, change and remove members, and send files.
    Writer,
    /// May also manage keys.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
        })
    }
}

/// The text is not a role.
#[derive(Debug, Error)]
#[error("a role is reader, writer or admin")]
pub struct InvalidRole;

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "reader" => Ok(Self::Reader),
            "writer" => Ok(Self::Writer),
            "admin" => Ok(Self::Admin),
            _ => Err(InvalidRole),
        }
    }
}

/// The id of a key: 1–64 of `A-Za-z0-9._-`. HTTP Basic does not allow a colon in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// The text is not a key id.
#[derive(Debug, Error)]
#[error("a key's id is 1 to {MAX_KEY_ID} of the characters A-Z a-z 0-9 . _ -")]
pub struct InvalidKeyId;

impl KeyId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if text.is_empty() || text.len() > MAX_KEY_ID || !text.bytes().all(allowed) {
            return Err(InvalidKeyId);
        }
        Ok(Self(text.to_owned()))
    }
}

/// The secret of a key. It has no `Debug` or `Display`, so it cannot be logged by accident, and its memory is
/// overwritten when it is dropped.
#[derive(ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Generates a secret from the operating system's random source.
    ///
    /// # Errors
    /// Returns an error if the system's random source fails.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Creates a secret from text that a client sent or a user configured.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// Returns the secret as text, to show it once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the stored form: SHA-256 in hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(self.0.as_bytes()) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// A key as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Partition key.
    pub key_id: KeyId,
    /// SHA-256 of the secret.
    pub secret_hash: String,
    /// Its role.
    pub role: Role,
    /// The accounts that the key is bound to.
    #[serde(default = "Scope::all", skip_serializing_if = "Scope::is_all")]
    pub accounts: Scope,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Key {
    /// Creates a key for a secret. It is not bound to accounts.
    #[must_use]
    pub fn new(key_id: KeyId, secret: &Secret, role: Role, now: Timestamp) -> Self {
        Self {
            key_id,
            secret_hash: secret.hash(),
            role,
            accounts: Scope::ALL,
            created_at: now,
            revoked_at: None,
        }
    }

    /// Binds the key to accounts.
    #[must_use]
    pub fn bound_to(mut self, accounts: Scope) -> Self {
        self.accounts = accounts;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_secrets_are_long_and_different() {
        let one = Secret::generate().unwrap();
        let two = Secret::generate().unwrap();
        assert_ne!(one.reveal(), two.reveal());
        assert!(one.reveal().len() >= 40);
        assert_eq!(one.hash().len(), 64);
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Role::Admin > Role::Writer && Role::Writer > Role::Reader);
    }
}
