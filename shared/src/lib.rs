//! Code that the mPulse functions share: the rules of members and batches, the tables and files that
//! store them, access control, and the HTTP side of a function.
//!
//! Only [`store`], and [`access`], [`http`] and [`run`] through it, send requests to AWS. Only [`access`],
//! [`problem`] and [`http`] use Lambda's HTTP types, and only [`run`] its other events.

pub mod access;
pub mod batch;
pub mod columns;
pub mod csv;
pub mod export;
pub mod http;
pub mod idempotency;
pub mod key;
pub mod logging;
pub mod media_type;
pub mod member;
pub mod metrics;
pub mod parts;
pub mod phone;
pub mod price;
pub mod problem;
pub mod readable;
pub mod run;
pub mod scope;
pub mod setup;
pub mod store;
pub mod time;
mod ulid_id;
