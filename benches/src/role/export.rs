//! The export function, as a process to be measured.

use mpulse_shared::logging;
use mpulse_shared::setup::Setup;

use crate::error::Error;

/// The hidden subcommand of this role.
pub const ROLE: &str = "role-export";

/// The role: does what functions/export/src/main.rs does.
///
/// # Errors
/// Returns an error if a setting is missing.
pub async fn run() -> Result<(), Error> {
    logging::start();
    lambda_runtime::run(export::service(&Setup::from_process())?).await
}
