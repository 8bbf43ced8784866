//! `DELETE /api/keys/{id}`: revokes a key. It opens nothing from then on, and keeps its id.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::access::{Access, KeyId, Role};
use mpulse_shared::http::key_view::KeyView;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;

struct Function {
    access: Access,
    keys: Keys,
}

/// The function as a service.
///
/// # Errors
/// Where a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    let function = Arc::new(Function {
        access: Access::from_setup(setup)?,
        keys: Keys::from_setup(setup)?,
    });
    Ok(http::service(move |request| {
        let function = Arc::clone(&function);
        async move { revoke(&function, &request).await }
    }))
}

async fn revoke(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Admin, request).await?;
    let parameters = request.path_parameters();
    let text = parameters.first("id").unwrap_or_default();
    let missing = || Problem::not_found(format!("There is no key {text}."));
    let id: KeyId = text.parse().map_err(|_| missing())?;
    if id == caller.key_id {
        return Err(Problem::conflict(
            "A key can't revoke itself: another admin's does.",
        ));
    }
    let key = function.keys.get(&id).await?;
    key.filter(|key| caller.accounts.includes(&key.accounts))
        .ok_or_else(missing)?;
    let key = function.keys.revoke(&id, Timestamp::now()).await?;
    let key = key.ok_or_else(missing)?;
    tracing::info!(key_id = %caller.key_id, revoked = %id, "revoked a key");
    http::json(StatusCode::OK, &KeyView::new(&key))
}
