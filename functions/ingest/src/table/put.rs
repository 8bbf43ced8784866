//! Writing without a condition: BatchWriteItem, for batches that overwrite.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{PutRequest, ReturnConsumedCapacity, WriteRequest};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::members::to_item;

use super::{RunTable, WRITES, change, write_units};
use crate::compare::Changes;
use crate::error::RunError;

const OPERATION: &str = "BatchWriteItem of members";

impl RunTable {
    /// Writes members, each in whole, whatever stands there.
    ///
    /// # Errors
    /// Where the run may not or can't go on. Some may have been written then.
    pub async fn put(&self, changes: &Arc<Changes>) -> Result<(), RunError> {
        change::in_parts(changes, WRITES, |part| {
            self.clone().put_part(Arc::clone(changes), part)
        })
        .await?;
        Ok(())
    }

    async fn put_part(self, changes: Arc<Changes>, part: Range<usize>) -> Result<(), RunError> {
        let name = &*self.table.name;
        let mut writes = Vec::with_capacity(part.len());
        for change in &changes.all()[part] {
            let put = PutRequest::builder()
                .set_item(Some(to_item(&change.member)))
                .build()
                .map_err(|error| StoreError::unreadable(OPERATION, error))?;
            writes.push(WriteRequest::builder().put_request(put).build());
        }
        let mut retry = 0;
        loop {
            let expected = write_units(writes.len());
            let permit = self.limiter.writing(expected).await;
            self.guard.check()?;
            let result = self
                .table
                .client
                .batch_write_item()
                .set_request_items(Some(HashMap::from([(name.to_owned(), writes.clone())])))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .customize()
                .interceptor(self.guard.clone())
                .send()
                .await;
            match result {
                Ok(answer) => {
                    self.spend_writes(answer.consumed_capacity(), &permit);
                    let before = writes.len();
                    let left = answer
                        .unprocessed_items
                        .and_then(|mut all| all.remove(name));
                    let Some(left) = left.filter(|left| !left.is_empty()) else {
                        permit.taken();
                        return Ok(());
                    };
                    permit.refused();
                    writes = left;
                    if writes.len() < before {
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
}
