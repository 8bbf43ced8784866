//! The keys table.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use serde_dynamo::{from_item, to_item};

use super::{StoreError, if_condition_held};
use crate::key::{Key, KeyId};
use crate::setup::{FromSetup, Setup, SetupError};
use crate::time::Timestamp;

/// The table of access keys.
#[derive(Debug, Clone)]
pub struct Keys {
    client: Client,
    table: String,
}

impl FromSetup for Keys {
    /// Returns the table that `KEYS_TABLE` names.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self::new(
            setup.dynamodb()?,
            setup.required("KEYS_TABLE")?.to_owned(),
        ))
    }
}

impl Keys {
    /// Creates the store from a client and a table name.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Returns the key of an id.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn get(&self, id: &KeyId) -> Result<Option<Key>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("key_id", AttributeValue::S(id.as_str().to_owned()))
            .send()
            .await
            .map_err(|error| StoreError::sdk("GetItem of a key", error))?;
        answer
            .item
            .map(from_item)
            .transpose()
            .map_err(|error| StoreError::unreadable("GetItem of a key", error))
    }

    /// Adds a key. Returns `false` and changes nothing if the id exists.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn create(&self, key: &Key) -> Result<bool, StoreError> {
        let result = self
            .put(key)?
            .condition_expression("attribute_not_exists(key_id)")
            .send()
            .await;
        Ok(if_condition_held("PutItem of a key", result)?.is_some())
    }

    /// Adds a key, or replaces the one with the same id.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn replace(&self, key: &Key) -> Result<(), StoreError> {
        self.put(key)?
            .send()
            .await
            .map_err(|error| StoreError::sdk("PutItem of a key", error))?;
        Ok(())
    }

    fn put(&self, key: &Key) -> Result<PutItemFluentBuilder, StoreError> {
        let item =
            to_item(key).map_err(|error| StoreError::unreadable("PutItem of a key", error))?;
        Ok(self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item)))
    }

    /// Returns all keys, in no particular order.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn list(&self) -> Result<Vec<Key>, StoreError> {
        let items = self
            .client
            .scan()
            .table_name(&self.table)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(|error| StoreError::sdk("Scan of keys", error))?;
        items
            .into_iter()
            .map(from_item)
            .collect::<Result<_, _>>()
            .map_err(|error| StoreError::unreadable("Scan of keys", error))
    }

    /// Revokes a key. Revoking it again keeps the time of the first revocation. Returns the revoked
    /// key, or `None` if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn revoke(&self, id: &KeyId, now: Timestamp) -> Result<Option<Key>, StoreError> {
        const OPERATION: &str = "UpdateItem of a key";
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key_id", AttributeValue::S(id.as_str().to_owned()))
            .update_expression("SET revoked_at = if_not_exists(revoked_at, :now)")
            .condition_expression("attribute_exists(key_id)")
            .expression_attribute_values(":now", AttributeValue::S(now.to_string()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        if_condition_held(OPERATION, result)?
            .and_then(|answer| answer.attributes)
            .map(from_item)
            .transpose()
            .map_err(|error| StoreError::unreadable(OPERATION, error))
    }
}
