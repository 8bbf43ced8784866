//! The ids of an account, of a member within its account, and of a member.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::field::{Field, FieldError};
use super::text::{self, SPREADSHEET_NUMBER, SPREADSHEET_NUMBER_MESSAGE, Scientific};

/// The longest account id or client member id, in characters.
pub const MAX_ID: usize = 64;

/// The separator of the two parts of a public id. It needs no escaping in a URL and does not occur
/// in an account id.
const SEPARATOR: char = '~';

/// The bytes of a client member id that a public id has percent-encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b':')
    .remove(b'@')
    .remove(b'-')
    .remove(b'~');

/// The characters of a client member id that a public id has escaped with a tilde instead: a percent sign, so that
/// decoding twice is the same as decoding once, and the tilde itself.
const ESCAPED: [(char, &str); 2] = [('~', "~7E"), ('%', "~25")];

/// The id of an account: 1–64 of `A-Za-z0-9_-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

/// The client's own id for a person: 1–64 printable characters of any script, in Unicode's form NFC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ClientMemberId(String);

macro_rules! id {
    ($type:ident) => {
        impl $type {
            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns an id that was validated before it was stored.
            #[must_use]
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(AccountId);
id!(ClientMemberId);

impl AccountId {
    /// Validates an id.
    ///
    /// # Errors
    /// Returns a [`FieldError`] that describes the rule.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let text = given(text, Field::AccountId)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.len() > MAX_ID || !text.bytes().all(allowed) {
            return Err(FieldError::new(
                Field::AccountId.name(),
                "invalid_account_id",
                format!("must be 1 to {MAX_ID} of the characters A-Z a-z 0-9 _-"),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl ClientMemberId {
    /// Validates an id.
    ///
    /// # Errors
    /// Returns a [`FieldError`] that describes the rule.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let text = given(text, Field::ClientMemberId)?;
        let text = text::nfc(text);
        let is_short = text.len() <= MAX_ID || text.chars().count() <= MAX_ID;
        if !is_short || !text.chars().all(text::is_printable) {
            return Err(FieldError::new(
                Field::ClientMemberId.name(),
                "invalid_client_member_id",
                format!(
                    "must be 1 to {MAX_ID} printable characters, without control and invisible characters"
                ),
            ));
        }
        Ok(Self(text.into_owned()))
    }

    /// Returns the id as part of a public id.
    fn encoded(&self) -> String {
        let mut text = self.0.clone();
        for (plain, escaped) in ESCAPED {
            if text.contains(plain) {
                text = text.replace(plain, escaped);
            }
        }
        utf8_percent_encode(&text, ENCODED).to_string()
    }
}

/// Returns the trimmed text of an id, if it is neither empty nor a number that a spreadsheet changed.
fn given(text: &str, field: Field) -> Result<&str, FieldError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(FieldError::required(field));
    }
    if text::scientific(text) == Some(Scientific::Marked) {
        return Err(FieldError::new(
            field.name(),
            SPREADSHEET_NUMBER,
            SPREADSHEET_NUMBER_MESSAGE,
        ));
    }
    Ok(text)
}

/// The identity of a member: the account, and the client's own id for the person. Its text is the public id, a
/// token that needs no escaping in a URL: `4~5622780`, or `4~MRN%2000123` for the client's id `MRN 00123`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    /// The table's partition key.
    pub account_id: AccountId,
    /// The table's sort key.
    pub client_member_id: ClientMemberId,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.client_member_id.encoded();
        write!(f, "{}{SEPARATOR}{client}", self.account_id)
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
pub struct InvalidMemberId;

impl FromStr for MemberId {
    type Err = InvalidMemberId;

    /// Parses a public id. API Gateway decodes paths, and clients encode the id again or not, so it may
    /// be percent-encoded not at all, once or twice.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let decode = |text: &str| {
            percent_decode_str(text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| InvalidMemberId)
        };
        let text = decode(&decode(text)?)?;
        let (account, client) = text.split_once(SEPARATOR).ok_or(InvalidMemberId)?;
        let mut client = client.to_owned();
        for (plain, escaped) in ESCAPED.into_iter().rev() {
            client = client.replace(escaped, plain.encode_utf8(&mut [0; 4]));
        }
        Ok(Self {
            account_id: AccountId::parse(account).map_err(|_| InvalidMemberId)?,
            client_member_id: ClientMemberId::parse(&client).map_err(|_| InvalidMemberId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_id_can_be_parsed_again() {
        let id: MemberId = "4~a.b:c@d-e".parse().unwrap();
        assert_eq!(id.client_member_id.as_str(), "a.b:c@d-e");
        for text in ["", "4", "~", "4~", "~1", "4/1", "4~a%00", "4~%ff"] {
            assert!(text.parse::<MemberId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_id_is_one_token_of_a_url() {
        for (client, token) in [
            ("MRN 00123", "4~MRN%2000123"),
            ("A/17", "4~A%2F17"),
            ("#9 ü", "4~%239%20%C3%BC"),
            ("50% ~7E", "4~50~25%20~7E7E"),
            ("a%20b", "4~a~2520b"),
            ("~25", "4~~7E25"),
        ] {
            let id = MemberId {
                account_id: AccountId::parse("4").unwrap(),
                client_member_id: ClientMemberId::parse(client).unwrap(),
            };
            assert_eq!(id.to_string(), token);
            let encoded = utf8_percent_encode(token, NON_ALPHANUMERIC).to_string();
            let decoded = percent_decode_str(token).decode_utf8().unwrap();
            for text in [token, encoded.as_str(), &decoded] {
                assert_eq!(text.parse(), Ok(id.clone()), "{text}");
            }
        }
    }

    #[test]
    fn ids_are_printable_and_not_changed_by_a_spreadsheet() {
        for (text, code) in [
            ("", "required"),
            ("a\tb", "invalid_client_member_id"),
            ("a\u{200B}b", "invalid_client_member_id"),
            ("5.62278E+06", "spreadsheet_number"),
            ("5.62278E06", "spreadsheet_number"),
        ] {
            assert_eq!(ClientMemberId::parse(text).unwrap_err().code, code);
        }
        for text in ["12E05", "E42", "李 雷", &"ü".repeat(64)] {
            assert!(ClientMemberId::parse(text).is_ok(), "{text}");
        }
        assert!(ClientMemberId::parse(&"ü".repeat(65)).is_err());
    }
}
