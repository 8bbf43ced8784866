//! `export`: writes the members of an account into a file in the bucket.
//!
//! An event names an export. A `run` claims its lease and streams the account, page by page, into the pieces of a
//! multipart upload. A checkpoint follows each piece, so the next run continues after the last piece that is stored.

use std::time::Instant;

use mpulse_shared::export::ExportId;
use mpulse_shared::run::{
    self as shared_run, CreatedObject, Guard, Point, RunEnd, RunError, Service, Worker, point,
};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::events::Event;
use mpulse_shared::store::leased::Claim;
use mpulse_shared::time::Timestamp;
use tracing::Instrument;

use resources::Resources;
use run::Run;

pub use tuning::Tuning;

mod account;
mod file;
mod lease;
mod resources;
mod run;
mod tuning;
mod workbook;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    service_tuned(setup, Tuning::default())
}

/// Creates the service with other sizes and limits than the deployed ones.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service_tuned(setup: &Setup, tuning: Tuning) -> Result<Service, SetupError> {
    let setup = &setup.with_retries(shared_run::ATTEMPTS, tuning.first_wait);
    let resources = Resources::from_setup(setup, tuning)?;
    Ok(shared_run::service(Exporter { resources }))
}

/// The function.
struct Exporter {
    resources: Resources,
}

impl Worker for Exporter {
    async fn work(&self, request: &CreatedObject, deadline: Instant) -> Result<RunEnd, RunError> {
        let Some(export_id) = ExportId::from_request_key(&request.object.key) else {
            let key = &request.object.key;
            tracing::warn!(key, "the object starts no export; ignored");
            return Ok(RunEnd::Ended);
        };
        let owner = ulid::Ulid::generate().to_string();
        let taken = Guard::now();
        let claim = self
            .resources
            .exports
            .claim(&export_id, &owner, Timestamp::now())
            .await?;
        match claim {
            Claim::Taken(export) => {
                let (guard, stop_at) = Guard::until(deadline, taken, export_id.as_str());
                guard.reached(Point::Claimed).await;
                let request_id = export.request_id.as_deref().unwrap_or_default();
                let span = tracing::info_span!("run", %export_id, request_id);
                let bucket = request.object.bucket.clone();
                let run = Run::new(&self.resources, *export, bucket, owner, guard, stop_at);
                if run.work().instrument(span).await? == RunEnd::HandBack {
                    point::reached(Point::Released, export_id.as_str()).await;
                    return Ok(RunEnd::HandBack);
                }
                point::reached(Point::Ended, export_id.as_str()).await;
            }
            Claim::Held => {
                tracing::info!(%export_id, "another run holds the lease");
                return Ok(RunEnd::HandBack);
            }
            Claim::Ended => {}
            Claim::Unknown => {
                tracing::warn!(%export_id, "the export does not exist; ignored");
                return Ok(RunEnd::Ended);
            }
        }
        // The end is stored, by this run or an earlier one. If the event is not sent, the next delivery of the message
        // sends it.
        let exports = &self.resources.exports;
        let ended = exports.get(&export_id).await?;
        if let Some(export) = ended.filter(|export| export.status.has_ended()) {
            let event = Event::export_ended(&export);
            self.resources.events.send(event).await?;
            point::reached(Point::EventSent, export_id.as_str()).await;
        }
        self.delete_request(request).await?;
        point::reached(Point::Finished, export_id.as_str()).await;
        Ok(RunEnd::Ended)
    }

    fn count_failed_run(&self) {
        self.resources.count_failed_run();
    }
}

impl Exporter {
    async fn delete_request(&self, request: &CreatedObject) -> Result<(), StoreError> {
        self.resources
            .s3
            .delete_object()
            .bucket(&request.object.bucket)
            .key(&request.object.key)
            .send()
            .await
            .map_err(|error| StoreError::sdk("DeleteObject of a request for an export", error))?;
        Ok(())
    }
}
