//! What the header of a roster may look like: which names stand for which field, and what
//! separates them. The ingest function reads files by it, and the console tells beforehand what
//! ingest will make of one.

use crate::member::Field;

/// What may separate fields, the most likely first.
pub const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Names that stand for a field, in the [plain](plain) form.
const ALIASES: [(Field, &[&str]); 5] = [
    (Field::AccountId, &["accountid", "account", "aid"]),
    (
        Field::ClientMemberId,
        &[
            "clientmemberid",
            "memberid",
            "clientid",
            "cmid",
            "externalid",
            "member",
        ],
    ),
    (
        Field::FirstName,
        &["firstname", "first", "givenname", "forename", "fname"],
    ),
    (
        Field::LastName,
        &["lastname", "last", "surname", "familyname", "lname"],
    ),
    (
        Field::PhoneNumber,
        &[
            "phonenumber",
            "phone",
            "mobile",
            "mobilenumber",
            "mobilephone",
            "cell",
            "cellphone",
            "telephone",
            "tel",
            "ph",
        ],
    ),
];

/// The names that stand for a field, in the [plain](plain) form.
#[must_use]
pub fn aliases(field: Field) -> &'static [&'static str] {
    let (_, names) = ALIASES[field as usize];
    names
}

/// The field that a column's name stands for, however it is written.
#[must_use]
pub fn field(name: &str) -> Option<Field> {
    let plain = plain(name);
    let known = |names: &&[&str]| names.contains(&plain.as_str());
    let (field, _) = ALIASES.iter().find(|(_, names)| known(names))?;
    Some(*field)
}

/// A name without case, spaces, underscores and hyphens.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_its_names_and_no_other_s() {
        for (at, of) in Field::ALL.into_iter().enumerate() {
            assert_eq!(ALIASES[at].0, of);
            assert_eq!(field(of.name()), Some(of));
            for name in aliases(of) {
                assert_eq!(field(name), Some(of), "{name}");
            }
        }
    }

    #[test]
    fn a_name_is_known_however_it_is_written() {
        assert_eq!(field("Client-Member ID"), Some(Field::ClientMemberId));
        assert_eq!(field(" PHONE_number"), Some(Field::PhoneNumber));
        assert_eq!(field("notes"), None);
    }
}
