//! The conversion of members to and from items of the members table.

use aws_sdk_dynamodb::types::AttributeValue;
use thiserror::Error;

use super::item::{Item, text};
use crate::member::{AccountId, Author, ClientMemberId, Member, MemberId, Profile};
use crate::phone::Phone;

/// Converts a member to an item.
#[must_use]
pub fn to_item(member: &Member) -> Item {
    item(
        &member.profile,
        (&member.created_at.to_string(), &member.created_by),
        (&member.updated_at.to_string(), &member.updated_by),
    )
}

/// Converts a new member to an item. `at` is the time as stored.
#[must_use]
pub fn to_new_item(profile: &Profile, at: &str, by: &Author) -> Item {
    item(profile, (at, by), (at, by))
}

fn item(profile: &Profile, created: (&str, &Author), updated: (&str, &Author)) -> Item {
    let attribute = |name: &str, value: &str| (name.to_owned(), text(value));
    Item::from([
        attribute("account_id", profile.id.account_id.as_str()),
        attribute("client_member_id", profile.id.client_member_id.as_str()),
        attribute("first_name", &profile.first_name),
        attribute("last_name", &profile.last_name),
        attribute("phone_number", profile.phone_number.as_str()),
        attribute("created_at", created.0),
        attribute("created_by", created.1.as_str()),
        attribute("updated_at", updated.0),
        attribute("updated_by", updated.1.as_str()),
    ])
}

/// The item is not a valid member.
#[derive(Debug, Error)]
#[error("the attribute {0} of a member is missing or not a text")]
pub struct InvalidItem(&'static str);

/// Converts an item to a member.
///
/// # Errors
/// Returns [`InvalidItem`] with the first invalid attribute.
pub fn from_item(mut item: Item) -> Result<Member, InvalidItem> {
    let profile = profile_of(&mut item)?;
    let mut time = |name: &'static str| {
        let text = take(&mut item, name)?;
        text.parse().map_err(|_| InvalidItem(name))
    };
    let (created_at, updated_at) = (time("created_at")?, time("updated_at")?);
    Ok(Member {
        profile,
        created_at,
        updated_at,
        created_by: Author::from_stored(&take(&mut item, "created_by")?),
        updated_by: Author::from_stored(&take(&mut item, "updated_by")?),
    })
}

/// Takes the fields of a member out of an item.
///
/// # Errors
/// Returns [`InvalidItem`] with the first invalid attribute.
pub fn profile_of(item: &mut Item) -> Result<Profile, InvalidItem> {
    Ok(Profile {
        id: MemberId {
            account_id: AccountId::from_stored(take(item, "account_id")?),
            client_member_id: ClientMemberId::from_stored(take(item, "client_member_id")?),
        },
        first_name: take(item, "first_name")?,
        last_name: take(item, "last_name")?,
        phone_number: Phone::from_stored(take(item, "phone_number")?),
    })
}

fn take(item: &mut Item, name: &'static str) -> Result<String, InvalidItem> {
    match item.remove(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(InvalidItem(name)),
    }
}

/// Returns the primary key of a member.
#[must_use]
pub fn key_of(id: &MemberId) -> Item {
    Item::from([
        ("account_id".to_owned(), text(id.account_id.as_str())),
        (
            "client_member_id".to_owned(),
            text(id.client_member_id.as_str()),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn an_item_reads_back_as_the_member() {
        let profile = Profile {
            id: "4~1".parse().unwrap(),
            first_name: "Zoë".into(),
            last_name: "O'Brien".into(),
            phone_number: Phone::from_stored("+17145550123".into()),
        };
        let member = Member::new(profile, Timestamp::from_millis(1), Author::key("ops"));
        assert_eq!(from_item(to_item(&member)).unwrap(), member);
        let mut item = to_item(&member);
        item.remove("created_by");
        assert!(from_item(item).is_err());
    }
}
