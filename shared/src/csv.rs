//! The CSV that mPulse writes (RFC 4180, UTF-8), and members as rows of it.
//!
//! The columns of members are those of the template, and the fields are as stored, so that a file of them, imported again,
//! changes nothing. Reports escape texts that a spreadsheet may take for formulas, because reading a report undoes it;
//! reading a file of members does not.

use crate::member::{Field, Profile};

/// The mark without which spreadsheets take a file for another charset.
pub const BOM: &str = "\u{FEFF}";

/// The end of each line.
pub const LINE_END: &str = "\r\n";

/// Returns the mark and the header of a file of members.
#[must_use]
pub fn member_header() -> String {
    format!("{BOM}{}{LINE_END}", Field::ALL.map(Field::name).join(","))
}

/// Appends a member as a row.
pub fn push_member(out: &mut String, profile: &Profile) {
    for (at, field) in fields_of(profile).into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_quoted(out, field);
    }
    out.push_str(LINE_END);
}

/// Returns the fields of a member in the order of the columns.
#[must_use]
pub fn fields_of(profile: &Profile) -> [&str; Field::ALL.len()] {
    Field::ALL.map(|field| match field {
        Field::AccountId => profile.id.account_id.as_str(),
        Field::ClientMemberId => profile.id.client_member_id.as_str(),
        Field::FirstName => &profile.first_name,
        Field::LastName => &profile.last_name,
        Field::PhoneNumber => profile.phone_number.as_str(),
    })
}

/// Appends a field, quoted if need be.
pub fn push_quoted(out: &mut String, field: &str) {
    if field.contains(['"', ',', '\n', '\r']) {
        out.push('"');
        out.push_str(&field.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::Phone;

    #[test]
    fn a_member_is_a_row_of_the_template() {
        let profile = Profile {
            id: "4~MRN%2000123".parse().unwrap(),
            first_name: "Zoë \"Z\"".into(),
            last_name: "=O'Brien, Jr.".into(),
            phone_number: Phone::from_stored("+17145550123".into()),
        };
        let mut file = member_header();
        push_member(&mut file, &profile);
        assert_eq!(
            file,
            "\u{FEFF}account_id,client_member_id,first_name,last_name,phone_number\r\n\
             4,MRN 00123,\"Zoë \"\"Z\"\"\",\"=O'Brien, Jr.\",+17145550123\r\n"
        );
    }
}
