//! The table of requests with an `Idempotency-Key`.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use serde_dynamo::{from_item, to_item};

use super::item::{number, text};
use super::{StoreError, if_condition_held};
use crate::idempotency::Record;
use crate::setup::{FromSetup, Setup, SetupError};
use crate::time::Timestamp;

/// The table of records.
#[derive(Debug, Clone)]
pub struct Records {
    client: Client,
    table: String,
}

impl FromSetup for Records {
    /// Returns the table that `IDEMPOTENCY_TABLE` names.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.dynamodb()?,
            table: setup.required("IDEMPOTENCY_TABLE")?.to_owned(),
        })
    }
}

impl Records {
    /// Stores a new record. If there is one of this request that has not expired, returns it and changes nothing.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn create(
        &self,
        record: &Record,
        now: Timestamp,
    ) -> Result<Option<Record>, StoreError> {
        const OPERATION: &str = "PutItem of a request";
        let result = self
            .put(record)?
            .condition_expression("attribute_not_exists(request_hash) OR expires_at <= :now")
            .expression_attribute_values(":now", number(now.seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = result else {
            return Ok(None);
        };
        let existing = error.as_service_error().and_then(|error| match error {
            PutItemError::ConditionalCheckFailedException(failed) => failed.item.clone(),
            _ => None,
        });
        let Some(existing) = existing else {
            return Err(StoreError::sdk(OPERATION, error));
        };
        from_item(existing)
            .map(Some)
            .map_err(|error| StoreError::unreadable(OPERATION, error))
    }

    /// Replaces a record that `owner` holds the lease of and that has no response. Returns `false` and changes nothing if it
    /// is not such a record.
    ///
    /// # Errors
    /// Returns an error if the DynamoDB request fails.
    pub async fn replace(&self, record: &Record, owner: &str) -> Result<bool, StoreError> {
        let result = self
            .put(record)?
            .condition_expression("lease_owner = :owner AND attribute_not_exists(#response)")
            .expression_attribute_names("#response", "response")
            .expression_attribute_values(":owner", text(owner))
            .send()
            .await;
        Ok(if_condition_held("PutItem replacing a request", result)?.is_some())
    }

    fn put(&self, record: &Record) -> Result<PutItemFluentBuilder, StoreError> {
        let item = to_item(record)
            .map_err(|error| StoreError::unreadable("PutItem of a request", error))?;
        Ok(self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item)))
    }
}
