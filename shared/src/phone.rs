//! Phone numbers: however one is written, it is stored and looked up in one form, E.164.
//!
//! A number is taken if its length is possible for its country (libphonenumber's
//! "possible", not its stricter "valid": new area codes appear before metadata does).
//! Placeholders are refused: one phone shared by a whole roster is one hot index key.

use std::fmt;
use std::str::FromStr;

use rlibphonenumber::enums::Region;
use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumberFormat};
use thiserror::Error;

/// The longest text that is looked at as a phone number; libphonenumber's own limit is 250.
const MAX_TEXT: usize = 64;

/// A phone number in E.164: `+`, the country code and the national number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

impl Phone {
    /// The number as stored: `+17145550123`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number that was normalised before it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PhoneError {
    /// Letters, or something that is no number at all.
    #[error("is not a phone number")]
    NotANumber,
    /// Written without a country code, in a form that means nothing in the default region,
    /// or with a country code that nobody has.
    #[error("has a country code that doesn't exist")]
    Country,
    /// Fewer digits than any number of its country has.
    #[error("is too short for its country")]
    TooShort,
    /// More digits than any number of its country has.
    #[error("is too long for its country")]
    TooLong,
    /// A number of digits that its country doesn't use.
    #[error("has a number of digits that its country doesn't use")]
    Length,
    /// An extension: E.164 has no room for one, and dropping it would change whom it reaches.
    #[error("has an extension")]
    Extension,
    /// All digits the same, or counting up or down: what people type to get past a form.
    #[error("is a placeholder")]
    Placeholder,
}

/// The country of numbers that are written without a country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRegion(Region);

/// The text names no country (ISO 3166, two letters).
#[derive(Debug, Error)]
#[error("{0:?} is not a country code such as US")]
pub struct UnknownRegion(String);

impl FromStr for DefaultRegion {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Region>()
            .map(Self)
            .map_err(|_| UnknownRegion(text.to_owned()))
    }
}

impl DefaultRegion {
    /// Reads a phone number written in any usual way.
    ///
    /// # Errors
    /// [`PhoneError`] says what is wrong; the text itself is not repeated in it.
    pub fn parse(self, text: &str) -> Result<Phone, PhoneError> {
        let text = text.trim();
        if text.len() > MAX_TEXT || text.chars().any(char::is_alphabetic) {
            return Err(PhoneError::NotANumber);
        }
        if is_placeholder(text.bytes().filter(u8::is_ascii_digit)) {
            return Err(PhoneError::Placeholder);
        }
        let number = PHONE_NUMBER_UTIL
            .parse(text, Some(self.0))
            .map_err(|error| match error {
                rlibphonenumber::ParseError::InvalidCountryCode => PhoneError::Country,
                _ => PhoneError::NotANumber,
            })?;
        if number.extension.is_some() {
            return Err(PhoneError::Extension);
        }
        match number.is_possible_with_reason() {
            Ok(NumberLengthType::IsPossible) => {}
            Ok(_) => return Err(PhoneError::TooShort),
            Err(error) => {
                use rlibphonenumber::ValidationError as V;
                return Err(match error {
                    V::InvalidCountryCode => PhoneError::Country,
                    V::TooShort => PhoneError::TooShort,
                    V::TooLong => PhoneError::TooLong,
                    V::InvalidLength => PhoneError::Length,
                });
            }
        }
        let e164 = number.format_as(PhoneNumberFormat::E164).into_owned();
        if is_placeholder(number.get_national_significant_number().bytes()) {
            return Err(PhoneError::Placeholder);
        }
        Ok(Phone(e164))
    }
}

/// Whether the digits are all the same, or each follows the one before it up or down (9 and 0 meet).
fn is_placeholder(digits: impl Iterator<Item = u8>) -> bool {
    let digits: Vec<u8> = digits.collect();
    if digits.len() < 5 {
        return false;
    }
    let steps = |step: u8| {
        digits
            .windows(2)
            .all(|pair| (pair[0] - b'0' + step) % 10 == pair[1] - b'0')
    };
    steps(0) || steps(1) || steps(9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> Result<String, PhoneError> {
        let region: DefaultRegion = "US".parse().unwrap();
        region.parse(text).map(|phone| phone.0)
    }

    #[test]
    fn every_way_of_writing_a_number_is_one_number() {
        for text in [
            "7145550123",
            "(714) 555-0123",
            "714-555-0123",
            "714.555.0123",
            "+1 714 555 0123",
            "1-714-555-0123",
            " 17145550123 ",
            "001 714 555 0123".trim_start_matches("00"),
            "011 1 714 555 0123",
        ] {
            assert_eq!(us(text), Ok("+17145550123".to_owned()), "{text}");
        }
    }

    #[test]
    fn other_countries_keep_their_codes() {
        assert_eq!(us("+44 20 7183 8750"), Ok("+442071838750".to_owned()));
        assert_eq!(us("+39 06 698 82830"), Ok("+390669882830".to_owned()));
        let gb: DefaultRegion = "GB".parse().unwrap();
        assert_eq!(gb.parse("020 7183 8750").unwrap().as_str(), "+442071838750");
    }

    #[test]
    fn what_is_refused_and_why() {
        for (text, error) in [
            ("", PhoneError::NotANumber),
            ("call me", PhoneError::NotANumber),
            ("714555012x", PhoneError::NotANumber),
            ("555-0199", PhoneError::TooShort),
            ("12", PhoneError::TooShort),
            ("714555012345678", PhoneError::TooLong),
            ("+999 714 555 0123", PhoneError::Country),
            ("0000000000", PhoneError::Placeholder),
            ("1234567890", PhoneError::Placeholder),
            ("9876543210", PhoneError::Placeholder),
            ("5555555555", PhoneError::Placeholder),
            ("+1 222 222 2222", PhoneError::Placeholder),
            ("714-555-0123;123", PhoneError::Extension),
        ] {
            assert_eq!(us(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_region_is_two_letters_of_a_country() {
        assert!("US".parse::<DefaultRegion>().is_ok());
        assert!("america".parse::<DefaultRegion>().is_err());
    }
}
