//! What both ids and names need: Unicode normalisation, printable characters, and numbers that a spreadsheet
//! has changed.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The code of a number that a spreadsheet changed to scientific notation.
pub(super) const SPREADSHEET_NUMBER: &str = "spreadsheet_number";

/// Its message.
pub(super) const SPREADSHEET_NUMBER_MESSAGE: &str = "is in scientific notation, in which a spreadsheet loses digits. \
     Format the column as text in the source and export it again";

/// Returns the text in Unicode's form NFC, so that the same text from two systems is equal.
pub(super) fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().collect())
}

/// Returns whether a character is visible or a space: no control or format character, no line separator,
/// and none that is not assigned.
pub(crate) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
    )
}

/// How a number in scientific notation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scientific {
    /// Digits, `E`, digits: it may be an id.
    Plain,
    /// With a decimal point or comma, or a sign of the exponent: only programs write this.
    Marked,
}

/// Returns how the text is a number in scientific notation; `None` if it is not one.
pub(super) fn scientific(text: &str) -> Option<Scientific> {
    let text = text.trim();
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = match mantissa.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    if !is_digits(whole) || !is_digits(unsigned) || !fraction.is_none_or(is_digits) {
        return None;
    }
    let is_marked = fraction.is_some() || unsigned.len() < exponent.len();
    Some(if is_marked {
        Scientific::Marked
    } else {
        Scientific::Plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_and_decomposed_text_is_the_same() {
        assert_eq!(nfc("Jose\u{301}"), "José");
        assert_eq!(nfc("José"), "José");
        assert_eq!(nfc("Zoe"), "Zoe");
    }

    #[test]
    fn scientific_notation_is_recognised() {
        for text in ["7.14E+09", "7,14E+09", "5.62278E06", "1E+5", " 7.1e9 "] {
            assert_eq!(scientific(text), Some(Scientific::Marked), "{text}");
        }
        assert_eq!(scientific("12E05"), Some(Scientific::Plain));
        for text in ["E42", "12E", "1.E5", "A1E5", "1E5X", "12", ""] {
            assert_eq!(scientific(text), None, "{text}");
        }
    }

    #[test]
    fn control_and_format_characters_are_not_printable() {
        for c in ['a', ' ', 'ü', '李', '/', '\u{A0}'] {
            assert!(is_printable(c), "{c:?}");
        }
        for c in [
            '\n', '\u{200B}', '\u{202E}', '\u{2028}', '\u{FEFF}', '\u{7F}',
        ] {
            assert!(!is_printable(c), "{c:?}");
        }
    }
}
