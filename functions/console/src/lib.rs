//! console.

use mpulse_shared::http::Service;
use mpulse_shared::setup::{Setup, SetupError};

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(_setup: &Setup) -> Result<Service, SetupError> {
    Ok(Service::new(tower::service_fn(|_| async {
        Ok(lambda_http::Response::new(lambda_http::Body::from("{}")))
    })))
}
