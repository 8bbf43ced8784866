//! `GET /api/keys`: every key within the caller's accounts, by id.

use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::key_view::KeyView;
use mpulse_shared::http::{self, Service};
use mpulse_shared::key::Role;
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::keys::Keys;

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Admin, list)
}

async fn list(keys: Keys, caller: Caller, _: Request) -> Result<Response<Body>, Problem> {
    let mut keys = keys.list().await?;
    keys.retain(|key| caller.accounts.includes(&key.accounts));
    keys.sort_by(|a, b| a.key_id.as_str().cmp(b.key_id.as_str()));
    let views: Vec<KeyView<'_>> = keys.iter().map(KeyView::new).collect();
    http::page(None, &views)
}
