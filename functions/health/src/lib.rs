//! `GET /api/health`: returns 200 if the API works. It needs no key and does not use the database,
//! so it checks the API alone.

use lambda_http::http::StatusCode;
use mpulse_shared::http::{self, Service};
use mpulse_shared::setup::{Setup, SetupError};
use serde_json::json;

/// Creates the service.
///
/// # Errors
/// Never fails: the function has no settings.
pub fn service(_setup: &Setup) -> Result<Service, SetupError> {
    Ok(http::service(|_request| async {
        http::json(StatusCode::OK, &json!({"status": "ok"}))
    }))
}
