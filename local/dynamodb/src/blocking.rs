//! Waiting on a thread of an asynchronous runtime.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Calls a function that may block for long. On a thread of a multi-thread runtime, another thread takes over the
/// tasks of this one meanwhile. That takes longer than most requests, so it is only for a wait that is certain.
pub(crate) fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}
