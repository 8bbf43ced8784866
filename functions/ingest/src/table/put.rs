//! Unconditional writes: BatchWriteItem, for mode `overwrite`.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{PutRequest, ReturnConsumedCapacity, WriteRequest};
use mpulse_shared::run::{Point, RunError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::member_item::to_new_item;

use super::{RunTable, WRITES, change, write_units};
use crate::compare::{Change, Changes, WriteContext};

const OPERATION: &str = "BatchWriteItem of members";

impl RunTable {
    /// Writes whole members, whatever exists.
    ///
    /// # Errors
    /// Returns an error if the run must stop. Some members may have been written then.
    pub async fn put(
        &self,
        changes: &Arc<Changes>,
        context: &WriteContext,
    ) -> Result<(), RunError> {
        change::in_parts(changes, WRITES, |part| {
            self.clone()
                .put_part(Arc::clone(changes), part, context.clone())
        })
        .await?;
        Ok(())
    }

    async fn put_part(
        self,
        changes: Arc<Changes>,
        part: Range<usize>,
        context: WriteContext,
    ) -> Result<(), RunError> {
        let name = &*self.table.name;
        let changes = &changes.all()[part];
        // The unprocessed items: all that is to be sent again.
        let mut left: Option<Vec<WriteRequest>> = None;
        let mut retry = 0;
        loop {
            let count = left.as_ref().map_or(changes.len(), Vec::len);
            let permit = self.limiter.writing(write_units(count)).await;
            self.guard.reached(Point::Writing).await;
            self.guard.check()?;
            let writes = match &left {
                Some(left) => left.clone(),
                None => puts(changes, &context)?,
            };
            let result = self
                .table
                .client
                .batch_write_item()
                .request_items(name, writes)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .customize()
                .interceptor(self.guard.clone())
                .send()
                .await;
            self.guard.reached(Point::Written).await;
            match result {
                Ok(answer) => {
                    self.spend_writes(answer.consumed_capacity(), &permit);
                    let back = answer
                        .unprocessed_items
                        .and_then(|mut all| all.remove(name));
                    let Some(back) = back.filter(|back| !back.is_empty()) else {
                        permit.taken();
                        return Ok(());
                    };
                    self.slow_down(&permit);
                    if back.len() < count {
                        retry = 0;
                    }
                    left = Some(back);
                }
                Err(error) => self.again_or_fail(StoreError::sdk(OPERATION, error), &permit)?,
            }
            drop(permit);
            retry += 1;
            self.back_off(retry).await;
        }
    }
}

/// Creates write requests for members as new members, without regard to existing ones.
fn puts(changes: &[Change], context: &WriteContext) -> Result<Vec<WriteRequest>, RunError> {
    let mut writes = Vec::with_capacity(changes.len());
    for member in changes.iter().filter_map(|change| change.next.member()) {
        let put = PutRequest::builder()
            .set_item(Some(to_new_item(
                &member.profile,
                context.at_text(),
                &context.by,
            )))
            .build()
            .map_err(|error| StoreError::unreadable(OPERATION, error))?;
        writes.push(WriteRequest::builder().put_request(put).build());
    }
    Ok(writes)
}
