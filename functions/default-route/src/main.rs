//! The `default-route` Lambda function.

use mpulse_shared::http;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    http::run(default_route::service).await
}
