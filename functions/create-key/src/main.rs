//! The `create-key` Lambda function.

use mpulse_shared::http;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    http::run(create_key::service).await
}
