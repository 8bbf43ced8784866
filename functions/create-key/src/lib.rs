//! `POST /api/keys`: makes a key. Its secret is in this answer and nowhere else.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::http::header::LOCATION;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::{Access, Key, Role, Secret};
use mpulse_shared::http::key_view::KeyView;
use mpulse_shared::http::problem::Problem;
use mpulse_shared::http::{self, Service, form, link};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;

mod request;

/// What the body may be.
const BODY_TYPE: &str = "application/json";

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
        async move { create(&function, request).await }
    }))
}

async fn create(function: &Function, request: Request) -> Result<Response<Body>, Problem> {
    let caller = function.access.require(Role::Admin, &request).await?;
    let base = link::base(&request);
    form::check_size(&request)?;
    if form::media_type(&request) != BODY_TYPE {
        return Err(Problem::media_type(form::ACCEPT_POST, BODY_TYPE));
    }
    let object = form::json_object(&form::bytes(request.into_body()))?;
    let asked = request::parse(&object).map_err(Problem::invalid_fields)?;
    if !caller.accounts.includes(&asked.accounts) {
        return Err(Problem::account_not_allowed("accounts"));
    }
    let secret = Secret::generate().map_err(|error| Problem::internal(&error))?;
    let key =
        Key::new(asked.key_id, &secret, asked.role, Timestamp::now()).bound_to(asked.accounts);
    let id = &key.key_id;
    if !function.keys.create(&key).await? {
        return Err(Problem::conflict(format!(
            "There is a key {id} already; revoked ones keep their id too."
        )));
    }
    tracing::info!(key_id = %caller.key_id, made = %id, role = %key.role, "made a key");
    let view = KeyView::new(&key).with_secret(&secret);
    let mut response = http::json(StatusCode::CREATED, &view)?;
    http::set_header(&mut response, LOCATION, &format!("{base}/api/keys/{id}"))?;
    Ok(response)
}
