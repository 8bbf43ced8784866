//! `GET /api/health`: answers 200 while the API is up. It needs no key and asks nothing
//! of the store, so that it tells of the API alone.

use lambda_http::http::StatusCode;
use mpulse_shared::http::{self, Service};
use mpulse_shared::setup::{Setup, SetupError};
use serde_json::json;

/// The function as a service.
///
/// # Errors
/// Never: it has no settings.
pub fn service(_setup: &Setup) -> Result<Service, SetupError> {
    Ok(http::service(|_request| async {
        http::json(StatusCode::OK, &json!({"status": "ok"}))
    }))
}
