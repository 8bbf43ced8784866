//! The HTTP side of a function: handlers become services, and values become responses.
//!
//! A function's `service` passes its handler to [`authorized()`] or [`idempotent()`], which authenticate the caller first, or
//! to [`public`] or [`service()`], which do not.

pub mod accept;
mod authorized;
pub mod batch_view;
pub mod body;
pub mod conditional;
pub mod cursor;
pub mod export_view;
pub mod fields;
pub mod form;
mod idempotent;
pub mod json;
pub mod key_view;
pub mod link;
pub mod member_view;
pub mod page_query;
pub mod person_view;
mod response;
mod service;

pub use authorized::{authorized, authorized_or_anonymous, public};
pub use fields::query;
pub use idempotent::idempotent;
pub use response::{csv, empty, json, json_at, page, page_with, set_header, set_next, with_body};
pub use service::{Service, request_id, run, service};

/// The number of attempts of a change, if concurrent changes interfere.
pub const ATTEMPTS: u32 = 10;
