//! Phone numbers: they are stored and looked up in one form, E.164, whatever their notation.
//!
//! A number is accepted if its length is possible for its country (libphonenumber's "possible", not
//! its stricter "valid", because new area codes are in use before its metadata contains them).
//! Placeholders are rejected: one phone number shared by a whole roster would be one hot index key.

use std::fmt;
use std::str::FromStr;

use rlibphonenumber::enums::Region;
use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumberFormat};
use thiserror::Error;

/// The longest text that is parsed as a phone number; libphonenumber's own limit is 250.
const MAX_TEXT: usize = 64;

/// A phone number in E.164: `+`, the country code and the national number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

impl Phone {
    /// Returns the number as stored: `+17145550123`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a number that was normalised before it was stored.
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
    /// It contains letters, or is not a number at all.
    #[error("is not a phone number")]
    NotANumber,
    /// It has no country code and is not valid in the default region, or its country code does not
    /// exist.
    #[error("has a country code that does not exist")]
    Country,
    /// It has fewer digits than any number of its country.
    #[error("is too short for its country")]
    TooShort,
    /// It has more digits than any number of its country.
    #[error("is too long for its country")]
    TooLong,
    /// Its country has no numbers of this length.
    #[error("has a length that does not exist in its country")]
    Length,
    /// It has an extension. E.164 cannot represent it, and without it the number would reach
    /// another person.
    #[error(
        "has an extension, which cannot receive a text message. Give a number without an extension"
    )]
    Extension,
    /// Its digits are all the same, or count up or down: a placeholder.
    #[error("is a placeholder")]
    Placeholder,
}

/// The country of numbers without a country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRegion(Region);

/// The text is not a country (ISO 3166, two letters).
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

/// Returns whether a text is a country (ISO 3166, two letters).
#[must_use]
pub fn is_region(text: &str) -> bool {
    text.parse::<DefaultRegion>().is_ok()
}

impl DefaultRegion {
    /// Parses a phone number in any usual notation.
    ///
    /// # Errors
    /// Returns [`PhoneError`]. It does not contain the text.
    pub fn parse(self, text: &str) -> Result<Phone, PhoneError> {
        let text = without_decimals(without_scheme(text.trim()));
        if text.len() > MAX_TEXT {
            return Err(PhoneError::NotANumber);
        }
        if is_placeholder(text.bytes().filter(u8::is_ascii_digit)) {
            return Err(PhoneError::Placeholder);
        }
        // Most countries dial 00 before a country code. Where it means something else, the text is not a number with
        // 00 read as +, and is read as it is.
        if let Some(rest) = text.strip_prefix("00")
            && let Ok(phone) = self.parse_number(&format!("+{rest}"))
        {
            return Ok(phone);
        }
        self.parse_number(text)
    }

    fn parse_number(self, text: &str) -> Result<Phone, PhoneError> {
        let has_letters = text.chars().any(char::is_alphabetic);
        let number = PHONE_NUMBER_UTIL
            .parse(text, Some(self.0))
            .map_err(|error| match error {
                rlibphonenumber::ParseError::InvalidCountryCode => PhoneError::Country,
                _ => PhoneError::NotANumber,
            })?;
        if number.extension.is_some() {
            return Err(PhoneError::Extension);
        }
        // Letters on the keys of a phone, as in 1-800-FLOWERS, are more likely an error.
        if has_letters {
            return Err(PhoneError::NotANumber);
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
        if !is_read_as_itself(&e164) {
            return Err(PhoneError::NotANumber);
        }
        Ok(Phone(e164))
    }
}

/// Returns whether a number in E.164 is read as itself. It is not if its national number begins with what is dialled before
/// one: `+61 0714515012` is read as `+61 714515012`.
fn is_read_as_itself(e164: &str) -> bool {
    // Area codes of the North American plan begin with 2 to 9, and 1 is dialled before them.
    let is_american = e164.len() == 12 && e164.starts_with("+1") && e164.as_bytes()[2] > b'1';
    let read = || PHONE_NUMBER_UTIL.parse(e164, None::<Region>);
    is_american || read().is_ok_and(|number| number.format_as(PhoneNumberFormat::E164) == e164)
}

/// Returns the number of a `tel:` URI (RFC 3966).
fn without_scheme(text: &str) -> &str {
    match text.split_at_checked(4) {
        Some((scheme, number)) if scheme.eq_ignore_ascii_case("tel:") => number.trim_start(),
        _ => text,
    }
}

/// Returns the digits of a whole number that a program wrote as a decimal: `17145550123.0`.
fn without_decimals(text: &str) -> &str {
    let Some((whole, fraction)) = text.rsplit_once(['.', ',']) else {
        return text;
    };
    let digits = whole.strip_prefix('+').unwrap_or(whole);
    let is_whole = digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    if is_whole && matches!(fraction, "0" | "00") {
        whole
    } else {
        text
    }
}

/// Returns whether the digits are all the same, or count up or down (9 and 0 are neighbours).
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
    fn every_notation_yields_the_same_number() {
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
            "00 1 714 555 0123",
            "tel:+1-714-555-0123",
            "TEL:7145550123",
            "17145550123.0",
            "7145550123,00",
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
        assert_eq!(us("00442071838750"), Ok("+442071838750".to_owned()));
        let au: DefaultRegion = "AU".parse().unwrap();
        for text in ["0011 44 20 7183 8750", "0044 20 7183 8750"] {
            assert_eq!(au.parse(text).unwrap().as_str(), "+442071838750");
        }
    }

    #[test]
    fn invalid_numbers_are_rejected_with_a_reason() {
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
            ("714-555-0123 x12", PhoneError::Extension),
            ("714-555-0123 ext. 12", PhoneError::Extension),
            ("tel:+1-714-555-0123;ext=12", PhoneError::Extension),
            ("1-800-FLOWERS", PhoneError::NotANumber),
            ("714.55.0", PhoneError::TooShort),
            ("+61 00714515012", PhoneError::NotANumber),
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
