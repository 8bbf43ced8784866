//! The `cancel-batch` Lambda function.

use mpulse_shared::http;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    http::run(cancel_batch::service).await
}
