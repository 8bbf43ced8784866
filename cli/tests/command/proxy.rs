//! Proxies that can break connections: one in front of the API, which replaces S3's address in
//! URLs, and one in front of S3, which counts bytes and closes connections.
//!
//! The signature of a URL contains S3's own address, so the proxy restores it in what it passes on.
//! Free ports have five digits, so both addresses have the same length.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::dev::Dev;

/// The state of the connections to S3.
pub struct FlakyProxy {
    /// The API, through the proxies.
    pub url: String,
    passed: Arc<AtomicU64>,
    cuts: watch::Sender<u64>,
    /// Bytes after which nothing more is passed on.
    limit: Arc<AtomicU64>,
    answers: Arc<Answers>,
}

/// What is still to be done to responses of the API.
#[derive(Default)]
struct Answers {
    /// Responses whose URLs are to be made invalid.
    spoilt: AtomicU64,
    /// Responses that are to be lost: the call has its effect, and the connection is closed.
    lost: AtomicU64,
}

impl FlakyProxy {
    pub async fn to(dev: &Dev) -> Self {
        let (api, s3) = (listen().await, listen().await);
        let url = format!("http://{}", api.local_addr().expect("an address"));
        let ours = s3.local_addr().expect("an address").to_string();
        let theirs = format!("127.0.0.1:{}", dev.port + 1);
        assert_eq!(ours.len(), theirs.len(), "ports of five digits");
        let (cuts, _) = watch::channel(0);
        let proxy = Self {
            url,
            passed: Arc::default(),
            cuts,
            limit: Arc::new(AtomicU64::new(u64::MAX)),
            answers: Arc::default(),
        };
        let names = (theirs.clone(), ours.clone());
        let answers = Arc::clone(&proxy.answers);
        tokio::spawn(serve_api(api, dev.url.clone(), names, answers));
        let lane = Lane {
            passed: Arc::clone(&proxy.passed),
            limit: Arc::clone(&proxy.limit),
            ours,
            theirs,
        };
        let cuts = proxy.cuts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = s3.accept().await {
                let (lane, mut cut) = (lane.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        () = lane.pass(client) => {}
                        // Whichever side ended, both are closed.
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    /// Returns the bytes sent to S3 so far, including those of broken connections.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Waits until a number of bytes have passed.
    pub async fn until(&self, bytes: u64) {
        while self.passed() < bytes {
            tokio::time::sleep(super::dev::GLANCE).await;
        }
    }

    /// Closes every connection to S3.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Makes S3 reject the URLs in the next responses, as if they had expired.
    pub fn spoil_urls(&self, answers: u64) {
        self.answers.spoilt.store(answers, Ordering::Relaxed);
    }

    /// Loses the next responses of the API.
    pub fn lose_answers(&self, answers: u64) {
        self.answers.lost.store(answers, Ordering::Relaxed);
    }

    /// Passes on a number of bytes in all, and then no more.
    pub fn stop_after(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

/// One connection to S3.
#[derive(Clone)]
struct Lane {
    passed: Arc<AtomicU64>,
    limit: Arc<AtomicU64>,
    ours: String,
    theirs: String,
}

impl Lane {
    async fn pass(&self, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&self.theirs).await else {
            return;
        };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let there = async {
            let mut buffer = vec![0; 64 * 1024];
            let mut held = Vec::new();
            loop {
                let read = from_client.read(&mut buffer).await.unwrap_or_default();
                if read == 0 {
                    return;
                }
                let before = self.passed.fetch_add(read as u64, Ordering::Relaxed);
                if before >= self.limit.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                held.extend_from_slice(&buffer[..read]);
                let mut ready = std::mem::take(&mut held);
                // An address that has arrived partly waits for its rest.
                let beginning = beginning_of(&ready, self.ours.as_bytes());
                held = ready.split_off(ready.len() - beginning);
                replace(&mut ready, self.ours.as_bytes(), self.theirs.as_bytes());
                if to_server.write_all(&ready).await.is_err() {
                    return;
                }
            }
        };
        let back = async {
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        };
        tokio::select! {
            () = there => {}
            () = back => {}
        }
    }
}

/// Returns how many bytes at the end are the beginning of the address.
fn beginning_of(bytes: &[u8], name: &[u8]) -> usize {
    let most = bytes.len().min(name.len() - 1);
    (1..=most)
        .rev()
        .find(|&length| name.starts_with(&bytes[bytes.len() - length..]))
        .unwrap_or(0)
}

/// Overwrites an address with another of the same length.
fn replace(bytes: &mut [u8], name: &[u8], by: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(name.len())
        .position(|window| window == name)
    {
        at += found;
        bytes[at..at + by.len()].copy_from_slice(by);
        at += by.len();
    }
}

/// Passes calls on to the API, one per connection, and replaces S3's address in the responses.
async fn serve_api(
    listener: TcpListener,
    api: String,
    names: (String, String),
    answers: Arc<Answers>,
) {
    let http = mpulse_local::http_client::builder().no_proxy().build();
    let http = http.expect("a client");
    while let Ok((client, _)) = listener.accept().await {
        let (http, api, names) = (http.clone(), api.clone(), names.clone());
        let answers = Arc::clone(&answers);
        tokio::spawn(async move { call(client, &http, &api, &names, &answers).await });
    }
}

async fn call(
    mut client: TcpStream,
    http: &reqwest::Client,
    api: &str,
    (theirs, ours): &(String, String),
    answers: &Answers,
) -> Option<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(request[..end].to_vec()).ok()?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let length: usize = header("content-length").unwrap_or("0").parse().ok()?;
    while request.len() < end + length {
        client.read_buf(&mut request).await.ok()?;
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.parse().ok()?, words.next()?);
    let mut call = http.request(method, format!("{api}{path}"));
    for name in ["authorization", "content-type", "idempotency-key"] {
        if let Some(value) = header(name) {
            call = call.header(name, value);
        }
    }
    let answer = call.body(request[end..].to_vec()).send().await.ok()?;
    let status = answer.status().as_u16();
    let mut body = answer.text().await.ok()?.replace(theirs, ours);
    if answers.lost.load(Ordering::Relaxed) > 0 {
        answers.lost.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let signed = "X-Amz-Expires=3600";
    if body.contains(signed) && answers.spoilt.load(Ordering::Relaxed) > 0 {
        answers.spoilt.fetch_sub(1, Ordering::Relaxed);
        body = body.replace(signed, "X-Amz-Expires=3599");
    }
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    client.write_all(answer.as_bytes()).await.ok()
}
