//! Shared by the tests of the running stack: a local stack with a key of each role, a client that
//! reads like a transcript, and rosters.
//!
//! Functions here panic on failure: a test that cannot be set up has failed.
#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is how these functions report a failed expectation"
)]

mod engines;
pub mod packed;
mod response;
mod rosters;
mod stack;

pub use engines::engines;
pub use response::{Answer, PATIENCE, client, count, has_ended, send, text};
pub use rosters::{HEADER, Rows, client_id, phone, roster, roster_ids, row, row_of};
pub use stack::{Login, Stack};
