//! `GET /api/keys`: every key that the caller's accounts include, by id.

use std::sync::Arc;

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Role};
use mpulse_shared::http::key_view::KeyView;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::keys::Keys;

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
        async move { list(&function, &request).await }
    }))
}

async fn list(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Admin, request).await?;
    let mut keys = function.keys.list().await?;
    keys.retain(|key| caller.accounts.includes(&key.accounts));
    keys.sort_by(|a, b| a.key_id.as_str().cmp(b.key_id.as_str()));
    let views: Vec<KeyView<'_>> = keys.iter().map(KeyView::new).collect();
    http::page(None, &views)
}
