//! What looks wrong in a valid row. It rejects nothing; the batch lists it as a warning.

use mpulse_shared::batch::WarningCode;
use mpulse_shared::member::Profile;

/// The error values of spreadsheets.
const ERRORS: [&str; 8] = [
    "#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!",
];

/// The fewest digits of a name that is a phone number.
const PHONE_DIGITS: usize = 7;

/// Returns what looks wrong in a row.
pub fn of(profile: &Profile) -> Option<WarningCode> {
    if profile.id.client_member_id.as_str().ends_with(".0") {
        return Some(WarningCode::DecimalId);
    }
    [&profile.first_name, &profile.last_name]
        .into_iter()
        .find_map(|name| of_name(name))
}

fn of_name(name: &str) -> Option<WarningCode> {
    // Most names are letters only.
    let first = name.bytes().next()?;
    if name.is_ascii() && first.is_ascii_alphabetic() {
        return None;
    }
    if ERRORS.contains(&name) {
        return Some(WarningCode::SpreadsheetError);
    }
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let is_phone = |b: u8| b.is_ascii_digit() || b" +-().".contains(&b);
    if digits >= PHONE_DIGITS && name.bytes().all(is_phone) {
        return Some(WarningCode::PhoneInName);
    }
    is_garbled(name).then_some(WarningCode::GarbledText)
}

/// Returns whether a text contains what the two bytes of a Latin letter in UTF-8 look like in Windows-1252, or what takes the place
/// of bytes that could not be read.
fn is_garbled(text: &str) -> bool {
    let mut before = ' ';
    text.chars().any(|c| {
        let pair = matches!(before, 'Ã' | 'Â') && matches!(c, '\u{80}'..='\u{BF}' | '€' | '™' | '‚'..='„' | '†' | '‡' | '‰' | '‹' | '›' | 'Œ' | 'œ' | 'Š' | 'š' | 'Ž' | 'ž' | 'Ÿ' | '˜');
        before = c;
        pair || c == '\u{FFFD}'
    }) || text.contains("â€")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_wrong_are_noticed() {
        for (name, warning) in [
            ("Ann", None),
            ("Zoë", None),
            ("Ângela", None),
            ("João", None),
            ("SÃO", None),
            ("JosÃ©", Some(WarningCode::GarbledText)),
            ("O\u{e2}€™Brien", Some(WarningCode::GarbledText)),
            ("Jos\u{FFFD}", Some(WarningCode::GarbledText)),
            ("#N/A", Some(WarningCode::SpreadsheetError)),
            ("(714) 555-0123", Some(WarningCode::PhoneInName)),
            ("3", None),
        ] {
            assert_eq!(of_name(name), warning, "{name}");
        }
    }
}
