//! Applies the fields of a change to a member. No I/O.

use mpulse_shared::http::fields::Fields;
use mpulse_shared::member::{Field, FieldError, Member, Profile, RawProfile, Rules};

/// The fields that a change may set.
const CHANGEABLE: [Field; 3] = [Field::FirstName, Field::LastName, Field::PhoneNumber];

/// Returns the member's fields after a change. Fields that cannot be changed may be sent with their
/// present values, so a client can send a member back as it was read.
///
/// # Errors
/// Returns every error found.
pub fn apply(fields: &Fields, was: &Member, rules: Rules) -> Result<Profile, Vec<FieldError>> {
    let shown = serde_json::to_value(was).unwrap_or_default();
    let is_changeable = |name: &str| CHANGEABLE.iter().any(|field| field.name() == name);
    let mut errors = Vec::new();
    for (name, text) in fields.iter().filter(|(name, _)| !is_changeable(name)) {
        match shown.get(name) {
            Some(value) if value == text.as_str() => {}
            Some(_) => errors.push(FieldError::new(name, "read_only", "cannot be changed")),
            None => errors.push(FieldError::new(
                name,
                "unknown_field",
                "is not a field of a member",
            )),
        }
    }
    let profile = &was.profile;
    let mut raw = RawProfile::default();
    raw.set(Field::AccountId, profile.id.account_id.as_str());
    raw.set(Field::ClientMemberId, profile.id.client_member_id.as_str());
    raw.set(Field::FirstName, &profile.first_name);
    raw.set(Field::LastName, &profile.last_name);
    raw.set(Field::PhoneNumber, profile.phone_number.as_str());
    for field in CHANGEABLE {
        if let Some(text) = fields.get(field.name()) {
            raw.set(field, text);
        }
    }
    match rules.check(&raw) {
        Ok(profile) if errors.is_empty() => Ok(profile),
        Ok(_) => Err(errors),
        Err(more) => {
            errors.extend(more);
            Err(errors)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpulse_shared::member::Author;
    use mpulse_shared::time::Timestamp;

    fn member(rules: Rules) -> Member {
        let mut raw = RawProfile::default();
        let texts = ["4", "1", "Ann", "Lee", "7145550123"];
        for (field, text) in Field::ALL.into_iter().zip(texts) {
            raw.set(field, text);
        }
        let profile = rules.check(&raw).unwrap();
        Member::new(profile, Timestamp::from_millis(1), Author::key("ops"))
    }

    fn change(pairs: &[(&str, &str)]) -> Result<[String; 3], Vec<(String, &'static str)>> {
        let rules = Rules {
            region: "US".parse().unwrap(),
        };
        let fields = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        apply(&fields, &member(rules), rules)
            .map(|p| {
                [
                    p.first_name,
                    p.last_name,
                    p.phone_number.as_str().to_owned(),
                ]
            })
            .map_err(|errors| errors.into_iter().map(|e| (e.field, e.code)).collect())
    }

    #[test]
    fn only_named_fields_change() {
        let is = |first: &str, last: &str, phone: &str| Ok([first, last, phone].map(str::to_owned));
        assert_eq!(change(&[]), is("Ann", "Lee", "+17145550123"));
        assert_eq!(
            change(&[("first_name", " Bea "), ("phone_number", "(212) 555-0188")]),
            is("Bea", "Lee", "+12125550188")
        );
    }

    #[test]
    fn a_member_may_be_sent_back_unchanged() {
        let whole = [
            ("id", "4~1"),
            ("account_id", "4"),
            ("created_by", "key:ops"),
            ("last_name", "Low"),
        ];
        assert_eq!(change(&whole).unwrap()[1], "Low");
    }

    #[test]
    fn every_fault_is_told() {
        assert_eq!(
            change(&[
                ("account_id", "5"),
                ("phone", "7145550123"),
                ("last_name", ""),
                ("phone_number", "12"),
            ]),
            Err(vec![
                ("account_id".to_owned(), "read_only"),
                ("phone".to_owned(), "unknown_field"),
                ("last_name".to_owned(), "required"),
                ("phone_number".to_owned(), "invalid_phone"),
            ])
        );
    }
}
