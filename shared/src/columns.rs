//! The column names and delimiters that a header may have. Ingest uses these tables to read files;
//! the console uses them to preview a file.

use crate::member::Field;

/// Possible delimiters, the most likely first.
pub const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The maximum number of lines above the header: titles, dates and blank lines of reports.
pub const MAX_LINES_ABOVE: u64 = 20;

/// The names of each field, as [`plain`] returns them. docs/files.md lists the programs that write them.
const ALIASES: [(Field, &[&str]); 5] = [
    (
        Field::AccountId,
        &["accountid", "account", "accountnumber", "accountno", "aid"],
    ),
    (
        Field::ClientMemberId,
        &[
            "clientmemberid",
            "memberid",
            "member",
            "membernumber",
            "memberno",
            "clientid",
            "cmid",
            "externalid",
            "externalidentifier",
            "recordid",
            "contactid",
            "customerid",
            "organizationalidnumber",
        ],
    ),
    (
        Field::FirstName,
        &[
            "firstname",
            "first",
            "givenname",
            "forename",
            "fname",
            "namefirst",
        ],
    ),
    (
        Field::LastName,
        &[
            "lastname",
            "last",
            "surname",
            "familyname",
            "lname",
            "namelast",
        ],
    ),
    (
        Field::PhoneNumber,
        &[
            "phonenumber",
            "phone",
            "phoneno",
            "phone1value",
            "mobile",
            "mobileno",
            "mobilenumber",
            "mobilephone",
            "mobilephonenumber",
            "cell",
            "cellphone",
            "cellphonenumber",
            "cellnumber",
            "telephone",
            "telephonenumber",
            "tel",
            "msisdn",
            "ph",
        ],
    ),
];

/// Returns the names of a field, as [`plain`] returns them.
#[must_use]
pub fn aliases(field: Field) -> &'static [&'static str] {
    let (_, names) = ALIASES[field as usize];
    names
}

/// Returns the field of a column name, in any notation.
#[must_use]
pub fn field(name: &str) -> Option<Field> {
    let plain = plain(name);
    let known = |names: &&[&str]| names.contains(&plain.as_str());
    let (field, _) = ALIASES.iter().find(|(_, names)| known(names))?;
    Some(*field)
}

/// Returns a name in lower case, without spaces and punctuation.
#[must_use]
pub fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_each_field_are_distinct() {
        for (at, of) in Field::ALL.into_iter().enumerate() {
            assert_eq!(ALIASES[at].0, of);
            assert_eq!(field(of.name()), Some(of));
            for name in aliases(of) {
                assert_eq!(field(name), Some(of), "{name}");
            }
        }
    }

    #[test]
    fn a_name_is_recognised_in_any_notation() {
        assert_eq!(field("Client-Member ID"), Some(Field::ClientMemberId));
        assert_eq!(field(" PHONE_number"), Some(Field::PhoneNumber));
        assert_eq!(field("PHONE.NUMBER:"), Some(Field::PhoneNumber));
        assert_eq!(field("Member #"), Some(Field::ClientMemberId));
        assert_eq!(field("Phone 1 - Value"), Some(Field::PhoneNumber));
        assert_eq!(field("notes"), None);
        assert_eq!(field("#"), None);
    }
}
