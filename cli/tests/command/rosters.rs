//! `mpulse upload --dry-run` and `--replace`, and `mpulse apply`, `changes` and `revert`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::dev::{Api, Dev, failed, folder, mpulse, run, succeeded};
use super::{ids_in, sample, summary};

/// The exit code of a plan with changes.
const HAS_CHANGES: i32 = 3;

const ACCOUNT: &str = "aid=4";

/// A local stack with a roster of 200 members in account 4.
struct Loaded {
    folder: tempfile::TempDir,
    dev: Dev,
    api: Api,
    /// The rows of the roster, without its header.
    rows: Vec<String>,
    /// The batch that loaded it.
    batch: String,
}

impl Loaded {
    fn new() -> Self {
        let folder = folder();
        let roster = sample(folder.path(), "roster.csv", &["200"]);
        let dev = Dev::start(folder.path(), &[]);
        let printed = succeeded(&dev.upload(folder.path(), "roster.csv", &[]));
        let text = fs::read_to_string(roster).expect("a sample is text");
        Self {
            batch: summary(&printed)["batch"].to_owned(),
            rows: text.lines().skip(1).map(str::to_owned).collect(),
            api: Api::new(&dev, &dev.key()),
            dev,
            folder,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes rows as a file of this name. Returns the ids of its members, sorted.
    fn write(&self, name: &str, rows: &[String]) -> Vec<String> {
        let roster = fs::read_to_string(self.path().join("roster.csv")).expect("a sample");
        let header = roster.lines().next().expect("a header");
        let path = self.path().join(name);
        fs::write(&path, format!("{header}\n{}\n", rows.join("\n"))).expect("a file");
        ids_in(&path)
    }

    /// Writes the next day's roster: without the first ten members, five with another last name, and three new ones.
    fn write_next(&self) -> Vec<String> {
        let mut rows = self.rows[10..].to_vec();
        for row in &mut rows[..5] {
            *row = renamed(row);
        }
        for new in 0..3 {
            rows.push(format!("4,new{new},Ann,Lee,714555019{new}"));
        }
        self.write("next.csv", &rows)
    }

    /// Runs `mpulse upload` of the account's roster.
    fn replace(&self, file: &str, arguments: &[&str]) -> Output {
        let replace = ["--replace", "--account", "4"];
        let arguments = [&replace, arguments].concat();
        self.dev.upload(self.path(), file, &arguments)
    }

    /// Runs another command of this batch.
    fn command(&self, command: &str, batch: &str, arguments: &[&str]) -> Output {
        let own = [command, batch, "--url", &self.dev.url, "--data", "data"];
        run(self.path(), &[&own, arguments].concat())
    }

    async fn ids(&self) -> Vec<String> {
        let mut ids = self.api.ids(ACCOUNT).await;
        ids.sort_unstable();
        ids
    }

    /// Returns all members with their values, without who wrote them and when.
    async fn members(&self) -> Vec<[String; 4]> {
        let page = self.api.get(&format!("/api/members/?limit=1000&{ACCOUNT}"));
        let page = page.await;
        let results = page["results"].as_array().expect("results");
        let mut members: Vec<[String; 4]> = results
            .iter()
            .map(|member| {
                ["id", "first_name", "last_name", "phone_number"]
                    .map(|field| member[field].as_str().expect("a text").to_owned())
            })
            .collect();
        members.sort_unstable();
        members
    }
}

/// Returns a row of a sample with another last name.
fn renamed(row: &str) -> String {
    let mut fields: Vec<&str> = row.split(',').collect();
    fields[3] = "Renamed";
    fields.join(",")
}

/// Returns the output of a plan with changes.
#[track_caller]
fn plan(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(HAS_CHANGES), "{errors}");
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

#[tokio::test]
async fn a_dry_run_shows_a_plan_that_can_be_applied_once() {
    let loaded = Loaded::new();
    let next = loaded.write_next();
    let before = loaded.members().await;

    let output = loaded.replace("next.csv", &["--dry-run", "--detailed-exit-code"]);
    let printed = plan(&output);
    let counters = "+ 3 created  ~ 5 updated  - 10 removed  = 185 unchanged\n";
    let (report, plan) = printed.split_once(counters).expect("counters");
    let changes: Vec<&str> = plan
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    let signs: String = changes.iter().map(|line| &line[..1]).collect();
    assert_eq!(signs, "----------~~~~~+++", "{plan}");
    assert!(changes[10].contains("last_name "), "{}", changes[10]);
    assert!(changes[10].ends_with(" → Renamed"), "{}", changes[10]);
    assert!(
        changes[15].starts_with("+ 4~new0  Ann Lee  +1714"),
        "{}",
        changes[15]
    );
    assert!(plan.contains("to apply it costs about $0.0"), "{plan}");
    let report = summary(report);
    assert_eq!(
        (report["status"], report["read"], report["absent"]),
        ("completed", "193", "10")
    );
    assert_eq!(loaded.members().await, before, "nothing was written");

    // Without --detailed-exit-code the plan is a success.
    let also = succeeded(&loaded.replace("next.csv", &["--dry-run"]));
    assert!(also.contains(counters), "{also}");

    let batch = report["batch"];
    let applied = succeeded(&loaded.command("apply", batch, &[]));
    let applied = summary(&applied);
    assert_eq!(
        [
            "created",
            "updated",
            "removed",
            "unchanged",
            "absent",
            "read"
        ]
        .map(|label| applied[label]),
        ["3", "5", "10", "185", "10", "193"]
    );
    assert_eq!(loaded.ids().await, next);

    let again = failed(&loaded.command("apply", batch, &[]), 1);
    assert!(again.contains(applied["batch"]), "names the child: {again}");
    let output = loaded.replace("next.csv", &["--dry-run", "--detailed-exit-code"]);
    let printed = succeeded(&output);
    let none = "+ 0 created  ~ 0 updated  - 0 removed  = 193 unchanged\n";
    assert!(printed.contains(none), "{printed}");
}

#[tokio::test]
async fn a_plan_is_applied_without_a_question_if_the_arguments_say_so() {
    let loaded = Loaded::new();
    let next = loaded.write_next();
    let output = succeeded(&loaded.replace("next.csv", &["--dry-run", "--yes"]));
    assert!(output.contains("- 10 removed"), "{output}");
    // The report of the batch that applied it is the last one.
    assert_eq!(summary(&output)["removed"], "10", "{output}");
    assert_eq!(loaded.ids().await, next);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_person_is_asked_whether_to_apply_a_plan() {
    // It runs a command on a terminal of its own, and sends the answer as if it was typed.
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("script is not installed here");
        return;
    }
    let loaded = Loaded::new();
    let next = loaded.write_next();
    let before = loaded.ids().await;
    let answered = |answer: &str| {
        let line = format!(
            "{} upload next.csv --replace --account 4 --dry-run --url {} --data data",
            env!("CARGO_BIN_EXE_mpulse"),
            loaded.dev.url
        );
        fs::write(loaded.path().join("answer"), answer).expect("a file");
        let answer = fs::File::open(loaded.path().join("answer")).expect("a file");
        let output = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(loaded.path())
            .env_remove("MPULSE_KEY")
            .stdin(Stdio::from(answer))
            .output()
            .expect("script runs");
        succeeded(&output)
    };
    let no = answered("n\n");
    assert!(no.contains("Apply this plan? [y/N]"), "{no}");
    assert!(no.contains("not applied"), "{no}");
    assert_eq!(loaded.ids().await, before);
    let yes = answered("y\n");
    assert!(yes.contains("- 10 removed"), "{yes}");
    assert_eq!(loaded.ids().await, next, "{yes}");
}

#[tokio::test]
async fn more_removals_than_the_limit_fail() {
    let loaded = Loaded::new();
    let before = loaded.ids().await;
    let fewer = loaded.write("fewer.csv", &loaded.rows[60..]);

    for dry_run in [&["--dry-run"][..], &["--dry-run", "--yes"], &[]] {
        let output = loaded.replace("fewer.csv", dry_run);
        failed(&output, 1);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("removal_limit_exceeded"), "{printed}");
        assert!(printed.contains("60"), "{printed}");
        assert_eq!(loaded.ids().await, before);
    }
    let output = loaded.replace("fewer.csv", &["--removal-limit", "59"]);
    failed(&output, 1);
    succeeded(&loaded.replace("fewer.csv", &["--removal-limit", "30%"]));
    assert_eq!(loaded.ids().await, fewer);
}

#[tokio::test]
async fn rows_whose_id_cannot_be_read_protect_everybody_unless_the_arguments_say_otherwise() {
    let loaded = Loaded::new();
    let before = loaded.ids().await;
    let mut rows = loaded.rows[1..].to_vec();
    let fewer = loaded.write("fewer.csv", &rows);
    rows.push("4,,Ann,Lee,7145550123".to_owned());
    loaded.write("unreadable.csv", &rows);

    let output = loaded.replace("unreadable.csv", &[]);
    failed(&output, 1);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("unreadable_rows"), "{printed}");
    assert_eq!(loaded.ids().await, before);

    let output = loaded.replace("unreadable.csv", &["--despite-unreadable-rows"]);
    let printed = succeeded(&output);
    assert_eq!(summary(&printed)["removed"], "1", "{printed}");
    assert_eq!(loaded.ids().await, fewer);
}

#[tokio::test]
async fn changes_are_downloaded() {
    let loaded = Loaded::new();
    loaded.write_next();
    let printed = succeeded(&loaded.replace("next.csv", &[]));
    let summary = summary(&printed);
    assert!(
        summary["changes"].starts_with("mpulse changes 01"),
        "{printed}"
    );
    let batch = summary["batch"];

    let text = succeeded(&loaded.command("changes", batch, &[]));
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("\u{FEFF}line,change,account_id,"),
        "{text}"
    );
    assert_eq!(lines.len(), 1 + 18);
    let removed = lines[9..]
        .iter()
        .all(|line| line.starts_with(",removed,4,"));
    assert!(removed, "{text}");

    let silent = loaded.command("changes", batch, &["-o", "changes.csv"]);
    assert_eq!(succeeded(&silent), "");
    let file = fs::read_to_string(loaded.path().join("changes.csv")).expect("a file");
    assert_eq!(file, text);

    // Nothing changed, or nothing was recorded.
    for arguments in [&[][..], &["--no-changes", "--dry-run"]] {
        let printed = succeeded(&loaded.replace("next.csv", arguments));
        let batch = super::summary(&printed)["batch"];
        failed(&loaded.command("changes", batch, &["-o", "none.csv"]), 1);
        assert!(!loaded.path().join("none.csv").exists());
    }
}

#[tokio::test]
async fn a_batch_and_its_revert_are_reverted() {
    let loaded = Loaded::new();
    loaded.write_next();
    let before = loaded.members().await;
    let printed = succeeded(&loaded.replace("next.csv", &[]));
    let batch = summary(&printed)["batch"];
    let after = loaded.members().await;

    let unasked = loaded.command("revert", batch, &[]);
    assert!(failed(&unasked, 2).contains("--yes"));
    let intent = String::from_utf8_lossy(&unasked.stdout);
    for line in ["  - 3 removed:", "  ~ 5 updated:", "  + 10 created:"] {
        assert!(intent.contains(line), "{intent}");
    }
    assert_eq!(loaded.members().await, after, "nothing was reverted");

    let printed = succeeded(&loaded.command("revert", batch, &["--yes"]));
    let counters = |printed: &str| {
        let summary = summary(printed);
        ["created", "updated", "removed", "superseded"].map(|label| summary[label].to_owned())
    };
    assert_eq!(counters(&printed), ["10", "5", "3", "0"], "{printed}");
    assert_eq!(loaded.members().await, before);

    let revert = summary(&printed)["batch"];
    let printed = succeeded(&loaded.command("revert", revert, &["--yes"]));
    assert_eq!(counters(&printed), ["3", "5", "10", "0"], "{printed}");
    assert_eq!(loaded.members().await, after);

    // The first load can be reverted too, but for the members that the later batches wrote.
    let printed = succeeded(&loaded.command("revert", &loaded.batch, &["--yes"]));
    assert_eq!(counters(&printed)[2], "185", "{printed}");
    assert_eq!(loaded.members().await.len(), 8);
}

#[test]
fn what_cannot_be_reverted_or_applied_says_why() {
    let loaded = Loaded::new();
    loaded.write_next();
    let printed = succeeded(&loaded.replace("next.csv", &["--dry-run"]));
    let dry_run = summary(&printed)["batch"];
    let error = failed(&loaded.command("revert", dry_run, &["--yes"]), 1);
    assert!(error.contains("dry run"), "{error}");
    failed(&loaded.command("apply", &loaded.batch, &[]), 1);
    let printed = succeeded(&loaded.dev.upload(loaded.path(), "roster.csv", &[]));
    let unchanged = summary(&printed)["batch"];
    let error = failed(&loaded.command("revert", unchanged, &["--yes"]), 1);
    assert!(error.contains("changed nothing"), "{error}");
    let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for command in ["apply", "changes", "revert"] {
        let error = failed(&loaded.command(command, unknown, &[]), 1);
        assert!(error.contains("404"), "{error}");
    }
}

#[test]
fn invalid_arguments_are_refused_before_anything_is_sent() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("next.csv"), "x\n").expect("a file");
    // Nothing listens there.
    let to = ["--url", "http://127.0.0.1:9", "--key", "ops:secret"];
    for arguments in [
        &["upload", "next.csv", "--replace"][..],
        &["upload", "next.csv", "--mode", "replace"],
        &["upload", "next.csv", "--removal-limit", "5%"],
        &[
            "upload",
            "next.csv",
            "--account",
            "4",
            "--replace",
            "--removal-limit",
            "101%",
        ],
        &["upload", "next.csv", "--despite-unreadable-rows"],
        &["upload", "next.csv", "--yes"],
        &["upload", "next.csv", "--detailed-exit-code"],
        &["upload", "next.csv", "--mode", "revert"],
        &["apply", "next.csv"],
        &["changes", "01K"],
        &["revert", ""],
    ] {
        let output = mpulse(folder, arguments).args(to).output();
        failed(&output.expect("mpulse runs"), 2);
    }
}
