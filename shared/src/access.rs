//! Who may do what: keys, roles, and the check that every function makes.
//!
//! A key is an id and a secret, sent by HTTP Basic. Secrets are made here (never chosen)
//! and shown once; the table holds their SHA-256. With 256 random bits behind it a plain
//! hash is enough, and no request pays for a slow one.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lambda_http::Request;
use lambda_http::http::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::http::problem::Problem;
use crate::member::AccountId;
use crate::metrics::{Figure, Metrics};
use crate::scope::Scope;
use crate::setup::{Setup, SetupError};
use crate::store::keys::Keys;
use crate::time::Timestamp;

/// Random bytes in a secret.
const SECRET_BYTES: usize = 32;

/// The longest key id.
const MAX_KEY_ID: usize = 64;

/// What a key may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Reader,
    /// Create, change and remove members, and send files.
    Writer,
    /// Everything, keys included.
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
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "reader" => Ok(Self::Reader),
            "writer" => Ok(Self::Writer),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownRole),
        }
    }
}

/// A key's id: 1–64 of `A-Za-z0-9._-`. A colon would end it in HTTP Basic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// The text is not a key's id.
#[derive(Debug, Error)]
#[error("a key's id is 1 to {MAX_KEY_ID} of the characters A-Z a-z 0-9 . _ -")]
pub struct NotAKeyId;

impl KeyId {
    /// The id as text.
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
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if text.is_empty() || text.len() > MAX_KEY_ID || !text.bytes().all(allowed) {
            return Err(NotAKeyId);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A key's secret. It has no `Debug` or `Display`: it can't reach a log by accident.
pub struct Secret(String);

impl Secret {
    /// A new secret from the operating system's randomness.
    ///
    /// # Errors
    /// Where the system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// A secret that someone sent or fixed.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, to show it once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the table holds: SHA-256 in hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(self.0.as_bytes()) {
            // Writing to a String can't fail.
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
    /// What it may do.
    pub role: Role,
    /// The accounts that it is bound to.
    #[serde(default = "Scope::all", skip_serializing_if = "Scope::is_all")]
    pub accounts: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it opens nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Key {
    /// A new key for a secret, bound to no accounts.
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

    /// The same, bound to accounts.
    #[must_use]
    pub fn bound_to(mut self, accounts: Scope) -> Self {
        self.accounts = accounts;
        self
    }
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key they hold.
    pub key_id: KeyId,
    /// What it may do.
    pub role: Role,
    /// The accounts that it opens.
    pub accounts: Scope,
}

impl Caller {
    /// Lets them pass if their role is at least this one.
    ///
    /// # Errors
    /// 403 where it is too low.
    pub fn must_be(&self, role: Role) -> Result<(), Problem> {
        if self.role < role {
            return Err(Problem::role_too_low(self.role, role));
        }
        Ok(())
    }

    /// Lets them write to an account that is theirs.
    ///
    /// # Errors
    /// 403 where it is another's.
    pub fn may_write_to(&self, account: &AccountId) -> Result<(), Problem> {
        if self.accounts.covers(account) {
            return Ok(());
        }
        Err(Problem::account_not_allowed("account_id"))
    }
}

/// The check that every function makes before anything else.
#[derive(Debug, Clone)]
pub struct Access {
    keys: Keys,
    anonymous_reads: bool,
    metrics: Metrics,
}

/// The metric that counts attempts with a key that opens nothing.
const REFUSED_KEYS: &str = "RefusedKeys";

impl Access {
    /// The check as the function's settings want it (`KEYS_TABLE`, `ANONYMOUS_READS`).
    ///
    /// # Errors
    /// Where a setting is missing.
    pub fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            keys: Keys::from_setup(setup)?,
            anonymous_reads: setup.optional("ANONYMOUS_READS") == Some("true"),
            metrics: Metrics::from_setup(setup),
        })
    }

    /// Lets the request pass if it carries a key of at least this role.
    ///
    /// # Errors
    /// 401 without a key or with one that is unknown, wrong or revoked; 403 where the role
    /// is too low.
    pub async fn require(&self, role: Role, request: &Request) -> Result<Caller, Problem> {
        let (id, secret) = self.credentials(request)?.ok_or_else(Problem::no_key)?;
        let key = match id.parse::<KeyId>() {
            Ok(id) => self.keys.get(&id).await?,
            Err(_) => None,
        };
        // An unknown id is compared as well, so that it takes as long as a wrong secret.
        let stored = key.as_ref().map_or("", |key| key.secret_hash.as_str());
        let padded = format!("{stored:0>64}");
        let same = bool::from(padded.as_bytes().ct_eq(secret.hash().as_bytes()));
        let Some(key) = key.filter(|key| same && key.revoked_at.is_none()) else {
            return Err(self.refuse());
        };
        tracing::Span::current().record("key_id", key.key_id.as_str());
        let caller = Caller {
            key_id: key.key_id,
            role: key.role,
            accounts: key.accounts,
        };
        caller.must_be(role)?;
        Ok(caller)
    }

    /// Like [`Access::require`] for looking at members, which `ANONYMOUS_READS` opens to
    /// everyone. A key that is sent is checked all the same.
    ///
    /// # Errors
    /// As [`Access::require`].
    pub async fn require_reader(&self, request: &Request) -> Result<Option<Caller>, Problem> {
        if self.anonymous_reads && self.credentials(request)?.is_none() {
            return Ok(None);
        }
        self.require(Role::Reader, request).await.map(Some)
    }

    fn credentials(&self, request: &Request) -> Result<Option<(String, Secret)>, Problem> {
        credentials(request).map_err(|NotBasic| self.refuse())
    }

    /// Refuses a key, and counts that. What was sent is not told to the log.
    fn refuse(&self) -> Problem {
        tracing::info!("refused a key");
        self.metrics.tell(&[Figure::count(REFUSED_KEYS, 1.0)], &[]);
        Problem::wrong_key()
    }
}

/// The Authorization header is none of RFC 7617.
#[derive(Debug)]
struct NotBasic;

/// The id and secret of the Authorization header (RFC 7617), if there is one.
fn credentials(request: &Request) -> Result<Option<(String, Secret)>, NotBasic> {
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        return Ok(None);
    };
    let parse = || {
        let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        Some((id.to_owned(), Secret::from_text(secret.to_owned())))
    };
    parse().map(Some).ok_or(NotBasic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::Body;

    fn request(authorization: &str) -> Request {
        lambda_http::http::Request::builder()
            .header(AUTHORIZATION, authorization)
            .body(Body::Empty)
            .unwrap()
    }

    #[test]
    fn secrets_differ_and_are_long() {
        let one = Secret::generate().unwrap();
        let two = Secret::generate().unwrap();
        assert_ne!(one.reveal(), two.reveal());
        assert!(one.reveal().len() >= 40);
        assert_eq!(one.hash().len(), 64);
    }

    #[test]
    fn basic_credentials_are_read_and_a_colon_may_be_in_the_secret() {
        let header = format!("basic {}", STANDARD.encode("ops:a:b"));
        let Ok(Some((id, secret))) = credentials(&request(&header)) else {
            panic!("not read");
        };
        assert_eq!((id.as_str(), secret.reveal()), ("ops", "a:b"));
    }

    #[test]
    fn other_schemes_and_garbage_are_refused() {
        for header in ["Bearer x", "Basic", "Basic !!!", "Basic b3Bz"] {
            assert!(credentials(&request(header)).is_err(), "{header}");
        }
    }

    #[test]
    fn roles_include_the_ones_below() {
        assert!(Role::Admin > Role::Writer && Role::Writer > Role::Reader);
    }
}
