//! The members table and its two indexes.

use aws_sdk_dynamodb::Client;

use super::item::{Item, text};
use super::member_item::{from_item, key_of, to_item};
use super::{StoreError, if_condition_held};
use crate::member::{AccountId, ClientMemberId, Member, MemberId, Profile};
use crate::phone::Phone;
use crate::scope::Scope;
use crate::setup::{FromSetup, Setup, SetupError};

/// The index by phone number.
const PHONE_INDEX: &str = "phone-index";

/// The index by the client's own id.
const CLIENT_MEMBER_INDEX: &str = "client-member-index";

/// The condition that the stored member equals the one in [`version`]: it compares every attribute
/// that a change may write.
const UNCHANGED: &str = "first_name = :first AND last_name = :last AND phone_number = :phone \
                         AND updated_at = :at AND updated_by = :by";

/// A filter for members; `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Members of this account.
    pub account_id: Option<AccountId>,
    /// Members with this client member id.
    pub client_member_id: Option<ClientMemberId>,
    /// Members with this phone.
    pub phone_number: Option<Phone>,
}

impl Filter {
    /// Returns the filters that cover a scope: one for each account if the scope names them.
    /// Querying each account separately keeps members of other accounts out of what is read, not
    /// only out of the response.
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

    /// Returns whether a member matches.
    #[must_use]
    pub fn matches(&self, profile: &Profile) -> bool {
        let same = |wanted: Option<&str>, value: &str| wanted.is_none_or(|wanted| wanted == value);
        same(
            self.account_id.as_ref().map(AccountId::as_str),
            profile.id.account_id.as_str(),
        ) && same(
            self.client_member_id.as_ref().map(ClientMemberId::as_str),
            profile.id.client_member_id.as_str(),
        ) && same(
            self.phone_number.as_ref().map(Phone::as_str),
            profile.phone_number.as_str(),
        )
    }
}

/// A page of members.
#[derive(Debug, Default)]
pub struct Page {
    /// The members, at most as many as requested.
    pub members: Vec<Member>,
    /// Whether there are more.
    pub has_more: bool,
}

/// The table of members.
#[derive(Debug, Clone)]
pub struct Members {
    client: Client,
    table: String,
}

impl FromSetup for Members {
    /// Returns the table that `MEMBERS_TABLE` names.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.dynamodb()?,
            table: setup.required("MEMBERS_TABLE")?.to_owned(),
        })
    }
}

impl Members {
    /// Adds a member. Returns `false` and changes nothing if it exists.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
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

    /// Replaces `existing` by `changed`. Returns `false` and changes nothing if the stored member is
    /// no longer `existing`.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn replace(&self, existing: &Member, changed: &Member) -> Result<bool, StoreError> {
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(changed)))
            .condition_expression(UNCHANGED)
            .set_expression_attribute_values(Some(version(existing)))
            .send()
            .await;
        Ok(if_condition_held("PutItem changing a member", result)?.is_some())
    }

    /// Removes `existing`. Returns `false` and changes nothing if the stored member is no longer
    /// `existing`.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn delete(&self, existing: &Member) -> Result<bool, StoreError> {
        let result = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key_of(&existing.profile.id)))
            .condition_expression(UNCHANGED)
            .set_expression_attribute_values(Some(version(existing)))
            .send()
            .await;
        Ok(if_condition_held("DeleteItem of a member", result)?.is_some())
    }

    /// Returns the member of an id.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
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

    /// Returns matching members within the scope, after the position of an earlier page. It uses the
    /// cheapest read: the primary key, an index, one account's partition, or the whole table.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
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
                // Earlier pages have covered this account.
                (Some(account), Some(after)) if *account < after.account_id => continue,
                (Some(account), Some(after)) if *account > after.account_id => None,
                (_, after) => after,
            };
            // One member more than requested shows whether there is a next page.
            self.collect(&part, limit + 1, after, &mut members).await?;
            if members.len() > limit {
                break;
            }
        }
        let has_more = members.len() > limit;
        members.truncate(limit);
        Ok(Page { members, has_more })
    }

    /// Adds matching members to `members`, until it has `max` or there are no more.
    async fn collect(
        &self,
        filter: &Filter,
        max: usize,
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
        while members.len() < max {
            let wanted = max - members.len();
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

    /// Returns the matching items of one request, and the position to continue from.
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
                .expression_attribute_values(":p", text(phone.as_str()));
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

/// The values that [`UNCHANGED`] compares with.
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

/// Returns the exclusive start key, in the order of the table or index that serves the filter.
fn start_key(filter: &Filter, after: &MemberId) -> Item {
    let mut key = key_of(after);
    if let Some(phone) = &filter.phone_number {
        key.insert("phone_number".to_owned(), text(phone.as_str()));
    }
    key
}
