//! `GET /api/members/batch/template.csv`: a CSV file with the header and one example row.

use lambda_http::http::StatusCode;
use lambda_http::http::header::CONTENT_DISPOSITION;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::{self, Service};
use mpulse_shared::key::Role;
use mpulse_shared::member::Field;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};

/// A member as a row, in the order of [`Field::ALL`].
const EXAMPLE: &str = "4,5622780,Zoë,O'Brien,(714) 555-0123";

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Reader, template)
}

async fn template((): (), _: Caller, _: Request) -> Result<Response<Body>, Problem> {
    // Without the mark, spreadsheets take the file for another charset. There are two, because `lambda_http` removes one.
    let body = format!(
        "\u{FEFF}\u{FEFF}{}\r\n{EXAMPLE}\r\n",
        Field::ALL.map(Field::name).join(",")
    );
    let mut response = http::with_body(StatusCode::OK, "text/csv; charset=utf-8", body);
    http::set_header(
        &mut response,
        CONTENT_DISPOSITION,
        "attachment; filename=\"template.csv\"",
    )?;
    Ok(response)
}
