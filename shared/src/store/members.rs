//! The members table and its two indexes.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use thiserror::Error;

use super::{StoreError, if_condition_held};
use crate::member::{AccountId, Author, ClientMemberId, Member, MemberId, Profile};
use crate::phone::Phone;
use crate::scope::Scope;
use crate::setup::{Setup, SetupError};

/// A DynamoDB item.
pub type Item = HashMap<String, AttributeValue>;

/// The index by phone number.
const PHONE_INDEX: &str = "phone-index";

/// The index by the account's own id.
const CLIENT_MEMBER_INDEX: &str = "client-member-index";

/// The condition that a member is still the one in [`version`]: every attribute that a change
/// may touch.
const UNCHANGED: &str = "first_name = :first AND last_name = :last AND phone_number = :phone \
                         AND updated_at = :at AND updated_by = :by";

/// A member as an item.
#[must_use]
pub fn to_item(member: &Member) -> Item {
    item(
        &member.profile,
        (&member.created_at.to_string(), &member.created_by),
        (&member.updated_at.to_string(), &member.updated_by),
    )
}

/// A member that is new as an item. `at` is the time as it is stored.
#[must_use]
pub fn to_new_item(profile: &Profile, at: &str, by: &Author) -> Item {
    item(profile, (at, by), (at, by))
}

fn item(profile: &Profile, created: (&str, &Author), updated: (&str, &Author)) -> Item {
    let text = |name: &str, text: &str| (name.to_owned(), AttributeValue::S(text.to_owned()));
    Item::from([
        text("account_id", profile.id.account_id.as_str()),
        text("client_member_id", profile.id.client_member_id.as_str()),
        text("first_name", &profile.first_name),
        text("last_name", &profile.last_name),
        text("phone_number", profile.phone_number.as_str()),
        text("created_at", created.0),
        text("created_by", created.1.as_str()),
        text("updated_at", updated.0),
        text("updated_by", updated.1.as_str()),
    ])
}

/// An item of the members table that isn't a member.
#[derive(Debug, Error)]
#[error("the attribute {0} of a member is missing or not a text")]
pub struct NotAMember(&'static str);

/// An item as a member.
///
/// # Errors
/// [`NotAMember`] names the first attribute that won't do.
pub fn from_item(mut item: Item) -> Result<Member, NotAMember> {
    let profile = profile_of(&mut item)?;
    let mut time = |name: &'static str| {
        let text = take(&mut item, name)?;
        text.parse().map_err(|_| NotAMember(name))
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

/// The profile of the member that an item holds, taken out of it.
///
/// # Errors
/// [`NotAMember`] names the first attribute that won't do.
pub fn profile_of(item: &mut Item) -> Result<Profile, NotAMember> {
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

fn take(item: &mut Item, name: &'static str) -> Result<String, NotAMember> {
    match item.remove(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(NotAMember(name)),
    }
}

/// The primary key of a member.
#[must_use]
pub fn key_of(id: &MemberId) -> Item {
    Item::from([
        (
            "account_id".to_owned(),
            AttributeValue::S(id.account_id.as_str().to_owned()),
        ),
        (
            "client_member_id".to_owned(),
            AttributeValue::S(id.client_member_id.as_str().to_owned()),
        ),
    ])
}

/// What to look for; what is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Members of this account.
    pub account_id: Option<AccountId>,
    /// Members that their account knows by this id.
    pub client_member_id: Option<ClientMemberId>,
    /// Members with this phone.
    pub phone_number: Option<Phone>,
}

impl Filter {
    /// The same filter for what a scope leaves of it, one account after the other where the
    /// scope names them. Asking for each keeps other accounts' members out of what is read, not
    /// only out of what is answered.
    fn within(&self, scope: &Scope) -> Vec<Self> {
        match (&self.account_id, scope.accounts()) {
            (_, None) => vec![self.clone()],
            (Some(account), Some(_)) if scope.covers(account) => vec![self.clone()],
            (Some(_), Some(_)) => Vec::new(),
            (None, Some(accounts)) => accounts
                .iter()
                .map(|account| Self {
                    account_id: Some(account.clone()),
                    ..self.clone()
                })
                .collect(),
        }
    }

    /// Whether a member is one of those looked for.
    #[must_use]
    pub fn matches(&self, profile: &Profile) -> bool {
        let is = |wanted: Option<&str>, has: &str| wanted.is_none_or(|wanted| wanted == has);
        is(
            self.account_id.as_ref().map(AccountId::as_str),
            profile.id.account_id.as_str(),
        ) && is(
            self.client_member_id.as_ref().map(ClientMemberId::as_str),
            profile.id.client_member_id.as_str(),
        ) && is(
            self.phone_number.as_ref().map(Phone::as_str),
            profile.phone_number.as_str(),
        )
    }
}

/// A page of members.
#[derive(Debug, Default)]
pub struct Page {
    /// The members, at most as many as were asked for.
    pub members: Vec<Member>,
    /// Whether there are more.
    pub more: bool,
}

/// The table of members.
#[derive(Debug, Clone)]
pub struct Members {
    client: Client,
    table: String,
}

impl Members {
    /// The table that `MEMBERS_TABLE` names.
    ///
    /// # Errors
    /// Where a setting is missing.
    pub fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.dynamodb()?,
            table: setup.required("MEMBERS_TABLE")?.to_owned(),
        })
    }

    /// Adds a member. Gives `false` and changes nothing where it exists.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn create(&self, member: &Member) -> Result<bool, StoreError> {
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(member)))
            .condition_expression("attribute_not_exists(account_id)")
            .send()
            .await;
        Ok(if_condition_held("PutItem of a member", result)?.is_some())
    }

    /// Puts `is` in the place of `was`. Gives `false` and changes nothing where something else
    /// stands there by now.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn replace(&self, was: &Member, is: &Member) -> Result<bool, StoreError> {
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(is)))
            .condition_expression(UNCHANGED)
            .set_expression_attribute_values(Some(version(was)))
            .send()
            .await;
        Ok(if_condition_held("PutItem changing a member", result)?.is_some())
    }

    /// Removes `was`. Gives `false` and changes nothing where something else stands there by
    /// now.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn delete(&self, was: &Member) -> Result<bool, StoreError> {
        let result = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key_of(&was.profile.id)))
            .condition_expression(UNCHANGED)
            .set_expression_attribute_values(Some(version(was)))
            .send()
            .await;
        Ok(if_condition_held("DeleteItem of a member", result)?.is_some())
    }

    /// The member of that id.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn get(&self, id: &MemberId) -> Result<Option<Member>, StoreError> {
        const OPERATION: &str = "GetItem of a member";
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key_of(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        answer
            .item
            .map(from_item)
            .transpose()
            .map_err(|error| StoreError::unreadable(OPERATION, error))
    }

    /// Members within the scope that match, after the one where a page before ended; from the
    /// cheapest place that can answer: the primary key, an index, one account's part of the
    /// table, or else all of it.
    ///
    /// # Errors
    /// Where DynamoDB can't be asked.
    pub async fn find(
        &self,
        filter: &Filter,
        scope: &Scope,
        limit: usize,
        after: Option<&MemberId>,
    ) -> Result<Page, StoreError> {
        let mut members = Vec::new();
        for part in filter.within(scope) {
            let after = match (&part.account_id, after) {
                // The pages before have gone through this account.
                (Some(account), Some(after)) if *account < after.account_id => continue,
                (Some(account), Some(after)) if *account > after.account_id => None,
                (_, after) => after,
            };
            // One member more than wanted tells whether there is a next page.
            self.collect(&part, limit + 1, after, &mut members).await?;
            if members.len() > limit {
                break;
            }
        }
        let more = members.len() > limit;
        members.truncate(limit);
        Ok(Page { members, more })
    }

    /// Adds members that match, until there are `most` or no more.
    async fn collect(
        &self,
        filter: &Filter,
        most: usize,
        after: Option<&MemberId>,
        members: &mut Vec<Member>,
    ) -> Result<(), StoreError> {
        if let (Some(account), Some(client)) = (&filter.account_id, &filter.client_member_id) {
            let id = MemberId {
                account_id: account.clone(),
                client_member_id: client.clone(),
            };
            if after.is_none()
                && let Some(member) = self.get(&id).await?
                && filter.matches(&member.profile)
            {
                members.push(member);
            }
            return Ok(());
        }
        let mut start = after.map(|after| start_key(filter, after));
        while members.len() < most {
            let wanted = most - members.len();
            let (items, next) = self.read(filter, wanted, start.take()).await?;
            for item in items {
                members.push(
                    from_item(item)
                        .map_err(|error| StoreError::unreadable("reading members", error))?,
                );
            }
            start = next;
            if start.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// One request's worth of matching items, and where to go on.
    async fn read(
        &self,
        filter: &Filter,
        wanted: usize,
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .limit(wanted)
            .set_exclusive_start_key(start.clone());
        let query = if let Some(phone) = &filter.phone_number {
            let query = query
                .index_name(PHONE_INDEX)
                .expression_attribute_values(":p", AttributeValue::S(phone.as_str().to_owned()));
            let query = match &filter.account_id {
                Some(account) => query
                    .key_condition_expression("phone_number = :p AND account_id = :a")
                    .expression_attribute_values(":a", text(account.as_str())),
                None => query.key_condition_expression("phone_number = :p"),
            };
            match &filter.client_member_id {
                Some(client) => query
                    .filter_expression("client_member_id = :c")
                    .expression_attribute_values(":c", text(client.as_str())),
                None => query,
            }
        } else if let Some(client) = &filter.client_member_id {
            query
                .index_name(CLIENT_MEMBER_INDEX)
                .key_condition_expression("client_member_id = :c")
                .expression_attribute_values(":c", text(client.as_str()))
        } else if let Some(account) = &filter.account_id {
            query
                .key_condition_expression("account_id = :a")
                .expression_attribute_values(":a", text(account.as_str()))
        } else {
            let answer = self
                .client
                .scan()
                .table_name(&self.table)
                .limit(wanted)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| StoreError::sdk("Scan of members", error))?;
            return Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key));
        };
        let answer = query
            .send()
            .await
            .map_err(|error| StoreError::sdk("Query of members", error))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// What [`UNCHANGED`] compares with.
fn version(member: &Member) -> Item {
    [
        (":first", member.profile.first_name.as_str()),
        (":last", &member.profile.last_name),
        (":phone", member.profile.phone_number.as_str()),
        (":at", &member.updated_at.to_string()),
        (":by", member.updated_by.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), text(value)))
    .into()
}

/// The key that DynamoDB starts after, in the order of the table or index that the filter is
/// answered from.
fn start_key(filter: &Filter, after: &MemberId) -> Item {
    let mut key = key_of(after);
    if let Some(phone) = &filter.phone_number {
        key.insert("phone_number".to_owned(), text(phone.as_str()));
    }
    key
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
