//! `DELETE /api/accounts/{id}/members`: removes every member of an account, as a batch.
//!
//! The batch has an empty file, and its mode is `erase`. It keeps no report of its changes, because that
//! would contain what is to be erased.

use bytes::Bytes;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::batch::{
    Batch, BatchRequest, Limit, MAX_REMOVED, Mode, Removal, UploadedObject,
};
use mpulse_shared::http::batch_view::{self, BatchView};
use mpulse_shared::http::fields::{self, Fields};
use mpulse_shared::http::form::whole_number;
use mpulse_shared::http::{self, Service, link};
use mpulse_shared::key::Role;
use mpulse_shared::member::{AccountId, Author, FieldError};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::files::Files;
use mpulse_shared::time::Timestamp;

/// The number of members that the caller expects to be removed.
const EXPECTED: &str = "expected_members";

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Admin, erase)
}

async fn erase(
    (batches, files): (Batches, Files),
    caller: Caller,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let parameters = request.path_parameters();
    let id = parameters.first("id").unwrap_or_default();
    let account_id = AccountId::parse(id).map_err(|error| {
        Problem::invalid_fields(vec![FieldError {
            field: "account_id".to_owned(),
            ..error
        }])
    })?;
    caller.require_account(&account_id)?;
    let parameters = fields::query(&request)?;
    let expected = expected(&parameters).map_err(|error| Problem::invalid_fields(vec![error]))?;

    let asked = BatchRequest {
        account_id: Some(account_id),
        mode: Mode::Erase,
        size: Some(0),
        changes: Some(false),
        removal: Some(Removal {
            limit: Limit::Members(expected),
            ..Removal::default()
        }),
        ..BatchRequest::default()
    };
    let author = Author::key(caller.key_id.as_str());
    let mut batch = Batch::new(
        asked,
        author.as_str().to_owned(),
        caller.accounts,
        Timestamp::now(),
    );
    batch.request_id = http::request_id(&request);
    batches.create(&batch).await?;
    // A crash before the file is stored leaves a batch that expires.
    files.put_upload(&batch, Bytes::new()).await?;
    tracing::info!(batch_id = %batch.batch_id, "created a batch");

    let base = link::base(&request);
    let uploaded = Some(UploadedObject { bytes: 0 });
    let view = BatchView::new(&batch, uploaded, &base, batch.created_at);
    let location = batch_view::url(&base, &batch.batch_id);
    http::json_at(StatusCode::ACCEPTED, &view, &location)
}

/// Returns the expected number of members.
fn expected(parameters: &Fields) -> Result<u64, FieldError> {
    const REQUIRED: &str = "is required: the number of members that the account has. If it has another number, no member is removed";
    let number = fields::only(parameters, EXPECTED, REQUIRED)?;
    let number = whole_number(number).filter(|number| *number <= MAX_REMOVED);
    number.ok_or_else(|| {
        let message = format!("must be a whole number, at most {MAX_REMOVED}");
        FieldError::new(EXPECTED, "invalid_number", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_number_is_required() {
        let read = |name: &str, value: &str| {
            let parameters = [(name.to_owned(), value.to_owned())].into();
            expected(&parameters).map_err(|error| error.code)
        };
        assert_eq!(read(EXPECTED, "12"), Ok(12));
        assert_eq!(read(EXPECTED, ""), Err("invalid_number"));
        assert_eq!(read(EXPECTED, "-1"), Err("invalid_number"));
        assert_eq!(read(EXPECTED, "1000000000000000"), Err("invalid_number"));
        assert_eq!(read("members", "1"), Err("unknown_parameter"));
        let none = expected(&Fields::new());
        assert_eq!(none.map_err(|error| error.code), Err("required"));
    }
}
