//! Sends the events of the log to a URL, one after the other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use tokio::io::{AsyncBufReadExt, AsyncSeekExt, BufReader};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::http_client;

/// The timeout of a request (EventBridge: 5 seconds).
const TIMEOUT: Duration = Duration::from_secs(5);
/// The waits between attempts: the first, which doubles up to the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

/// The task that sends events.
#[derive(Debug)]
pub(super) struct Forwarder {
    task: JoinHandle<()>,
}

/// The position in the log from which events are still to be sent, saved in a file.
struct Position {
    path: PathBuf,
    offset: u64,
}

impl Forwarder {
    /// Sends the events of the file `log` from the saved position on, or from its end if there is none.
    pub(super) fn start(log: &Path, url: Url, appended: Arc<Notify>) -> io::Result<Self> {
        let mut position = Position::open(log)?;
        let log = log.to_owned();
        let client = http_client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = send_all(&log, &mut position, &client, &url).await {
                    tracing::error!(%error, "the event log cannot be read");
                }
                appended.notified().await;
            }
        });
        Ok(Self { task })
    }

    pub(super) async fn stop(self) {
        self.task.abort();
        // It ends by being cancelled.
        let _ = self.task.await;
    }
}

impl Position {
    fn open(log: &Path) -> io::Result<Self> {
        let path = log.with_extension("position");
        let saved = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let position = Self {
            path,
            offset: match saved {
                Some(offset) => offset,
                None => fs::metadata(log)?.len(),
            },
        };
        position.save()?;
        Ok(position)
    }

    fn save(&self) -> io::Result<()> {
        fs::write(&self.path, self.offset.to_string())
    }
}

/// Sends what is in the log after the position.
async fn send_all(
    log: &Path,
    position: &mut Position,
    client: &Client,
    url: &Url,
) -> io::Result<()> {
    let mut file = tokio::fs::File::open(log).await?;
    file.seek(io::SeekFrom::Start(position.offset)).await?;
    let mut lines = BufReader::new(file);
    loop {
        let mut line = String::new();
        let read = lines.read_line(&mut line).await?;
        if !line.ends_with('\n') {
            return Ok(());
        }
        send(client, url, line.trim_end().to_owned()).await;
        position.offset += read as u64;
        position.save()?;
    }
}

/// Sends an event until the response is 2xx.
async fn send(client: &Client, url: &Url, event: String) {
    let [mut wait, longest] = WAITS;
    loop {
        let request = client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(event.clone());
        match request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
        {
            Ok(_) => return,
            Err(error) => {
                let error = error.without_url();
                tracing::warn!(%error, "an event could not be sent; it will be sent again");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(longest);
    }
}
