//! Writing without a condition: BatchWriteItem, for batches that overwrite.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{PutRequest, ReturnConsumedCapacity, WriteRequest};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::members::to_new_item;

use super::{RunTable, WRITES, change, write_units};
use crate::compare::{Change, Changes, Stamp};
use crate::error::RunError;

const OPERATION: &str = "BatchWriteItem of members";

impl RunTable {
    /// Writes members, each in whole, whatever stands there.
    ///
    /// # Errors
    /// Where the run may not or can't go on. Some may have been written then.
    pub async fn put(&self, changes: &Arc<Changes>, stamp: &Stamp) -> Result<(), RunError> {
        change::in_parts(changes, WRITES, |part| {
            self.clone()
                .put_part(Arc::clone(changes), part, stamp.clone())
        })
        .await?;
        Ok(())
    }

    async fn put_part(
        self,
        changes: Arc<Changes>,
        part: Range<usize>,
        stamp: Stamp,
    ) -> Result<(), RunError> {
        let name = &*self.table.name;
        let changes = &changes.all()[part];
        // What was handed back: all that is to be sent again.
        let mut left: Option<Vec<WriteRequest>> = None;
        let mut retry = 0;
        loop {
            let count = left.as_ref().map_or(changes.len(), Vec::len);
            let permit = self.limiter.writing(write_units(count)).await;
            self.guard.check()?;
            let writes = match &left {
                Some(left) => left.clone(),
                None => puts(changes, &stamp)?,
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

/// Requests to write members as a batch that doesn't look makes them: new.
fn puts(changes: &[Change], stamp: &Stamp) -> Result<Vec<WriteRequest>, RunError> {
    let mut writes = Vec::with_capacity(changes.len());
    for change in changes {
        let put = PutRequest::builder()
            .set_item(Some(to_new_item(
                &change.member.profile,
                stamp.at_text(),
                &stamp.by,
            )))
            .build()
            .map_err(|error| StoreError::unreadable(OPERATION, error))?;
        writes.push(WriteRequest::builder().put_request(put).build());
    }
    Ok(writes)
}
