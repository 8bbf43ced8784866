//! `POST /api/keys`: creates a key. Only this response contains its secret.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use mpulse_shared::access::Caller;
use mpulse_shared::http::key_view::KeyView;
use mpulse_shared::http::{self, Service, body, form, json, link};
use mpulse_shared::key::{Key, Role, Secret};
use mpulse_shared::problem::Problem;
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;

mod request;

/// The supported media type of the body.
const BODY_TYPE: &str = "application/json";

/// Creates the service.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn service(setup: &Setup) -> Result<Service, SetupError> {
    http::authorized(setup, Role::Admin, create)
}

async fn create(keys: Keys, caller: Caller, request: Request) -> Result<Response<Body>, Problem> {
    let base = link::base(&request);
    form::check_size(&request)?;
    if !form::is_json(&form::media_type(&request)) {
        return Err(Problem::media_type(form::ACCEPT_POST, BODY_TYPE));
    }
    let request = body::decompressed(request, form::MAX_BYTES)?;
    let object = json::object(&body::bytes(request.into_body()))?;
    let asked = request::parse(&object).map_err(Problem::invalid_fields)?;
    if !caller.accounts.includes(&asked.accounts) {
        return Err(Problem::account_not_allowed("accounts"));
    }
    let secret = Secret::generate().map_err(|error| Problem::internal(&error))?;
    let key =
        Key::new(asked.key_id, &secret, asked.role, Timestamp::now()).bound_to(asked.accounts);
    let id = &key.key_id;
    if !keys.create(&key).await? {
        return Err(Problem::conflict(format!(
            "The key {id} already exists. The ids of revoked keys stay reserved."
        )));
    }
    tracing::info!(key_id = %caller.key_id, created = %id, role = %key.role, "created a key");
    let view = KeyView::new(&key).with_secret(&secret);
    let location = format!("{base}/api/keys/{id}");
    http::json_at(StatusCode::CREATED, &view, &location)
}
