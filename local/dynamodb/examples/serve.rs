//! Serves a folder: `cargo run -p mpulse-dynamodb --example serve -- PORT FOLDER`.
//!
//! PORT 0 takes a free port. The address is printed once requests are answered. Ends with Ctrl-C.

use std::error::Error;

use mpulse_dynamodb::{Engine, serve};
use tokio::net::TcpListener;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve PORT FOLDER".into());
    };
    let engine = Engine::open(folder)?;
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    println!("http://{}", listener.local_addr()?);
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(listener, engine, interrupted).await?;
    Ok(())
}
