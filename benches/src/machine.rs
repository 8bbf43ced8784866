//! The local machine, as measurements start it.

use std::collections::HashMap;

use mpulse_local::faults::Spec;
use mpulse_local::{BUILT_IN_TEMPLATE, Data, Machine, MachineError, Options};

/// Starts it on free ports, with faults between its functions and its engines if any are given.
///
/// # Errors
/// Where it can't start.
pub async fn start(data: Data, faults: Option<Spec>) -> Result<Machine, MachineError> {
    Machine::start(Options {
        template: BUILT_IN_TEMPLATE.to_owned(),
        parameters: HashMap::new(),
        data,
        port: 0,
        invoke: None,
        faults,
    })
    .await
}
