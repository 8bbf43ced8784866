//! Conditional writes: `BatchExecuteStatement`, each statement with its own condition. A new member
//! is inserted, which fails if one has appeared; a member that differs is updated if it still is
//! what the row was compared with. So no write of another author between reading and writing is
//! lost: if a condition fails, the member is read again and the row is compared again. A write
//! whose response was lost fails its condition in the same way, and is then found unchanged.
//!

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum as Code, BatchStatementRequest,
    BatchStatementResponse, ReturnConsumedCapacity,
};
use mpulse_shared::member::{Member, MemberId};
use mpulse_shared::run::{Point, RunError};
use mpulse_shared::store::StoreError;
use tokio::task::JoinSet;

use super::{RunTable, WRITES, joined, write_units};
use crate::compare::{Changes, Next, WriteContext};

const OPERATION: &str = "BatchExecuteStatement of members";

/// The texts of the statements; values are parameters.
#[derive(Debug)]
pub struct Statements {
    insert: String,
    update: String,
    delete: String,
}

impl Statements {
    /// Creates the statements for a table.
    pub fn of(table: &str) -> Self {
        Self {
            insert: format!(
                "INSERT INTO \"{table}\" VALUE {{'account_id': ?, 'client_member_id': ?, \
                 'first_name': ?, 'last_name': ?, 'phone_number': ?, 'created_at': ?, \
                 'updated_at': ?, 'created_by': ?, 'updated_by': ?}}"
            ),
            update: format!(
                "UPDATE \"{table}\" SET first_name = ? SET last_name = ? SET phone_number = ? \
                 SET updated_at = ? SET updated_by = ? WHERE account_id = ? \
                 AND client_member_id = ? AND first_name = ? AND last_name = ? \
                 AND phone_number = ? AND updated_at = ? AND updated_by = ?"
            ),
            delete: format!(
                "DELETE FROM \"{table}\" WHERE account_id = ? AND client_member_id = ? \
                 AND first_name = ? AND last_name = ? AND phone_number = ? AND updated_at = ? \
                 AND updated_by = ?"
            ),
        }
    }

    /// The statement for a member that does not exist.
    fn insert(
        &self,
        member: &Member,
        context: &WriteContext,
    ) -> Result<BatchStatementRequest, RunError> {
        let profile = &member.profile;
        let created_at = if member.created_at == context.at {
            text(context.at_text())
        } else {
            AttributeValue::S(member.created_at.to_string())
        };
        request(
            &self.insert,
            vec![
                text(profile.id.account_id.as_str()),
                text(profile.id.client_member_id.as_str()),
                text(&profile.first_name),
                text(&profile.last_name),
                text(profile.phone_number.as_str()),
                created_at,
                text(context.at_text()),
                text(member.created_by.as_str()),
                text(context.by.as_str()),
            ],
        )
    }

    /// The statement for a member that is changed if it still equals `over`.
    fn update(
        &self,
        next: &Member,
        context: &WriteContext,
        over: &Member,
    ) -> Result<BatchStatementRequest, RunError> {
        let next = &next.profile;
        let mut parameters = vec![
            text(&next.first_name),
            text(&next.last_name),
            text(next.phone_number.as_str()),
            text(context.at_text()),
            text(context.by.as_str()),
        ];
        parameters.extend(is_still(over));
        request(&self.update, parameters)
    }

    /// The statement that removes a member if it still equals `over`.
    fn delete(&self, over: &Member) -> Result<BatchStatementRequest, RunError> {
        request(&self.delete, is_still(over).into())
    }
}

/// Returns the parameters of the condition that a member still is this one.
fn is_still(member: &Member) -> [AttributeValue; 7] {
    let profile = &member.profile;
    [
        text(profile.id.account_id.as_str()),
        text(profile.id.client_member_id.as_str()),
        text(&profile.first_name),
        text(&profile.last_name),
        text(profile.phone_number.as_str()),
        AttributeValue::S(member.updated_at.to_string()),
        text(member.updated_by.as_str()),
    ]
}

fn request(
    statement: &str,
    parameters: Vec<AttributeValue>,
) -> Result<BatchStatementRequest, RunError> {
    let request = BatchStatementRequest::builder()
        .statement(statement)
        .set_parameters(Some(parameters))
        .build()
        .map_err(|error| StoreError::unreadable(OPERATION, error))?;
    Ok(request)
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// A change in flight: its index, and the member that it replaces now.
struct Step {
    place: usize,
    over: Option<Member>,
}

/// The result of a statement.
enum Fate {
    Written,
    /// Throttled.
    Refused,
    /// Failed temporarily; a retry may succeed.
    Again,
    /// The condition failed: the member is not the one that the row was compared with.
    Met,
}

impl RunTable {
    /// Writes changes, each with its condition. Returns the members that were written by others in
    /// the meantime and stay.
    ///
    /// # Errors
    /// Returns an error if the run must stop. Some changes may have been written then.
    pub async fn change(
        &self,
        changes: &Arc<Changes>,
        context: &WriteContext,
    ) -> Result<Vec<Member>, RunError> {
        let parts = in_parts(changes, WRITES, |part| {
            self.clone()
                .change_part(Arc::clone(changes), part, context.clone())
        });
        Ok(parts.await?.into_iter().flatten().collect())
    }

    async fn change_part(
        self,
        changes: Arc<Changes>,
        part: Range<usize>,
        context: WriteContext,
    ) -> Result<Vec<Member>, RunError> {
        let mut existing = Vec::new();
        let mut steps: Vec<Step> = part
            .map(|place| Step {
                place,
                over: changes.all()[place].over.clone(),
            })
            .collect();
        let mut retry = 0;
        while !steps.is_empty() {
            let sent = steps.len();
            let (left, met) = self.send(&changes, steps, &context).await?;
            let wait = !left.is_empty();
            if left.len() < sent {
                retry = 0;
            }
            steps = left;
            if !met.is_empty() {
                let again = self.compare_again(&changes, met, &context, &mut existing);
                steps.extend(again.await?);
            }
            if wait {
                retry += 1;
                self.back_off(retry).await;
            }
        }
        Ok(existing)
    }

    /// Sends statements once. Returns those to send again, and those whose condition failed.
    async fn send(
        &self,
        changes: &Changes,
        steps: Vec<Step>,
        context: &WriteContext,
    ) -> Result<(Vec<Step>, Vec<Step>), RunError> {
        let mut statements = Vec::with_capacity(steps.len());
        for step in &steps {
            let all = &self.table.statements;
            statements.push(match (&changes.all()[step.place].next, &step.over) {
                (Next::Member(member), None) => all.insert(member, context)?,
                (Next::Member(member), Some(over)) => all.update(member, context, over)?,
                (Next::Removed(_), Some(over)) => all.delete(over)?,
                (Next::Removed(_), None) => {
                    let reason = "a member that does not exist is to be removed";
                    return Err(StoreError::unreadable(OPERATION, reason).into());
                }
            });
        }
        let permit = self.limiter.writing(write_units(steps.len())).await;
        self.guard.reached(Point::Writing).await;
        self.guard.check()?;
        let result = self
            .table
            .client
            .batch_execute_statement()
            .set_statements(Some(statements))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize()
            .interceptor(self.guard.clone())
            .send()
            .await;
        self.guard.reached(Point::Written).await;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                self.again_or_fail(StoreError::sdk(OPERATION, error), &permit)?;
                return Ok((steps, Vec::new()));
            }
        };
        self.spend_writes(answer.consumed_capacity(), &permit);
        let responses = answer.responses();
        if responses.len() != steps.len() {
            let reason = format!(
                "{} responses to {} statements",
                responses.len(),
                steps.len()
            );
            return Err(StoreError::unreadable(OPERATION, reason).into());
        }
        let (mut again, mut met, mut refused) = (Vec::new(), Vec::new(), false);
        for (step, response) in steps.into_iter().zip(responses) {
            match fate(response)? {
                Fate::Written => {}
                Fate::Again => again.push(step),
                Fate::Met => met.push(step),
                Fate::Refused => {
                    refused = true;
                    again.push(step);
                }
            }
        }
        if refused {
            self.slow_down(&permit);
        } else {
            permit.taken();
        }
        Ok((again, met))
    }

    /// Reads members whose condition failed, and compares the changes with them again. Returns the
    /// changes still to be written; members that stay go to `existing`.
    async fn compare_again(
        &self,
        changes: &Changes,
        met: Vec<Step>,
        context: &WriteContext,
        existing: &mut Vec<Member>,
    ) -> Result<Vec<Step>, RunError> {
        let ids: Vec<&MemberId> = met
            .iter()
            .map(|step| changes.all()[step.place].next.id())
            .collect();
        let mut found = self.fetch(&ids).await?;
        let mut steps = Vec::new();
        for step in met {
            let wanted = &changes.all()[step.place];
            let over = found.remove(wanted.next.id());
            if context.is_due(wanted, over.as_ref()) {
                let place = step.place;
                steps.push(Step { place, over });
            } else {
                existing.extend(over);
            }
        }
        Ok(steps)
    }
}

/// Returns the result of a statement.
fn fate(response: &BatchStatementResponse) -> Result<Fate, RunError> {
    let Some(error) = response.error() else {
        return Ok(Fate::Written);
    };
    Ok(match error.code() {
        Some(Code::ConditionalCheckFailed | Code::DuplicateItem) => Fate::Met,
        Some(
            Code::ThrottlingError
            | Code::ProvisionedThroughputExceeded
            | Code::RequestLimitExceeded,
        ) => Fate::Refused,
        Some(Code::InternalServerError | Code::TransactionConflict) => Fate::Again,
        // The message is not logged: it may contain the row.
        code => {
            let reason = code.map_or("without a code", Code::as_str).to_owned();
            return Err(StoreError::unreadable(OPERATION, reason).into());
        }
    })
}

/// Processes changes in concurrent chunks. When this returns, nothing is in flight, also after a
/// failure.
pub async fn in_parts<T: Send + 'static, F>(
    changes: &Changes,
    size: usize,
    work: impl Fn(Range<usize>) -> F,
) -> Result<Vec<T>, RunError>
where
    F: Future<Output = Result<T, RunError>> + Send + 'static,
{
    let count = changes.all().len();
    let mut tasks = JoinSet::new();
    for from in (0..count).step_by(size) {
        tasks.spawn(work(from..count.min(from + size)));
    }
    let (mut done, mut failure) = (Vec::new(), None);
    while let Some(result) = tasks.join_next().await {
        match joined(result) {
            Ok(result) => done.push(result),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(done), Err)
}
