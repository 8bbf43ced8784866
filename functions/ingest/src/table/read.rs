//! Reads members by their keys, and an account's members page by page. All reads are strongly
//! consistent.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};
use mpulse_shared::member::{AccountId, ClientMemberId, Member, MemberId, Profile};
use mpulse_shared::run::RunError;
use mpulse_shared::store::StoreError;
use mpulse_shared::store::item::Item;
use mpulse_shared::store::member_item::{from_item, key_of, profile_of};
use tokio::task::JoinSet;

use super::{RunTable, joined};

/// The maximum number of keys of one BatchGetItem (an AWS limit).
const KEYS: usize = 100;

/// Members by id.
pub type Members = HashMap<MemberId, Member>;

/// A page of an account.
#[derive(Debug)]
pub struct AccountPage {
    /// The account.
    pub account_id: AccountId,
    /// The members on the page.
    pub members: Vec<Profile>,
    /// The last key of the page, if there are more.
    pub last: Option<ClientMemberId>,
}

impl RunTable {
    /// Reads the members that exist among `ids`, which must be unique.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn fetch(&self, ids: &[&MemberId]) -> Result<Members, RunError> {
        let mut requests = JoinSet::new();
        for part in ids.chunks(KEYS) {
            let keys: Vec<Item> = part.iter().map(|id| key_of(id)).collect();
            requests.spawn(self.clone().fetch_part(keys));
        }
        let mut found = Members::with_capacity(ids.len());
        while let Some(result) = requests.join_next().await {
            for item in joined(result)? {
                let member = from_item(item)
                    .map_err(|error| StoreError::unreadable("BatchGetItem of members", error))?;
                found.insert(member.profile.id.clone(), member);
            }
        }
        Ok(found)
    }

    async fn fetch_part(self, mut keys: Vec<Item>) -> Result<Vec<Item>, RunError> {
        const OPERATION: &str = "BatchGetItem of members";
        let name = &*self.table.name;
        let mut found = Vec::with_capacity(keys.len());
        let mut retry = 0;
        loop {
            let permit = self.limiter.reading().await;
            self.guard.check()?;
            let request = KeysAndAttributes::builder()
                .set_keys(Some(keys.clone()))
                .consistent_read(true)
                .build()
                .map_err(|error| StoreError::unreadable(OPERATION, error))?;
            let result = self
                .table
                .client
                .batch_get_item()
                .request_items(name, request)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            match result {
                Ok(answer) => {
                    self.spend_reads(answer.consumed_capacity());
                    let before = keys.len();
                    if let Some(items) = answer.responses.and_then(|mut all| all.remove(name)) {
                        found.extend(items);
                    }
                    let left = answer.unprocessed_keys.and_then(|mut all| all.remove(name));
                    let Some(left) = left.filter(|left| !left.keys.is_empty()) else {
                        permit.taken();
                        return Ok(found);
                    };
                    self.slow_down(&permit);
                    keys = left.keys;
                    if keys.len() < before {
                        retry = 0;
                    }
                }
                Err(error) => self.again_or_fail(StoreError::sdk(OPERATION, error), &permit)?,
            }
            drop(permit);
            retry += 1;
            self.back_off(retry).await;
        }
    }

    /// Returns the next page of an account, of at most `limit` members after `after`.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn page(
        self,
        account_id: AccountId,
        after: Option<ClientMemberId>,
        limit: u32,
    ) -> Result<AccountPage, RunError> {
        const OPERATION: &str = "Query of an account";
        let start = after.map(|after| {
            key_of(&MemberId {
                account_id: account_id.clone(),
                client_member_id: after,
            })
        });
        let query = self
            .table
            .client
            .query()
            .table_name(&*self.table.name)
            .key_condition_expression("account_id = :a")
            .expression_attribute_values(":a", AttributeValue::S(account_id.as_str().to_owned()))
            .projection_expression(
                "account_id, client_member_id, first_name, last_name, phone_number",
            )
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let mut retry = 0;
        loop {
            let permit = self.limiter.reading().await;
            self.guard.check()?;
            match query.clone().send().await {
                Ok(mut answer) => {
                    permit.taken();
                    self.spend_reads(answer.consumed_capacity.as_slice());
                    let unreadable = |error| StoreError::unreadable(OPERATION, error);
                    let mut members = Vec::with_capacity(answer.items().len());
                    for mut item in answer.items.take().unwrap_or_default() {
                        members.push(profile_of(&mut item).map_err(unreadable)?);
                    }
                    let last = match answer.last_evaluated_key {
                        Some(_) => members
                            .last()
                            .map(|profile| profile.id.client_member_id.clone()),
                        None => None,
                    };
                    return Ok(AccountPage {
                        account_id,
                        members,
                        last,
                    });
                }
                Err(error) => self.again_or_fail(StoreError::sdk(OPERATION, error), &permit)?,
            }
            drop(permit);
            retry += 1;
            self.back_off(retry).await;
        }
    }
}
