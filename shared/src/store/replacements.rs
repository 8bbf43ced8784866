//! The batches table: the time of each account's last replacement. A row of an older file is superseded, so that a late file
//! does not bring removed members back.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use tokio::task::JoinSet;

use super::batches::{Batches, MAX_PAGE};
use super::item::text;
use super::update::Set;
use super::{StoreError, if_condition_held};
use crate::member::AccountId;
use crate::time::Timestamp;

/// The prefix of the keys of these items. No batch id contains a colon.
const PREFIX: &str = "replaced:";

const READ: &str = "BatchGetItem of replacements";

fn key(account: &AccountId) -> AttributeValue {
    text(&format!("{PREFIX}{account}"))
}

impl Batches {
    /// Returns the time of the last replacement of each account that was ever replaced. The time is that of the file's
    /// upload.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn replaced_at(
        &self,
        accounts: &[AccountId],
    ) -> Result<HashMap<AccountId, Timestamp>, StoreError> {
        let mut requests = JoinSet::new();
        for some in accounts.chunks(MAX_PAGE) {
            requests.spawn(self.clone().replaced_at_some(some.to_vec()));
        }
        let mut found = HashMap::new();
        while let Some(result) = requests.join_next().await {
            found.extend(result.map_err(|error| StoreError::unreadable(READ, error))??);
        }
        Ok(found)
    }

    async fn replaced_at_some(
        self,
        accounts: Vec<AccountId>,
    ) -> Result<Vec<(AccountId, Timestamp)>, StoreError> {
        let keys = accounts.iter().map(key).collect();
        let mut found = Vec::with_capacity(accounts.len());
        for item in self.listing().items(READ, keys, true).await? {
            let field = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
            let account = field("batch_id").and_then(|key| key.strip_prefix(PREFIX));
            let at = field("replaced_at").and_then(|at| at.parse().ok());
            if let (Some(account), Some(at)) = (account, at) {
                found.push((AccountId::from_stored(account.to_owned()), at));
            }
        }
        Ok(found)
    }

    /// Records that an account is replaced by a file of this time, unless a newer one has replaced it. Returns `false`
    /// then.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn set_replaced_at(
        &self,
        account: &AccountId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "UpdateItem of a replacement";
        let mut set = Set::new(OPERATION);
        set.value("replaced_at", "replaced_at", &at)?;
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("batch_id", key(account));
        let result = set
            .apply(update)
            .condition_expression(
                "attribute_not_exists(replaced_at) OR replaced_at <= :replaced_at",
            )
            .send()
            .await;
        Ok(if_condition_held(OPERATION, result)?.is_some())
    }
}
