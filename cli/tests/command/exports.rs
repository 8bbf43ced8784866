//! `mpulse export`: the file that it downloads, and what becomes of an export whose local stack is killed.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use super::dev::{Api, Dev, GLANCE, KEY, PATIENCE, failed, folder, mpulse, run, succeeded};
use super::{sample, summary};

/// How often the local stack is killed while it exports.
const KILLS: u64 = 5;

/// Members whose rows fill two pieces of the file and a part of a third.
const PEOPLE: usize = 75_000;

#[tokio::test]
async fn a_downloaded_file_can_be_uploaded_again() {
    let folder = folder();
    let folder = folder.path();
    sample(folder, "roster.csv", &["300"]);
    let dev = Dev::start(folder, &[]);
    succeeded(&dev.upload(folder, "roster.csv", &[]));
    let export = |arguments: &[&str]| {
        let own = [
            "export",
            "--account",
            "4",
            "--url",
            &dev.url,
            "--data",
            "data",
        ];
        run(folder, &[&own, arguments].concat())
    };
    let text = succeeded(&export(&[]));
    assert!(
        text.starts_with("\u{FEFF}account_id,client_member_id,"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 301);
    assert_eq!(succeeded(&export(&["-o", "members.csv"])), "");
    let file = fs::read_to_string(folder.join("members.csv")).expect("a file");
    assert_eq!(file, text);
    succeeded(&export(&["-o", "members.xlsx", "--format", "xlsx"]));
    for file in ["members.csv", "members.xlsx"] {
        let printed = succeeded(&dev.upload(folder, file, &[]));
        assert_eq!(summary(&printed)["unchanged"], "300", "{file}: {printed}");
    }
    let own = [
        "export",
        "--account",
        "4~",
        "--url",
        &dev.url,
        "--data",
        "data",
    ];
    let error = failed(&run(folder, &own), 1);
    assert!(error.contains("account_id"), "{error}");
}

#[tokio::test]
async fn an_export_that_is_killed_five_times_has_every_member_once() {
    let folder = folder();
    let folder = folder.path();
    let mut rows = String::new();
    for person in 0..PEOPLE {
        // Long names, so that few rows fill a piece.
        let (first, last) = ("Zoë-".repeat(20), format!("{person:0>100}"));
        let phone = 2_000_000 + person;
        write!(rows, "4,c{person:06},{first},{last},+1714{phone}\r\n").expect("a string");
    }
    let header = "account_id,client_member_id,first_name,last_name,phone_number\r\n";
    fs::write(folder.join("roster.csv"), format!("{header}{rows}")).expect("a file");
    let mut dev = Dev::start(folder, &["--key", KEY]);
    let (port, api) = (dev.port, Api::new(&dev, KEY));
    let quick = ["--mode", "overwrite", "--key", KEY];
    let own = ["upload", "roster.csv", "--url", &dev.url];
    succeeded(&run(folder, &[&own, &quick[..]].concat()));

    let own = ["export", "--account", "4", "--url", &dev.url, "--key", KEY];
    let mut command = mpulse(folder, &[&own, &["-o", "members.csv"][..]].concat());
    let exporting = command.stderr(Stdio::piped()).spawn();
    let exporting = exporting.expect("mpulse export starts");
    let random = &mut Rng::with_seed(5);
    for kill in 1..=KILLS {
        // Each run that began was interrupted: so there is one more of them at each kill.
        let export = newest(&api, |export| export["attempts"] == kill).await;
        assert_eq!(export["status"], "processing", "before kill {kill}");
        tokio::time::sleep(Duration::from_millis(random.u64(20..700))).await;
        dev.process.kill();
        dev = Dev::start_on(port, folder, &["--key", KEY]).expect("it starts again");
    }
    let output = exporting.wait_with_output().expect("it ends");
    succeeded(&output);
    let export = newest(&api, |export| export["status"] == "completed").await;
    assert!(export["attempts"].as_u64() > Some(KILLS), "{export:#}");
    let file = fs::read_to_string(folder.join("members.csv")).expect("a file");
    assert!(
        file == format!("\u{FEFF}{header}{rows}"),
        "every row once, in order"
    );
}

/// Polls the newest export until `enough` holds.
async fn newest(api: &Api, enough: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut page = api.get("/api/exports?limit=1").await;
        let first = page["results"].get_mut(0);
        let export = first.map(Value::take).unwrap_or_default();
        if enough(&export) {
            return export;
        }
        assert!(Instant::now() < deadline, "waited too long for {export:#}");
        tokio::time::sleep(GLANCE).await;
    }
}
