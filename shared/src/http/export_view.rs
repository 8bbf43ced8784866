//! The JSON view of an export: its record without the fields that only runs use, and with derived values. Also finds the
//! export that a request names.

use lambda_http::{Request, RequestExt};
use serde::Serialize;

use crate::batch::BatchProblem;
use crate::export::{Export, ExportId, Format, Status};
use crate::member::AccountId;
use crate::problem::Problem;
use crate::scope::Scope;
use crate::store::StoreError;
use crate::store::exports::Exports;
use crate::store::files::Files;
use crate::time::Timestamp;

/// Returns the export that the path names.
///
/// # Errors
/// Returns 404 if there is none, or if its account is outside the scope.
pub async fn requested(
    exports: &Exports,
    request: &Request,
    scope: &Scope,
) -> Result<Export, Problem> {
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let missing = || Problem::not_found(format!("The export {id} does not exist."));
    let key: ExportId = id.parse().map_err(|_| missing())?;
    let export = exports.get(&key).await?;
    export
        .filter(|export| scope.covers(&export.account_id))
        .ok_or_else(missing)
}

/// Returns the URL of an export.
#[must_use]
pub fn url(base: &str, id: &ExportId) -> String {
    format!("{base}/api/exports/{id}")
}

/// The JSON view of an export.
#[derive(Debug, Serialize)]
pub struct ExportView<'a> {
    export_id: &'a ExportId,
    status: Status,
    account_id: &'a AccountId,
    format: Format,
    created_by: &'a str,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    updated_at: Timestamp,
    finished_at: Option<Timestamp>,
    attempts: u32,
    rows: u64,
    bytes: u64,
    problem: Option<&'a BatchProblem>,
    file_name: String,
    file_expires_at: Option<Timestamp>,
    links: Links,
}

#[derive(Debug, Serialize)]
struct Links {
    #[serde(rename = "self")]
    this: String,
    /// A signed URL; `None` if there is no file (any more).
    file: Option<String>,
}

impl<'a> ExportView<'a> {
    /// Creates the view of an export, with a new URL of its file. `base` is the API's URL.
    ///
    /// # Errors
    /// Returns an error if the URL cannot be signed.
    pub async fn new(
        export: &'a Export,
        files: &Files,
        base: &str,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let file_expires_at = export.file_expires_at(now);
        let file = match file_expires_at {
            Some(_) => Some(files.export_url(export).await?),
            None => None,
        };
        Ok(Self {
            export_id: &export.export_id,
            status: export.status_at(now),
            account_id: &export.account_id,
            format: export.format,
            created_by: &export.created_by,
            created_at: export.created_at,
            started_at: export.started_at,
            updated_at: export.updated_at,
            finished_at: export.finished_at,
            attempts: export.attempts,
            rows: export.checkpoint.rows,
            bytes: export.checkpoint.bytes,
            problem: export.problem.as_ref(),
            file_name: export.file_name(),
            file_expires_at,
            links: Links {
                this: url(base, &export.export_id),
                file,
            },
        })
    }
}
