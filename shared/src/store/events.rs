//! Events for other systems: one at the end of each batch and export, sent to an EventBridge bus.
//!
//! An event is sent after the end is stored, and again until that is confirmed: at least once. A consumer
//! recognises a repeated one by the id in it. It contains ids, states and counters, and no personal data.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde::Serialize;
use serde_json::{Value, json};

use super::StoreError;
use crate::batch::Batch;
use crate::export::Export;
use crate::setup::{FromSetup, Setup, SetupError};
use crate::time::Timestamp;

const OPERATION: &str = "PutEvents";

/// The event bus.
#[derive(Debug, Clone)]
pub struct Events {
    client: Client,
    bus: String,
    /// The name of the stack: several stacks may share a bus.
    stack: String,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    source: &'static str,
    kind: &'static str,
    at: Timestamp,
    detail: Value,
}

impl FromSetup for Events {
    /// Returns the bus that `EVENT_BUS` names.
    fn from_setup(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            client: setup.eventbridge()?,
            bus: setup.required("EVENT_BUS")?.to_owned(),
            stack: setup.required("STACK_NAME")?.to_owned(),
        })
    }
}

impl Event {
    /// Returns the event of a batch that has ended.
    #[must_use]
    pub fn batch_ended(batch: &Batch) -> Self {
        let at = &batch.checkpoint;
        Self::new(
            "mpulse.batch",
            "Batch Ended",
            batch.finished_at.unwrap_or(batch.updated_at),
            json!({
                "batch_id": batch.batch_id,
                "status": batch.status,
                "mode": batch.mode,
                "dry_run": batch.dry_run,
                "account_id": batch.account_id,
                "parent_batch_id": batch.parent_batch_id,
                "created_by": batch.created_by,
                "created_at": batch.created_at,
                "finished_at": batch.finished_at,
                "attempts": batch.attempts,
                "rows": at.rows,
                // The message may quote the file.
                "problem_code": batch.problem.as_ref().map(|problem| &problem.code),
                "has_rejects": batch.has_report,
                "has_changes": batch.has_changes,
            }),
        )
    }

    /// Returns the event of an export that has ended.
    #[must_use]
    pub fn export_ended(export: &Export) -> Self {
        Self::new(
            "mpulse.export",
            "Export Ended",
            export.finished_at.unwrap_or(export.updated_at),
            json!({
                "export_id": export.export_id,
                "status": export.status,
                "account_id": export.account_id,
                "format": export.format,
                "created_by": export.created_by,
                "created_at": export.created_at,
                "finished_at": export.finished_at,
                "attempts": export.attempts,
                "rows": export.checkpoint.rows,
                "bytes": export.checkpoint.bytes,
                "problem_code": export.problem.as_ref().map(|problem| &problem.code),
            }),
        )
    }

    /// Creates an event; `detail` is a JSON object.
    fn new(source: &'static str, kind: &'static str, at: Timestamp, detail: Value) -> Self {
        Self {
            source,
            kind,
            at,
            detail,
        }
    }
}

impl Events {
    /// Sends an event. It may arrive twice.
    ///
    /// # Errors
    /// Returns an error if the bus does not confirm it.
    pub async fn send(&self, event: Event) -> Result<(), StoreError> {
        #[derive(Serialize)]
        struct Detail<'a> {
            stack: &'a str,
            #[serde(flatten)]
            detail: &'a Value,
        }
        let detail = serde_json::to_string(&Detail {
            stack: &self.stack,
            detail: &event.detail,
        })
        .map_err(|error| StoreError::unreadable(OPERATION, error))?;
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(event.source)
            .detail_type(event.kind)
            .time(DateTime::from_millis(event.at.millis()))
            .detail(detail)
            .build();
        let answer = self
            .client
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| StoreError::sdk(OPERATION, error))?;
        // A response of 200 may contain an entry that was not accepted.
        let refused = answer.entries().iter().find_map(|entry| {
            let code = entry.error_code()?;
            Some(format!(
                "{code}: {}",
                entry.error_message().unwrap_or_default()
            ))
        });
        match refused {
            None => Ok(()),
            Some(reason) => Err(StoreError::unreadable(OPERATION, reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchProblem, BatchRequest, Status};
    use crate::scope::Scope;

    #[test]
    fn the_event_of_a_batch_has_its_counters_and_no_text_of_its_file() {
        let now = Timestamp::from_millis(1000);
        let request = BatchRequest {
            file_name: Some("roster of Zoë.csv".into()),
            ..BatchRequest::default()
        };
        let mut batch = Batch::new(request, "key:a".into(), Scope::ALL, now);
        batch.status = Status::Failed;
        batch.finished_at = Some(now.plus_millis(500));
        batch.checkpoint.rows.rejected = 3;
        batch.problem = Some(BatchProblem {
            code: "header_missing".into(),
            message: "The first row is Zoë;Brien.".into(),
        });
        let event = Event::batch_ended(&batch);
        assert_eq!(event.at.millis(), 1500);
        assert_eq!(event.detail["batch_id"], json!(batch.batch_id));
        assert_eq!(event.detail["status"], "failed");
        assert_eq!(event.detail["rows"]["rejected"], 3);
        assert_eq!(event.detail["problem_code"], "header_missing");
        assert!(!event.detail.to_string().contains("Zoë"));
    }
}
