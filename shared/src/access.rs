//! Access control: authenticates the key of a request (HTTP Basic) and checks its role.
//!
//! A response never reveals whether the key is unknown or revoked, or the secret is wrong. Wrong secrets are limited by key id
//! ([`attempts`]).

pub mod attempts;

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::Request;
use lambda_http::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use attempts::Attempts;

use crate::key::{Key, KeyId, Role, Secret};
use crate::member::AccountId;
use crate::metrics::{MetricValue, Metrics};
use crate::problem::Problem;
use crate::scope::Scope;
use crate::setup::{FromSetup, Setup, SetupError};
use crate::store::keys::Keys;

/// The authenticated caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The caller's key.
    pub key_id: KeyId,
    /// The role of the key.
    pub role: Role,
    /// The accounts that the key has access to.
    pub accounts: Scope,
}

impl Caller {
    /// Checks that the caller's role is at least `role`.
    ///
    /// # Errors
    /// Returns 403 if the role is insufficient.
    pub fn require_role(&self, role: Role) -> Result<(), Problem> {
        if self.role < role {
            return Err(Problem::insufficient_role(self.role, role));
        }
        Ok(())
    }

    /// Checks that the caller has access to the account of a member.
    ///
    /// # Errors
    /// Returns 403 if the account is not one of the key's.
    pub fn require_account(&self, account: &AccountId) -> Result<(), Problem> {
        if self.accounts.covers(account) {
            return Ok(());
        }
        Err(Problem::account_not_allowed("account_id"))
    }
}

/// The authentication and authorization of requests.
#[derive(Debug, Clone)]
pub struct Access {
    keys: Keys,
    anonymous_reads: bool,
    attempts: Attempts,
    metrics: Metrics,
}

/// The metric that counts requests with invalid credentials.
const INVALID_CREDENTIALS: &str = "RefusedKeys";

impl FromSetup for Access {
    /// Reads `KEYS_TABLE` and `ANONYMOUS_READS`.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            keys: Keys::from_setup(setup)?,
            anonymous_reads: setup.optional("ANONYMOUS_READS") == Some("true"),
            attempts: Attempts::default(),
            metrics: Metrics::from_setup(setup),
        })
    }
}

impl Access {
    /// Authenticates the request and requires a role.
    ///
    /// # Errors
    /// Returns 401 if credentials are missing or invalid, or the key is revoked; 429 if there were too many wrong secrets; 403 if
    /// the role is insufficient.
    pub async fn require(&self, role: Role, request: &Request) -> Result<Caller, Problem> {
        let (id, secret) = self
            .credentials(request)?
            .ok_or_else(Problem::authentication_required)?;
        let Ok(id) = id.parse::<KeyId>() else {
            return Err(self.invalid_credentials());
        };
        let key = self.key(&id, &secret).await?;
        tracing::Span::current().record("key_id", key.key_id.as_str());
        let caller = Caller {
            key_id: key.key_id,
            role: key.role,
            accounts: key.accounts,
        };
        caller.require_role(role)?;
        Ok(caller)
    }

    /// Returns the key of an id and its secret.
    async fn key(&self, id: &KeyId, secret: &Secret) -> Result<Key, Problem> {
        if !self.attempts.may_check(id, secret, Instant::now()) {
            self.count_invalid_credentials();
            return Err(Problem::too_many_wrong_secrets());
        }
        let key = self.keys.get(id).await?;
        // Also compare for an unknown id, so that it takes as long as a wrong secret.
        let stored = key.as_ref().map_or("", |key| key.secret_hash.as_str());
        if !is_hash_of(stored, secret) {
            self.attempts.count(id, stored, Instant::now());
            return Err(self.invalid_credentials());
        }
        key.filter(|key| key.revoked_at.is_none())
            .ok_or_else(|| self.invalid_credentials())
    }

    /// Like [`Access::require`], for reading members. If `ANONYMOUS_READS` is set, credentials are
    /// optional, but checked if sent.
    ///
    /// # Errors
    /// The same as [`Access::require`].
    pub async fn require_reader(&self, request: &Request) -> Result<Option<Caller>, Problem> {
        if self.anonymous_reads && self.credentials(request)?.is_none() {
            return Ok(None);
        }
        self.require(Role::Reader, request).await.map(Some)
    }

    fn credentials(&self, request: &Request) -> Result<Option<(String, Secret)>, Problem> {
        credentials(request).map_err(|NotBasic| self.invalid_credentials())
    }

    /// Counts a request with invalid credentials and returns its problem.
    fn invalid_credentials(&self) -> Problem {
        self.count_invalid_credentials();
        Problem::invalid_credentials()
    }

    /// Counts a request with invalid credentials. They are not logged.
    fn count_invalid_credentials(&self) {
        tracing::info!("invalid credentials");
        self.metrics
            .publish(&[MetricValue::count(INVALID_CREDENTIALS, 1.0)], &[]);
    }
}

/// Returns whether `hash` is that of a secret, in a time that does not depend on how much of it is equal. An empty one, of an
/// unknown key, is not.
fn is_hash_of(hash: &str, secret: &Secret) -> bool {
    let padded = format!("{hash:0>64}");
    padded.as_bytes().ct_eq(secret.hash().as_bytes()).into()
}

/// The Authorization header is not valid Basic authentication (RFC 7617).
#[doc(hidden)]
#[derive(Debug)]
pub struct NotBasic;

/// Returns the id and secret of the Authorization header (RFC 7617), if the request has one.
///
/// # Errors
/// Returns an error if the header is something else.
#[doc(hidden)]
pub fn credentials(request: &Request) -> Result<Option<(String, Secret)>, NotBasic> {
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
    fn a_secret_may_contain_a_colon() {
        let header = format!("basic {}", STANDARD.encode("ops:a:b"));
        let Ok(Some((id, secret))) = credentials(&request(&header)) else {
            panic!("not read");
        };
        assert_eq!((id.as_str(), secret.reveal()), ("ops", "a:b"));
    }

    #[test]
    fn other_headers_are_invalid() {
        for header in ["Bearer x", "Basic", "Basic !!!", "Basic b3Bz"] {
            assert!(credentials(&request(header)).is_err(), "{header}");
        }
    }
}
