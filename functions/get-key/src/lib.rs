//! `GET /api/keys/{id}`: one key. Everyone may look at their own, which is how a client finds
//! out what it may do; admins, at any that their accounts include.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use mpulse_shared::access::{Access, KeyId, Role};
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
        async move { get(&function, &request).await }
    }))
}

async fn get(function: &Function, request: &Request) -> Result<Response<Body>, Problem> {
    let parameters = request.path_parameters();
    let text = parameters.first("id").unwrap_or_default();
    let id = text.parse::<KeyId>().ok();
    let caller = function.access.require(Role::Reader, request).await?;
    if id.as_ref() != Some(&caller.key_id) {
        // Another's: whether it is there is for admins to know.
        caller.must_be(Role::Admin)?;
    }
    let key = match id {
        Some(id) => function.keys.get(&id).await?,
        None => None,
    };
    let key = key
        .filter(|key| caller.accounts.includes(&key.accounts))
        .ok_or_else(|| Problem::not_found(format!("There is no key {text}.")))?;
    http::json(StatusCode::OK, &KeyView::new(&key))
}
