//! chromedriver as a process, and its sessions.

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A session of the driver, which ends when this is dropped: otherwise the browser of a failed test would outlive its
/// driver.
pub(crate) struct Session {
    pub(crate) port: u16,
    pub(crate) id: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        let Self { port, id } = self;
        let request = format!(
            "DELETE /session/{id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        );
        // If the driver has gone, there is nothing to end.
        if let Ok(mut driver) = TcpStream::connect(("127.0.0.1", *port)) {
            let _ = driver.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = driver.write_all(request.as_bytes());
            let _ = driver.read(&mut [0; 64]);
        }
    }
}

/// Starts chromedriver on a port of its choice. It ends when this is dropped.
pub(crate) async fn driver() -> (Child, u16) {
    let program = env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".to_owned());
    let mut driver = Command::new(&program)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} starts: {error}"));
    let output = driver.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.expect("output") {
        if let Some((_, port)) = line.split_once("successfully on port ") {
            let port = port.trim_end_matches('.').parse().expect("a port");
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (driver, port);
        }
    }
    panic!("{program} ended before it was ready");
}
