//! `POST /api/exports`: creates an export of an account's members. A reader may do this: it reads what a reader may read
//! page by page.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::export::{Export, Format};
use mpulse_shared::http::export_view::{self, ExportView};
use mpulse_shared::http::fields::Fields;
use mpulse_shared::http::{self, Service, body, form, link};
use mpulse_shared::key::Role;
use mpulse_shared::member::{AccountId, Author, FieldError};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::exports::Exports;
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;

/// The supported media type of the body.
const BODY_TYPE: &str = "application/json";

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Reader, create)
}

async fn create(
    (exports, files): (Exports, Files),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let base = link::base(&request);
    let request_id = http::request_id(&request);
    form::check_size(&request)?;
    if !form::is_json(&form::media_type(&request)) {
        return Err(Problem::media_type(form::ACCEPT_POST, BODY_TYPE));
    }
    let request = body::decompressed(request, form::MAX_BYTES)?;
    let fields = form::json_fields(&body::bytes(request.into_body()), &[])?;
    let (account_id, format) = parse(&fields).map_err(Problem::invalid_fields)?;
    caller.require_account(&account_id)?;
    let by = Author::key(caller.key_id.as_str()).as_str().to_owned();
    let mut export = Export::new(account_id, format, by, Timestamp::now());
    export.request_id = request_id;
    // The record is stored first: a run needs it. A crash between the two leaves an export that expires.
    exports.create(&export).await?;
    files.request_export(&export).await?;
    tracing::info!(export_id = %export.export_id, "created an export");
    let view = ExportView::new(&export, &files, &base, export.created_at).await?;
    let location = export_view::url(&base, &export.export_id);
    http::json_at(StatusCode::ACCEPTED, &view, &location)
}

/// Reads the fields of the request.
///
/// # Errors
/// Returns every error found.
fn parse(fields: &Fields) -> Result<(AccountId, Format), Vec<FieldError>> {
    let mut errors = Vec::new();
    let account_id = fields.get("account_id").map_or("", String::as_str);
    let account_id = AccountId::parse(account_id).map_err(|error| errors.push(error));
    let format = match fields.get("format").map(String::as_str) {
        None | Some("csv") => Format::Csv,
        Some("xlsx") => Format::Xlsx,
        Some(_) => {
            errors.push(FieldError::new(
                "format",
                "invalid_format",
                "must be csv or xlsx",
            ));
            Format::default()
        }
    };
    for name in fields.keys() {
        if name != "account_id" && name != "format" {
            errors.push(FieldError::new(
                name,
                "unknown_field",
                "must be one of account_id, format",
            ));
        }
    }
    match account_id {
        Ok(account_id) if errors.is_empty() => Ok((account_id, format)),
        _ => Err(errors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(pairs: &[(&str, &str)]) -> Vec<&'static str> {
        let fields = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        match parse(&fields.collect()) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|error| error.code).collect(),
        }
    }

    #[test]
    fn errors_name_their_field() {
        assert!(codes(&[("account_id", "4")]).is_empty());
        assert!(codes(&[("account_id", "4"), ("format", "xlsx")]).is_empty());
        assert_eq!(codes(&[]), ["required"]);
        assert_eq!(codes(&[("account_id", "4~")]), ["invalid_account_id"]);
        assert_eq!(
            codes(&[("account_id", "4"), ("format", "pdf"), ("from", "1")]),
            ["invalid_format", "unknown_field"]
        );
    }
}
