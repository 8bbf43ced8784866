//! Services for handlers that need stores, and for those that need an authenticated caller.
//!
//! A handler declares what it needs by the type of its first parameter, which is created once from
//! the function's settings ([`FromSetup`]) and cloned for each request: one store, a tuple of
//! several, or a struct.

use std::future::Future;

use lambda_http::{Body, Request, Response};

use super::service::{Service, service};
use crate::access::{Access, Caller};
use crate::key::Role;
use crate::problem::Problem;
use crate::setup::{FromSetup, Setup, SetupError};

/// Creates a service whose handler is called with the caller of the request, if the caller's role
/// is at least `role`. Other requests get 401 or 403 ([`Access::require`]).
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn authorized<C, H, F>(setup: &Setup, role: Role, handler: H) -> Result<Service, SetupError>
where
    C: FromSetup + Clone + Send + Sync + 'static,
    H: Fn(C, Caller, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Problem>> + Send + 'static,
{
    public(setup, move |(access, context): (Access, C), request| {
        let handler = handler.clone();
        async move {
            let caller = access.require(role, &request).await?;
            handler(context, caller, request).await
        }
    })
}

/// Like [`authorized`] for readers, but if `ANONYMOUS_READS` is set, a request without credentials
/// is handled too, without a caller ([`Access::require_reader`]).
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn authorized_or_anonymous<C, H, F>(setup: &Setup, handler: H) -> Result<Service, SetupError>
where
    C: FromSetup + Clone + Send + Sync + 'static,
    H: Fn(C, Option<Caller>, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Problem>> + Send + 'static,
{
    public(setup, move |(access, context): (Access, C), request| {
        let handler = handler.clone();
        async move {
            let caller = access.require_reader(&request).await?;
            handler(context, caller, request).await
        }
    })
}

/// Creates a service that does not authenticate requests.
///
/// # Errors
/// Returns an error if a setting is missing.
pub fn public<C, H, F>(setup: &Setup, handler: H) -> Result<Service, SetupError>
where
    C: FromSetup + Clone + Send + Sync + 'static,
    H: Fn(C, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Problem>> + Send + 'static,
{
    let context = C::from_setup(setup)?;
    Ok(service(move |request| handler(context.clone(), request)))
}
