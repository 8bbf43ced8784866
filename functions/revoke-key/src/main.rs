//! The `revoke-key` Lambda function.

use mpulse_shared::http;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    http::run(revoke_key::service).await
}
