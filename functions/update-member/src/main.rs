//! The `update-member` Lambda function.

use mpulse_shared::http;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    http::run(update_member::service).await
}
