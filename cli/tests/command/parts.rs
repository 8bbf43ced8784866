//! `mpulse upload` of large files, over connections that break.

use std::fs;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::json;

use super::dev::{Api, Dev, KEY, Running, failed, folder, mpulse, succeeded};
use super::proxy::FlakyProxy;
use super::summary;

const MIB: u64 = 1024 * 1024;

/// The size of a part, and the number of parts in flight.
const PART: u64 = 8 * MIB;
const AT_ONCE: u64 = 4;

/// Creates a roster of at least a number of bytes: few people, and a wide column that is ignored.
/// Returns its size and the number of rows.
fn wide_roster(path: &Path, bytes: u64) -> (u64, u64) {
    const NOTE: usize = 60_000;
    let mut file = BufWriter::new(fs::File::create(path).expect("a file"));
    let header = "account_id,client_member_id,first_name,last_name,phone_number,notes\n";
    file.write_all(header.as_bytes()).expect("it is written");
    let (mut size, mut rows) = (header.len() as u64, 0);
    while size < bytes {
        let letter = char::from(b'a' + u8::try_from(rows % 26).expect("a letter"));
        let note = String::from(letter).repeat(NOTE);
        let row = format!("4,c{rows},Ann,Lee,714555{:04},{note}\n", rows % 10_000);
        file.write_all(row.as_bytes()).expect("it is written");
        size += row.len() as u64;
        rows += 1;
    }
    file.flush().expect("it is written");
    (size, rows)
}

struct Setting {
    folder: tempfile::TempDir,
    dev: Dev,
    proxy: FlakyProxy,
    file: PathBuf,
    size: u64,
    rows: u64,
}

impl Setting {
    async fn with_a_file_of(bytes: u64) -> Self {
        let folder = folder();
        let file = folder.path().join("large.csv");
        let (size, rows) = wide_roster(&file, bytes);
        let dev = Dev::start(folder.path(), &["--key", KEY]);
        let proxy = FlakyProxy::to(&dev).await;
        Self {
            folder,
            dev,
            proxy,
            file,
            size,
            rows,
        }
    }

    fn upload(&self, arguments: &[&str]) -> Running {
        let own = [
            "upload",
            "large.csv",
            "--url",
            &self.proxy.url,
            "--key",
            KEY,
        ];
        mpulse(self.folder.path(), &[&own, arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Running)
            .expect("mpulse upload starts")
    }

    /// Returns what it printed until it ended, without blocking this process's other tasks.
    async fn output(&self, upload: Running) -> std::process::Output {
        let wait = || {
            let mut upload = upload;
            let take = |pipe: &mut dyn std::io::Read| {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).expect("its output");
                bytes
            };
            let stdout = take(upload.0.stdout.as_mut().expect("it is piped"));
            let stderr = take(upload.0.stderr.as_mut().expect("it is piped"));
            let status = upload.0.wait().expect("it ends");
            std::process::Output {
                status,
                stdout,
                stderr,
            }
        };
        tokio::task::spawn_blocking(wait).await.expect("it ends")
    }

    async fn only_batch(&self) -> String {
        let api = Api::new(&self.dev, KEY);
        let batch = api.newest(|batch| batch["batch_id"].is_string()).await;
        batch["batch_id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_300_mb_survives_broken_connections_without_starting_over() {
    let setting = Setting::with_a_file_of(300 * MIB).await;
    let upload = setting.upload(&[]);
    setting.proxy.until(setting.size / 2).await;
    setting.proxy.cut();
    let output = setting.output(upload).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("retrying in"), "{errors}");
    let printed = succeeded(&output);
    let summary = summary(&printed);
    let rows = setting.rows.to_string();
    assert_eq!(
        (summary["status"], summary["read"], summary["created"]),
        ("completed", rows.as_str(), rows.as_str())
    );
    let passed = setting.proxy.passed();
    assert!(
        (setting.size..setting.size + (AT_ONCE + 1) * PART).contains(&passed),
        "{passed} bytes for a file of {}",
        setting.size
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_upload_resumes_with_the_missing_parts() {
    let setting = Setting::with_a_file_of(12 * PART).await;
    let api = Api::new(&setting.dev, KEY);

    // By Ctrl-C, when some parts have arrived and others are in flight.
    let half = setting.size / 2;
    setting.proxy.stop_after(half);
    let upload = setting.upload(&["--multipart"]);
    setting.proxy.until(half + 1).await;
    let id = setting.only_batch().await;
    let parts = format!("/api/members/batch/{id}/parts");
    let arrived = async || {
        let page = api.get(&parts).await;
        let parts = page["results"].as_array().expect("parts").clone();
        parts.into_iter().filter(|part| part["etag"].is_string())
    };
    let pid = upload.0.id().to_string();
    let interrupt = Command::new("kill").args(["-INT", &pid]).status();
    assert!(interrupt.expect("kill runs").success());
    let errors = failed(&setting.output(upload).await, 1);
    let line = format!(
        "mpulse upload --resume {id} large.csv --url {}/",
        setting.proxy.url
    );
    assert_eq!(errors.matches(&line).count(), 2, "{errors}");
    assert!(errors.contains("mpulse: stopped"), "{errors}");
    assert!(arrived().await.count() > 0, "some parts are there");

    // The file changes: it keeps its length, but a part that has arrived differs.
    let changed = arrived().await.next().expect("a part");
    let offset = changed["offset"].as_u64().expect("a number");
    let mut file = fs::File::options()
        .write(true)
        .open(&setting.file)
        .expect("the file");
    let place = offset + PART / 2;
    file.seek(SeekFrom::Start(place)).expect("its middle");
    file.write_all(b"zz").expect("it is written");
    drop(file);
    let missing = setting.size - arrived().await.count() as u64 * PART;

    let before = setting.proxy.passed();
    setting.proxy.stop_after(u64::MAX);
    let output = setting.output(setting.upload(&["--resume", &id])).await;
    let printed = succeeded(&output);
    let summary = summary(&printed);
    assert_eq!(
        (summary["batch"], summary["status"]),
        (id.as_str(), "completed")
    );
    assert_eq!(summary["created"], setting.rows.to_string());
    // The missing parts, the changed part, and the headers of requests.
    let sent = setting.proxy.passed() - before;
    let expected = missing + PART;
    assert!(
        (expected..expected + MIB).contains(&sent),
        "{sent} bytes, and not {expected}"
    );

    // The next run only waits for the end.
    let output = setting.output(setting.upload(&["--resume", &id])).await;
    assert!(succeeded(&output).contains("completed"));
    assert_eq!(setting.proxy.passed() - before, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_whose_url_is_rejected_gets_another() {
    let setting = Setting::with_a_file_of(PART + MIB).await;
    setting.proxy.spoil_urls(1);
    let output = setting.output(setting.upload(&["--multipart"])).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // S3 may close the connection of a rejected part before its 403 is read.
    assert!(errors.contains("retrying in"), "{errors}");
    assert!(
        !errors.contains("X-Amz"),
        "a URL is as good as a key: {errors}"
    );
    assert!(succeeded(&output).contains("completed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_creates_no_second_batch() {
    let setting = Setting::with_a_file_of(MIB).await;
    setting.proxy.lose_answers(1);
    let output = setting.output(setting.upload(&[])).await;
    assert!(succeeded(&output).contains("completed"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("retrying in 1 s"), "{errors}");
    let api = Api::new(&setting.dev, KEY);
    let list = api.get("/api/members/batch").await;
    let batches = list["results"].as_array().expect("a list");
    assert_eq!(batches.len(), 1, "{list:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_sent_is_rejected() {
    let setting = Setting::with_a_file_of(6 * PART).await;
    let half = setting.size / 2;
    setting.proxy.stop_after(half);
    let upload = setting.upload(&["--multipart"]);
    setting.proxy.until(half + 1).await;
    let mut file = fs::File::options()
        .write(true)
        .open(&setting.file)
        .expect("the file");
    file.write_all(b"A").expect("it is written");
    drop(file);
    setting.proxy.stop_after(u64::MAX);
    setting.proxy.cut();
    let errors = failed(&setting.output(upload).await, 1);
    assert!(
        errors.contains("changed while it was being sent"),
        "{errors}"
    );
    let id = setting.only_batch().await;
    let batch = Api::new(&setting.dev, KEY);
    let batch = batch.get(&format!("/api/members/batch/{id}")).await;
    assert_eq!(batch["status"], "awaiting_upload", "{batch:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_resumes_only_with_the_same_file_and_batch() {
    let setting = Setting::with_a_file_of(MIB).await;
    let api = Api::new(&setting.dev, KEY);
    let open = async |fields: serde_json::Value| {
        let request = api
            .request(Method::POST, "/api/members/batch")
            .json(&fields);
        let answer = request.send().await.expect("an answer");
        let batch: serde_json::Value = answer.json().await.expect("JSON");
        batch["batch_id"].as_str().expect("an id").to_owned()
    };
    let resume = async |id: &str| {
        let upload = setting.upload(&["--resume", id]);
        failed(&setting.output(upload).await, 1)
    };
    let size = setting.size;
    let other = open(json!({"size": size + 1, "multipart": true})).await;
    let errors = resume(&other).await;
    let summary = format!("has {} bytes, but large.csv has {size}", size + 1);
    assert!(errors.contains(&summary), "{errors}");
    let whole = open(json!({"size": size})).await;
    let errors = resume(&whole).await;
    assert!(errors.contains("is not sent in parts"), "{errors}");
    let errors = resume("01KAVT7R3G8W2QZJ5XN4M6P9CD").await;
    assert!(errors.contains("404"), "{errors}");

    let cancelled = open(json!({"size": size, "multipart": true})).await;
    let path = format!("/api/members/batch/{cancelled}");
    let answer = api.request(Method::DELETE, &path).send().await;
    assert_eq!(answer.expect("an answer").status(), 200);
    let upload = setting.upload(&["--resume", &cancelled]);
    let output = setting.output(upload).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("cancelled"));
    assert_eq!(setting.proxy.passed(), 0, "nothing was sent");
}
