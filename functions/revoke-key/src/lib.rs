//! `DELETE /api/keys/{id}`: revokes a key. It is invalid from then on, and its id stays reserved.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::key_view::KeyView;
use mpulse_shared::http::{self, Service};
use mpulse_shared::key::{KeyId, Role};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Admin, revoke)
}

async fn revoke(keys: Keys, caller: Caller, request: Request) -> Result<Response<Body>, Problem> {
    let parameters = request.path_parameters();
    let text = parameters.first("id").unwrap_or_default();
    let missing = || Problem::not_found(format!("The key {text} does not exist."));
    let id: KeyId = text.parse().map_err(|_| missing())?;
    if id == caller.key_id {
        return Err(Problem::conflict(
            "A key cannot revoke itself. Use another admin's key.",
        ));
    }
    let key = keys.get(&id).await?;
    key.filter(|key| caller.accounts.includes(&key.accounts))
        .ok_or_else(missing)?;
    let key = keys.revoke(&id, Timestamp::now()).await?;
    let key = key.ok_or_else(missing)?;
    tracing::info!(key_id = %caller.key_id, revoked = %id, "revoked a key");
    http::json(StatusCode::OK, &KeyView::new(&key))
}
