//! The local machine, as measurements start it.

use std::collections::HashMap;

use mpulse_local::{BUILT_IN_TEMPLATE, Data, Machine, MachineError, Options};

/// Starts it on free ports.
///
/// # Errors
/// Where it can't start.
pub async fn start(data: Data) -> Result<Machine, MachineError> {
    Machine::start(Options {
        template: BUILT_IN_TEMPLATE.to_owned(),
        parameters: HashMap::new(),
        data,
        port: 0,
        invoke: None,
        faults: None,
    })
    .await
}
