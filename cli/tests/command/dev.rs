//! `mpulse dev` as a process of a test, and a client of it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;

/// The longest wait for anything.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The time between two polls.
pub const GLANCE: Duration = Duration::from_millis(10);

/// A key that is fixed by `--key`.
pub const KEY: &str = "ops:a-secret-of-one-s-own";

/// Creates a command `mpulse` with these arguments, in a folder, without inherited settings.
pub fn mpulse(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpulse"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("MPULSE_URL")
        .env_remove("MPULSE_KEY")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    mpulse(folder, arguments).output().expect("mpulse runs")
}

#[track_caller]
pub fn succeeded(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

#[track_caller]
pub fn failed(output: &Output, code: i32) -> String {
    let errors = String::from_utf8(output.stderr.clone()).expect("errors are text");
    assert_eq!(output.status.code(), Some(code), "{errors}");
    errors
}

/// A process that is killed, with SIGKILL, when it is dropped.
pub struct Running(pub Child);

impl Running {
    pub fn kill(mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `mpulse dev`, with what it printed until it was ready.
pub struct Dev {
    pub process: Running,
    pub printed: String,
    pub url: String,
    pub port: u16,
}

impl Dev {
    /// Starts it on free ports.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        for _ in 0..20 {
            if let Some(dev) = Self::start_on(free_port(), folder, arguments) {
                return dev;
            }
        }
        panic!("no free ports");
    }

    /// Starts it on a port; `None` if it ends before it is ready.
    pub fn start_on(port: u16, folder: &Path, arguments: &[&str]) -> Option<Self> {
        let number = port.to_string();
        let mut child = mpulse(folder, &["dev", "--port", &number, "--data", "data"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mpulse dev starts");
        let stdout = child.stdout.take().expect("it is piped");
        let process = Running(child);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let (mut printed, url) = (String::new(), format!("http://127.0.0.1:{port}"));
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    writeln!(printed, "{line}").expect("writing to a string can't fail");
                    if line == format!("mpulse is ready on {url}") {
                        return Some(Self {
                            process,
                            printed,
                            url,
                            port,
                        });
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it gets ready: {printed}"),
            }
        }
    }

    /// Returns the ID:SECRET in its curl lines.
    pub fn key(&self) -> String {
        let (_, rest) = self.printed.split_once("curl -u ").expect("a curl line");
        rest.split(' ')
            .next()
            .expect("a word")
            .trim_matches('\'')
            .to_owned()
    }

    /// Returns the output of `mpulse upload` with the key of the data folder.
    pub fn upload(&self, folder: &Path, file: &str, arguments: &[&str]) -> Output {
        let own = ["upload", file, "--url", &self.url, "--data", "data"];
        run(folder, &[&own, arguments].concat())
    }

    pub fn keys(&self, folder: &Path, arguments: &[&str]) -> Output {
        let port = self.port.to_string();
        run(folder, &[&["keys", "--port", &port], arguments].concat())
    }
}

/// Returns a port that is free now, as are the three after it.
pub fn free_port() -> u16 {
    loop {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let first = bind(0).expect("a port is free");
        let port = first.local_addr().expect("it has an address").port();
        let next = |offset: u16| {
            port.checked_add(offset)
                .is_some_and(|port| bind(port).is_ok())
        };
        if (1..=3).all(next) {
            return port;
        }
    }
}

/// A client of one local stack, with one key.
pub struct Api {
    pub http: Client,
    url: String,
    key: String,
}

impl Api {
    pub fn new(dev: &Dev, key: &str) -> Self {
        // No connection is kept, since the local stack at its other end may be killed.
        let http = mpulse_local::http_client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0);
        Self {
            http: http.build().expect("a client"),
            url: dev.url.clone(),
            key: key.to_owned(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let (id, secret) = self.key.split_once(':').expect("ID:SECRET");
        let url = if path.starts_with('/') {
            format!("{}{path}", self.url)
        } else {
            path.to_owned()
        };
        self.http.request(method, url).basic_auth(id, Some(secret))
    }

    pub async fn status(&self, path: &str) -> u16 {
        let answer = self.request(Method::GET, path).send().await;
        answer.expect("an answer").status().as_u16()
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self
            .request(Method::GET, path)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("JSON")
    }

    /// Returns the ids of a list, all pages of it.
    pub async fn ids(&self, query: &str) -> Vec<String> {
        let (mut ids, mut url) = (Vec::new(), format!("/api/members/?limit=1000&{query}"));
        loop {
            let page = self.get(&url).await;
            let results = page["results"].as_array().expect("results");
            ids.extend(
                results
                    .iter()
                    .map(|m| m["id"].as_str().expect("an id").to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut url),
                None => return ids,
            }
        }
    }

    /// Polls the newest batch until `enough` holds.
    pub async fn newest(&self, enough: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut page = self.get("/api/members/batch?limit=1").await;
            let first = page["results"].get_mut(0);
            let batch = first.map(Value::take).unwrap_or_default();
            if enough(&batch) {
                return batch;
            }
            assert!(Instant::now() < deadline, "waited too long for {batch:#}");
            tokio::time::sleep(GLANCE).await;
        }
    }
}

pub fn has_ended(batch: &Value) -> bool {
    [
        "completed",
        "completed_with_rejects",
        "failed",
        "cancelled",
        "expired",
    ]
    .iter()
    .any(|status| batch["status"] == *status)
}

pub fn read_so_far(batch: &Value) -> u64 {
    batch["rows"]["read"].as_u64().unwrap_or_default()
}

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}
