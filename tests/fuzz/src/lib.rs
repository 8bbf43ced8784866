//! Fuzz targets: functions over bytes that call the product's own code and panic if it breaks a promise.
//!
//! `cargo test` runs each target on its corpus and on some mutations of it; `tests/fuzz/run` runs them for long, guided by
//! coverage. What each target shows is said where it is defined.

pub mod corpus;
pub mod mutate;
mod pieces;
mod targets;

pub use targets::{TARGETS, Target, find};
