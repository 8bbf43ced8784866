//! What the functions share that work on a record in the background, `ingest` and `export`: an object in the bucket starts
//! a run, a lease protects the record, and the next run continues where one has stopped.

pub mod backoff;
mod error;
mod event;
mod guard;
pub mod point;
mod renewal;
mod service;

pub use error::RunError;
#[doc(hidden)]
pub use event::messages;
pub use event::{CreatedObject, Object};
pub use guard::Guard;
pub use point::Point;
pub use renewal::{Renew, while_renewing};
pub use service::{RunEnd, Service, Worker, service};

/// Runs in a row that end in an error without progress before the batch or the export fails.
pub const MAX_STALLED: u32 = 3;

/// The number of attempts of a request of a run: no client waits for it, and giving up costs a whole run.
pub const ATTEMPTS: u32 = 12;
