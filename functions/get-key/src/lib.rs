//! `GET /api/keys/{id}`: one key. Every key may read its own record, to learn its permissions; an
//! admin may read every key within its accounts.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::key_view::KeyView;
use mpulse_shared::http::{self, Service};
use mpulse_shared::key::{KeyId, Role};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::keys::Keys;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Reader, get)
}

async fn get(keys: Keys, caller: Caller, request: Request) -> Result<Response<Body>, Problem> {
    let parameters = request.path_parameters();
    let text = parameters.first("id").unwrap_or_default();
    let id = text.parse::<KeyId>().ok();
    if id.as_ref() != Some(&caller.key_id) {
        // Only admins may learn whether another key exists.
        caller.require_role(Role::Admin)?;
    }
    let key = match id {
        Some(id) => keys.get(&id).await?,
        None => None,
    };
    let key = key
        .filter(|key| caller.accounts.includes(&key.accounts))
        .ok_or_else(|| Problem::not_found(format!("The key {text} does not exist.")))?;
    http::json(StatusCode::OK, &KeyView::new(&key))
}
