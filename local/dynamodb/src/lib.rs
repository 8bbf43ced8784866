//! An embedded engine that speaks DynamoDB's JSON protocol: as a library call
//! ([`Engine::call`]) and over HTTP ([`serve`]).
//!
//! It implements the calls of one system and of its users' tools, not all of DynamoDB: what is not
//! implemented is rejected with DynamoDB's own errors. The crate's README has the list, and the
//! differences from AWS.
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! let engine = mpulse_dynamodb::Engine::open(folder.path())?;
//! let response = engine.call("ListTables", b"{}");
//! assert_eq!(response.status, 200);
//! assert_eq!(response.body, br#"{"TableNames":[]}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blocking;
mod capacity;
mod engine;
mod error;
mod expression;
#[doc(hidden)]
pub mod fuzz;
mod json;
pub mod loopback;
mod operation;
mod partiql;
mod request;
mod schema;
mod server;
mod shared;
mod storage;
mod sweep;
mod table;
mod value;

pub use engine::{Engine, OpenError, Response, SweepError};
pub use server::{ServeError, serve};
