//! Which members a batch of mode `replace` may remove.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The greatest number of members that a limit may name. JSON numbers of more digits are not exact in many clients.
pub const MAX_REMOVED: u64 = 999_999_999_999_999;

/// Hundredths of a percent in the whole.
const WHOLE: u64 = 10_000;

/// What a `replace` does if members of the account are not in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Removal {
    /// The most members that may be removed. If more are absent, none is removed.
    pub limit: Limit,
    /// Whether members are removed although rows were rejected whose client member id cannot be read.
    pub despite_unreadable_rows: bool,
}

impl Removal {
    /// Returns whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The most members that may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub enum Limit {
    /// This many.
    Members(u64),
    /// This share of the members that the account had, in hundredths of a percent.
    Share(u64),
}

/// The text is not a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a whole number of members or a percentage such as \"10%\", at most \"100%\"")]
pub struct InvalidLimit;

/// A limit in JSON: a percentage is a text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Text(String),
}

impl Default for Limit {
    fn default() -> Self {
        Self::Share(WHOLE / 10)
    }
}

impl Limit {
    /// Returns whether `absent` of the `members` that the account had are more than the limit.
    #[must_use]
    pub fn is_exceeded(self, absent: u64, members: u64) -> bool {
        match self {
            Self::Members(most) => absent > most,
            Self::Share(share) => {
                u128::from(absent) * u128::from(WHOLE) > u128::from(share) * u128::from(members)
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members(most) => write!(f, "{most}"),
            Self::Share(share) if share % 100 == 0 => write!(f, "{}%", share / 100),
            Self::Share(share) => {
                let text = format!("{}.{:02}", share / 100, share % 100);
                write!(f, "{}%", text.trim_end_matches('0'))
            }
        }
    }
}

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let digits = |text: &str| -> Result<u64, InvalidLimit> {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(InvalidLimit);
            }
            text.parse().map_err(|_| InvalidLimit)
        };
        let Some(share) = text.strip_suffix('%') else {
            return digits(text).map(Self::Members);
        };
        let (whole, fraction) = share.split_once('.').unwrap_or((share, "0"));
        if fraction.len() > 2 {
            return Err(InvalidLimit);
        }
        let hundredths = digits(&format!("{fraction:0<2}"))?;
        let share = digits(whole)?
            .checked_mul(100)
            .and_then(|whole| whole.checked_add(hundredths))
            .filter(|share| *share <= WHOLE);
        share.map(Self::Share).ok_or(InvalidLimit)
    }
}

impl TryFrom<Text> for Limit {
    type Error = InvalidLimit;

    fn try_from(text: Text) -> Result<Self, InvalidLimit> {
        match text {
            Text::Number(most) => Ok(Self::Members(most)),
            Text::Text(text) => text.parse(),
        }
    }
}

impl From<Limit> for Text {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Members(most) => Self::Number(most),
            Limit::Share(_) => Self::Text(limit.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_percentage() {
        for (text, limit) in [
            ("0", Ok(Limit::Members(0))),
            ("25", Ok(Limit::Members(25))),
            ("10%", Ok(Limit::Share(1000))),
            ("0.5%", Ok(Limit::Share(50))),
            ("0.05%", Ok(Limit::Share(5))),
            ("100%", Ok(Limit::Share(10_000))),
            ("100.01%", Err(InvalidLimit)),
            ("-1", Err(InvalidLimit)),
            ("%", Err(InvalidLimit)),
            ("ten", Err(InvalidLimit)),
            ("1.005%", Err(InvalidLimit)),
        ] {
            assert_eq!(text.parse(), limit, "{text}");
            if let Ok(limit) = limit {
                assert_eq!(limit.to_string(), text);
            }
        }
        let removal: Removal = serde_json::from_str(r#"{"limit": 5}"#).unwrap();
        assert_eq!(removal.limit, Limit::Members(5));
        assert!(serde_json::from_str::<Removal>(r#"{"limits": 5}"#).is_err());
    }

    #[test]
    fn a_share_is_of_the_members_that_the_account_had() {
        let tenth = Limit::default();
        assert!(!tenth.is_exceeded(10, 100));
        assert!(tenth.is_exceeded(11, 100));
        assert!(!tenth.is_exceeded(0, 0));
        assert!(!Limit::Members(3).is_exceeded(3, 3));
        assert!(Limit::Members(3).is_exceeded(4, 1000));
    }
}
