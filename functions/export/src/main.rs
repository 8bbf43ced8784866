//! The `export` Lambda function.

use mpulse_shared::logging;
use mpulse_shared::setup::Setup;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    logging::start();
    lambda_runtime::run(export::service(&Setup::from_process())?).await
}
