//! The local stack, as measurements start it.

use std::collections::HashMap;

use mpulse_local::faults::Spec;
use mpulse_local::{BUILT_IN_TEMPLATE, Data, LocalStack, LocalStackError, Options};

/// Starts it on free ports, with faults between its functions and its engines if any are given.
///
/// # Errors
/// Returns an error if it cannot start.
pub async fn start(data: Data, faults: Option<Spec>) -> Result<LocalStack, LocalStackError> {
    LocalStack::start(Options {
        template: BUILT_IN_TEMPLATE.to_owned(),
        parameters: HashMap::new(),
        data,
        engines: None,
        port: 0,
        invoke: None,
        faults,
        events_to: None,
    })
    .await
}
