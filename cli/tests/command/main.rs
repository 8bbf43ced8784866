//! The `mpulse` command as a process: its output, its exit codes, and what remains when it is
//! killed.

mod dev;
mod events;
mod exports;
mod kills;
mod needles;
mod parts;
mod personal_data;
mod proxy;
mod rosters;
mod stacks;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use dev::{
    Api, Dev, KEY, Running, failed, folder, free_port, has_ended, mpulse, read_so_far, run,
    succeeded,
};

/// A sample written by `mpulse sample`, stored as a file.
fn sample(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let file = fs::File::create(&path).expect("a file");
    let status = mpulse(folder, &[&["sample"], arguments].concat())
        .stdout(file)
        .status()
        .expect("mpulse runs");
    assert!(status.success());
    path
}

/// Returns the ids in a sample without invalid rows, sorted.
fn ids_in(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a sample is text");
    let mut ids: Vec<String> = text
        .lines()
        .skip(1)
        .map(|line| {
            let mut fields = line.split(',');
            let mut field = || fields.next().expect("a field");
            format!("{}~{}", field(), field())
        })
        .collect();
    ids.sort_unstable();
    ids
}

/// Returns the values in the output of `mpulse upload`, by label.
fn summary(output: &str) -> HashMap<&str, &str> {
    output
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .map(|(label, text)| (label, text.trim()))
        .collect()
}

#[tokio::test]
async fn a_killed_batch_continues_and_ends_exactly() {
    let folder = folder();
    let folder = folder.path();
    let people = 30_000;
    let good = sample(folder, "good.csv", &["30000"]);
    let wanted = ids_in(&good);
    let mut text = fs::read_to_string(&good).expect("a sample");
    // Invalid rows, before and after the moment of the kill.
    let bad = 300;
    let mut lines: Vec<&str> = text.lines().collect();
    for index in (0..bad).rev() {
        lines.insert(1 + index * 100, "4,bad,Ann,Lee,12");
    }
    text = lines.join("\n");

    let mut dev = Dev::start(folder, &["--key", KEY]);
    let port = dev.port;
    let api = Api::new(&dev, KEY);
    let batch: Value = api
        .request(Method::POST, "/api/members/batch")
        .json(&json!({"size": text.len()}))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let put = api
        .http
        .put(batch["upload"]["url"].as_str().expect("a URL"));
    let sent = put
        .header("content-type", "text/csv")
        .body(text)
        .send()
        .await;
    assert_eq!(sent.expect("an answer").status(), 200);

    // Killed twice: soon after its start, and again further on.
    for at_least in [2_000, 12_000] {
        let seen = api
            .newest(|batch| read_so_far(batch) > at_least || has_ended(batch))
            .await;
        assert!(!has_ended(&seen), "it was killed in the middle: {seen:#}");
        dev.process.kill();
        dev = Dev::start_on(port, folder, &[]).expect("it starts again");
        let after = api.newest(|_| true).await;
        assert!(
            read_so_far(&after) >= read_so_far(&seen),
            "what was counted stays counted"
        );
    }
    let ended = api.newest(has_ended).await;
    assert_eq!(ended["batch_id"], batch["batch_id"]);
    assert_eq!(ended["status"], "completed_with_rejects", "{ended:#}");
    assert_eq!(
        ended["rows"],
        json!({
            "read": people + bad, "created": people, "updated": 0, "unchanged": 0,
            "superseded": 0, "rejected": bad, "absent": 0, "removed": 0,
        })
    );
    assert_eq!(ended["attempts"], 3, "{ended:#}");
    let mut found = api.ids("aid=4").await;
    found.sort_unstable();
    assert!(found == wanted, "the members are those of the file");

    // The report has each rejected row once, in order, though three runs made it.
    let path = format!(
        "/api/members/batch/{}/rejects",
        batch["batch_id"].as_str().expect("an id")
    );
    let way = api
        .request(Method::GET, &path)
        .header("accept", "application/json");
    let way: Value = way
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let report = api
        .http
        .get(way["url"].as_str().expect("a URL"))
        .send()
        .await;
    let report = report.expect("an answer").text().await.expect("text");
    let lines: Vec<usize> = report
        .lines()
        .skip(1)
        .map(|line| {
            line.split(',')
                .next()
                .expect("a field")
                .parse()
                .expect("a number")
        })
        .collect();
    let wanted: Vec<usize> = (0..bad).map(|index| 2 + index * 101).collect();
    assert_eq!(lines, wanted);
}

#[tokio::test]
async fn an_upload_in_another_process_survives_a_killed_local_stack() {
    let folder = folder();
    let folder = folder.path();
    let file = sample(folder, "roster.csv", &["25000"]);
    let dev = Dev::start(folder, &[]);
    let (port, key) = (dev.port, dev.key());
    let mut upload = mpulse(
        folder,
        &["upload", "roster.csv", "--url", &dev.url, "--data", "data"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .map(Running)
    .expect("mpulse upload starts");
    let api = Api::new(&dev, &key);
    let seen = api
        .newest(|batch| read_so_far(batch) > 2_000 || has_ended(batch))
        .await;
    assert!(!has_ended(&seen), "it was killed in the middle: {seen:#}");
    dev.process.kill();
    let again = Dev::start_on(port, folder, &[]).expect("it starts again");
    assert_eq!(again.key(), key, "the first start's key is kept");

    let mut printed = String::new();
    let mut stdout = upload.0.stdout.take().expect("it is piped");
    stdout
        .read_to_string(&mut printed)
        .expect("its output is text");
    assert!(upload.0.wait().expect("it ends").success(), "{printed}");
    let summary = summary(&printed);
    assert_eq!(
        (summary["status"], summary["read"], summary["created"]),
        ("completed", "25000", "25000")
    );
    let mut found = api.ids("aid=4").await;
    found.sort_unstable();
    assert!(found == ids_in(&file), "the members are those of the file");
}

#[tokio::test]
async fn members_and_batches_exist_after_a_restart() {
    let folder = folder();
    let folder = folder.path();
    sample(folder, "roster.csv", &["100"]);
    let dev = Dev::start(folder, &[]);
    let api = Api::new(&dev, &dev.key());
    succeeded(&dev.upload(folder, "roster.csv", &[]));
    let before = (
        api.get("/api/members/?aid=4").await,
        api.get("/api/members/batch").await,
    );
    let port = dev.port;
    dev.process.kill();
    let _again = Dev::start_on(port, folder, &[]).expect("it starts again");
    let after = (
        api.get("/api/members/?aid=4").await,
        api.get("/api/members/batch").await,
    );
    assert_eq!(after, before);
}

#[test]
fn the_printed_curl_lines_work() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("curl is not installed here");
        return;
    }
    let folder = folder();
    let dev = Dev::start(folder.path(), &[]);
    let lines: Vec<&str> = dev
        .printed
        .lines()
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert_eq!(lines.len(), 2, "{}", dev.printed);
    let mut answers = lines.iter().map(|line| {
        let output = Command::new("sh")
            .args(["-c", line])
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .expect("sh runs");
        let text = succeeded(&output);
        serde_json::from_str::<Value>(&text)
            .unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    });
    let member = answers.next().expect("a member");
    assert_eq!(member["id"], "4~5622780");
    assert_eq!(member["phone_number"], "+17145550123");
    let list = answers.next().expect("a list");
    assert_eq!(list, json!({"next": null, "results": [member]}));
}

#[tokio::test]
async fn a_given_key_is_used_and_kept() {
    let folder = folder();
    let folder = folder.path();
    let dev = Dev::start(folder, &["--key", KEY]);
    assert_eq!(dev.key(), KEY);
    let api = Api::new(&dev, KEY);
    assert_eq!(api.status("/api/members/").await, 200);
    let port = dev.port;
    drop(dev);
    let dev = Dev::start_on(port, folder, &[]).expect("it starts again");
    assert_eq!(dev.key(), KEY);
    assert_eq!(api.status("/api/members/").await, 200);
    sample(folder, "roster.csv", &["3"]);
    succeeded(&dev.upload(folder, "roster.csv", &[]));
}

#[tokio::test]
async fn a_generated_key_differs_between_folders() {
    let (one, other) = (folder(), folder());
    let one = Dev::start(one.path(), &[]);
    let other = Dev::start(other.path(), &[]);
    assert!(
        one.key().starts_with("admin:") && one.key().len() >= "admin:".len() + 27,
        "160 bits"
    );
    assert_ne!(one.key(), other.key());
    assert_eq!(
        Api::new(&one, &other.key()).status("/api/members/").await,
        401
    );
}

#[test]
fn a_port_or_folder_in_use_is_reported_and_nothing_starts() {
    let (one, other) = (folder(), folder());
    let dev = Dev::start(one.path(), &[]);
    let port = dev.port.to_string();
    let taken = run(other.path(), &["dev", "--port", &port, "--data", "data"]);
    assert!(failed(&taken, 1).contains(&port));
    let free = free_port().to_string();
    let in_use = run(one.path(), &["dev", "--port", &free, "--data", "data"]);
    assert!(failed(&in_use, 1).contains("in use"));
}

#[test]
fn an_ephemeral_local_stack_keeps_no_data() {
    let folder = folder();
    let port = free_port().to_string();
    let mut child = mpulse(folder.path(), &["--port", &port, "--ephemeral"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("mpulse starts");
    let stdout = child.stdout.take().expect("it is piped");
    let process = Running(child);
    let ready = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .any(|line| line.starts_with("mpulse is ready on "));
    assert!(ready);
    process.kill();
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_upload_reports_the_end_in_output_and_exit_code() {
    let folder = folder();
    let folder = folder.path();
    let dev = Dev::start(folder, &[]);

    sample(folder, "good.csv", &["500"]);
    let output = succeeded(&dev.upload(folder, "good.csv", &[]));
    let counters = |output: &str| {
        let summary = summary(output);
        ["status", "read", "created", "unchanged", "rejected"]
            .map(|label| summary[label].to_owned())
    };
    assert_eq!(counters(&output), ["completed", "500", "500", "0", "0"]);
    let output = succeeded(&dev.upload(folder, "good.csv", &[]));
    assert_eq!(counters(&output), ["completed", "500", "0", "500", "0"]);

    // Rejected rows do not change the exit code: each is accounted for.
    sample(folder, "bad.csv", &["500", "--bad", "0.1", "--seed", "7"]);
    let output = succeeded(&dev.upload(folder, "bad.csv", &["--account", "4", "--mode", "create"]));
    assert_eq!(
        counters(&output),
        ["completed_with_rejects", "500", "450", "0", "50"]
    );
    assert!(output.contains("/rejects"), "{output}");
    assert!(summary(&output)["price"].starts_with("$0.0"), "{output}");

    let parent = summary(&output)["batch"].to_owned();
    succeeded(&dev.upload(folder, "good.csv", &["--parent", &parent]));
    let unknown = ["--parent", "01ARZ3NDEKTSV4RRFFQ69G5FAV"];
    let unknown = failed(&dev.upload(folder, "good.csv", &unknown), 1);
    assert!(unknown.contains("unknown_batch"), "{unknown}");

    fs::write(folder.join("none.csv"), "phone\n").expect("a file");
    let output = dev.upload(folder, "none.csv", &[]);
    failed(&output, 1);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("failed") && printed.contains("missing_column"),
        "{printed}"
    );
}

#[test]
fn an_upload_that_cannot_start_says_why() {
    let folder = folder();
    let folder = folder.path();
    sample(folder, "good.csv", &["5"]);
    let dev = Dev::start(folder, &[]);
    let missing = failed(&dev.upload(folder, "missing.csv", &[]), 1);
    assert!(missing.contains("missing.csv"), "{missing}");
    let wrong = failed(
        &dev.upload(folder, "good.csv", &["--key", "admin:wrong"]),
        1,
    );
    assert!(wrong.contains("key"), "{wrong}");
    failed(&dev.upload(folder, "good.csv", &["--mode", "replace"]), 2);
    let elsewhere = run(
        folder,
        &["upload", "good.csv", "--url", &dev.url, "--data", "nowhere"],
    );
    assert!(failed(&elsewhere, 2).contains("no key"));
}

#[tokio::test]
async fn a_sample_s_rows_are_all_accounted_for() {
    let folder = folder();
    let folder = folder.path();
    let dev = Dev::start(folder, &[]);
    // Piped, as in a shell: the output of one is the input of the other.
    let file = fs::File::create(folder.join("piped.csv")).expect("a file");
    let arguments = [
        "sample",
        "2000",
        "--bad",
        "0.05",
        "--account",
        "a",
        "--account",
        "b",
    ];
    let status = mpulse(folder, &arguments)
        .stdout(file)
        .status()
        .expect("mpulse runs");
    assert!(status.success());
    let output = succeeded(&dev.upload(folder, "piped.csv", &[]));
    let summary = summary(&output);
    assert_eq!(
        (summary["read"], summary["created"], summary["rejected"]),
        ("2000", "1900", "100")
    );
    let api = Api::new(&dev, &dev.key());
    let (a, b) = (api.ids("aid=a").await.len(), api.ids("aid=b").await.len());
    assert_eq!(a + b, 1900);
    assert!(a > 0 && b > 0);
}

#[tokio::test]
async fn keys_are_created_listed_and_revoked_while_the_local_stack_runs() {
    let folder = folder();
    let folder = folder.path();
    let dev = Dev::start(folder, &[]);
    let made = succeeded(&dev.keys(folder, &["create", "--id", "look", "--role", "reader"]));
    let key = made.trim();
    assert!(
        key.starts_with("look:"),
        "ID:SECRET and nothing else: {made}"
    );
    let api = Api::new(&dev, key);
    assert_eq!(api.status("/api/members/").await, 200);
    let post = api.request(Method::POST, "/api/members/batch").send().await;
    assert_eq!(post.expect("an answer").status(), 403, "a reader");

    let taken = dev.keys(folder, &["create", "--id", "look", "--role", "writer"]);
    assert!(failed(&taken, 1).contains("look"));
    failed(&dev.keys(folder, &["create", "--role", "owner"]), 2);
    let unnamed = succeeded(&dev.keys(folder, &["create", "--role", "writer"]));
    assert!(unnamed.starts_with("writer-"), "{unnamed}");

    let listed = |line: &str| {
        let list = succeeded(&dev.keys(folder, &["list"]));
        assert!(
            !list.contains(key.split_once(':').expect("a secret").1),
            "no secret is listed"
        );
        list.lines()
            .any(|l| l.split_whitespace().take(2).eq(line.split(' ')))
    };
    assert!(listed("admin admin") && listed("look reader"));

    succeeded(&dev.keys(folder, &["revoke", "look"]));
    assert_eq!(
        api.status("/api/members/").await,
        401,
        "from that moment on"
    );
    assert!(failed(&dev.keys(folder, &["revoke", "unknown"]), 1).contains("unknown"));
    assert!(listed("look reader"), "it is still listed");
    let nobody_there = free_port().to_string();
    let unreachable = run(folder, &["keys", "--port", &nobody_there, "list"]);
    assert!(failed(&unreachable, 1).contains("mpulse dev"));
}

#[tokio::test]
async fn the_template_in_the_current_folder_is_used() {
    let folder = folder();
    let folder = folder.path();
    let template = mpulse_local::BUILT_IN_TEMPLATE;
    let moved = template.replace("Path: \"/api/health\" }", "Path: \"/alive\" }");
    assert_ne!(moved, template);
    fs::write(folder.join("template.yaml"), moved).expect("a file");
    let dev = Dev::start(folder, &["--parameter", "AnonymousReads=true"]);
    let api = Api::new(&dev, &dev.key());
    assert_eq!(api.status("/alive").await, 200);
    let anonymous = api
        .http
        .get(format!("{}/api/members/?aid=4", dev.url))
        .send()
        .await;
    assert_eq!(anonymous.expect("an answer").status(), 200);
}

#[cfg(target_os = "linux")]
#[test]
fn it_listens_on_loopback_only() {
    let folder = folder();
    let dev = Dev::start(folder.path(), &[]);
    let sockets = fs::read_to_string("/proc/net/tcp").expect("Linux lists sockets")
        + &fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    for port in dev.port..dev.port + 3 {
        // Columns: number, local address (in hexadecimal), remote address, state (0A listens).
        let listening: Vec<&str> = sockets
            .lines()
            .filter_map(|line| {
                let mut columns = line.split_whitespace().skip(1);
                let (local, _, state) = (columns.next()?, columns.next()?, columns.next()?);
                let here = local.ends_with(&format!(":{port:04X}")) && state == "0A";
                here.then_some(local)
            })
            .collect();
        assert_eq!(
            listening,
            [format!("0100007F:{port:04X}")],
            "127.0.0.1 and no other address"
        );
    }
}
