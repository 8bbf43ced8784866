//! `GET /api/members/batch/template.csv`: a CSV file with the header and one example row.

use lambda_http::http::header::CONTENT_DISPOSITION;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::csv;
use mpulse_shared::http::{self, Service};
use mpulse_shared::key::Role;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};

/// A member as a row, in the order of the header.
const EXAMPLE: &str = "4,5622780,Zoë,O'Brien,(714) 555-0123";

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Reader, template)
}

async fn template((): (), _: Caller, _: Request) -> Result<Response<Body>, Problem> {
    let body = format!("{}{EXAMPLE}{}", csv::member_header(), csv::LINE_END);
    let mut response = http::csv(&body);
    http::set_header(
        &mut response,
        CONTENT_DISPOSITION,
        "attachment; filename=\"template.csv\"",
    )?;
    Ok(response)
}
