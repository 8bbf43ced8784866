//! What the mPulse functions share: the rules of a member and of a batch, the tables
//! and files they are kept in, who may do what, and the HTTP side of a function.
//!
//! Everything but [`store`], [`access`] and [`setup`] is free of I/O, and nothing but
//! [`http`] knows of Lambda's HTTP events.

pub mod access;
pub mod batch;
pub mod columns;
pub mod http;
pub mod logging;
pub mod member;
pub mod metrics;
pub mod parts;
pub mod phone;
pub mod price;
pub mod scope;
pub mod setup;
pub mod store;
pub mod time;
