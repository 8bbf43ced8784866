//! `GET /api/members/batch/template.csv`: a header row and one example, to fill in.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::http::header::CONTENT_DISPOSITION;
use mpulse_shared::access::{Access, Role};
use mpulse_shared::http::{self, Service};
use mpulse_shared::member::Field;
use mpulse_shared::setup::{Setup, SetupError};

/// A member as a row, in the order of [`Field::ALL`].
const EXAMPLE: &str = "4,5622780,Zoë,O'Brien,(714) 555-0123";

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    let access = Arc::new(Access::from_setup(setup)?);
    Ok(http::service(move |request| {
        let access = Arc::clone(&access);
        async move {
            access.require(Role::Reader, &request).await?;
            let body = format!("{}\r\n{EXAMPLE}\r\n", Field::ALL.map(Field::name).join(","));
            let mut response = http::with_body(StatusCode::OK, "text/csv; charset=utf-8", body);
            http::set_header(
                &mut response,
                CONTENT_DISPOSITION,
                "attachment; filename=\"template.csv\"",
            )?;
            Ok(response)
        }
    }))
}
