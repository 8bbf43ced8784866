//! The members of an account, page by page, in the order of their client member ids.
//!
//! The reads are strongly consistent: an export that is created after a write has been confirmed contains it.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use mpulse_shared::member::{AccountId, ClientMemberId, MemberId, Profile};
use mpulse_shared::run::{Guard, Point, RunError, backoff};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::member_item::{key_of, profile_of};

/// The members table.
#[derive(Debug, Clone)]
pub struct MembersTable {
    client: Client,
    name: String,
}

impl MembersTable {
    /// Returns the table that `MEMBERS_TABLE` names. The SDK's own retries are off: they give up while a run still has time.
    ///
    /// # Errors
    /// Returns an error if a setting is missing.
    pub fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.dynamodb_without_retries()?,
            name: setup.required("MEMBERS_TABLE")?.to_owned(),
        })
    }
}

/// The members of one account, for one run.
#[derive(Debug)]
pub struct Account {
    table: MembersTable,
    id: AccountId,
    guard: Guard,
    first_wait: Duration,
}

/// A page of members.
#[derive(Debug)]
pub struct Page {
    /// The members, with the fields that clients set.
    pub members: Vec<Profile>,
    /// The last client member id, if there are more.
    pub last: Option<String>,
}

impl Account {
    /// Returns the account. The first wait before a request is repeated is at most `first_wait`.
    pub fn new(table: MembersTable, id: AccountId, guard: Guard, first_wait: Duration) -> Self {
        Self {
            table,
            id,
            guard,
            first_wait,
        }
    }

    /// Returns the members after a client member id: as many as one request returns, which reads 1 MB. A throttled request
    /// is repeated as long as the run has time.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn page(&self, after: Option<String>) -> Result<Page, RunError> {
        const OPERATION: &str = "Query of an account";
        let start = after.map(|after| {
            key_of(&MemberId {
                account_id: self.id.clone(),
                client_member_id: ClientMemberId::from_stored(after),
            })
        });
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("account_id = :a")
            .expression_attribute_values(":a", AttributeValue::S(self.id.as_str().to_owned()))
            .projection_expression(
                "account_id, client_member_id, first_name, last_name, phone_number",
            )
            .consistent_read(true)
            .set_exclusive_start_key(start);
        let mut retry = 0;
        loop {
            self.guard.check()?;
            let error = match query.clone().send().await {
                Ok(answer) => {
                    let items = answer.items.unwrap_or_default().into_iter();
                    let members: Vec<Profile> = items
                        .map(|mut item| profile_of(&mut item))
                        .collect::<Result<_, _>>()
                        .map_err(|error| StoreError::unreadable(OPERATION, error))?;
                    let last = members
                        .last()
                        .filter(|_| answer.last_evaluated_key.is_some());
                    let last = last.map(|last| last.id.client_member_id.as_str().to_owned());
                    self.guard.reached(Point::Read).await;
                    return Ok(Page { members, last });
                }
                Err(error) => StoreError::sdk(OPERATION, error),
            };
            // If sending is not allowed any more, that is why it failed.
            self.guard.check()?;
            if !error.is_transient() {
                return Err(error.into());
            }
            retry += 1;
            let wait = backoff::wait(self.first_wait, retry).min(self.guard.time_left());
            tokio::time::sleep(wait).await;
        }
    }
}
