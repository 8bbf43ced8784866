//! Runs the lines of the documents as written: the `sh` blocks of README.md and docs/api.md, in
//! order, in one shell in an empty folder beside a fresh `mpulse dev`. The responses that
//! docs/api.md shows are compared with the actual ones; `…` matches anything.
//!
//! The differences to a user's terminal: the port, `mpulse` instead of `cargo run -q --`, and a
//! wait between two blocks until no batch and no export is running.
//!
//! docs/semantics.md names a test for each promise; every one of them has to exist.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest start of the local stack.
const PATIENCE: Duration = Duration::from_secs(30);

/// Matches anything in a response.
const ANYTHING: &str = "…";

/// Commands before those of a document: curl that fails if it cannot connect, mpulse instead of
/// cargo, and the wait between blocks.
const PRELUDE: &str = r#"
set -euo pipefail
curl() { command curl -sS --noproxy '*' "$@"; }
cargo() {
    while [ "$1" != -- ]; do shift; done
    shift
    case $1 in
        keys) "$MPULSE" "$@" --port "$PORT" ;;
        *) "$MPULSE" "$@" ;;
    esac
}
settle() {
    until ! command curl -sS --noproxy '*' -u "$(cat .mpulse/admin-key)" \
        "http://127.0.0.1:$PORT/api/members/batch" "http://127.0.0.1:$PORT/api/exports" |
        grep -qE '"status":"(queued|processing|cancelling)"'; do
        sleep 0.1
    done
}
"#;

/// A local stack with its data in `.mpulse` of a folder. It stops when this is dropped.
struct LocalStack {
    child: Child,
    port: u16,
}

impl LocalStack {
    fn start(folder: &Path) -> Self {
        let port = free_ports();
        let log = folder.join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_mpulse"))
            .args(["dev", "--port", &port.to_string()])
            .current_dir(folder)
            .stdout(fs::File::create(&log).expect("a log"))
            .stderr(Stdio::null())
            .spawn()
            .expect("mpulse starts");
        let local_stack = Self { child, port };
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&log)
            .expect("a log")
            .contains("is ready")
        {
            assert!(Instant::now() < deadline, "mpulse dev doesn't become ready");
            thread::sleep(Duration::from_millis(50));
        }
        local_stack
    }
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns a port that is free, and so are the three above it.
fn free_ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = first.local_addr().expect("an address").port();
        let is_free = |offset| {
            let port = port.checked_add(offset);
            port.is_some_and(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        };
        if (1..=3).all(is_free) {
            return port;
        }
    }
    panic!("no four free ports in a row");
}

/// A block of lines, and the response that is shown after it.
#[derive(Debug)]
struct Block {
    lines: String,
    answer: Option<Value>,
}

/// Returns the `sh` blocks of a document after a heading, each with the `json` block that follows
/// it.
fn blocks(document: &str, behind: &str) -> Vec<Block> {
    let (_, rest) = document.split_once(behind).expect("the heading");
    let mut blocks: Vec<Block> = Vec::new();
    let mut parts = rest.split("```");
    while let (Some(_), Some(block)) = (parts.next(), parts.next()) {
        let (kind, lines) = block.split_once('\n').expect("a kind of block");
        match kind {
            "sh" => blocks.push(Block {
                lines: lines.to_owned(),
                answer: None,
            }),
            "json" => {
                let block = blocks.last_mut().expect("an answer follows its request");
                block.answer = Some(serde_json::from_str(lines).expect("an answer is JSON"));
            }
            _ => {}
        }
    }
    blocks
}

/// Runs blocks and returns what each printed.
fn run(folder: &Path, local_stack: &LocalStack, blocks: &[Block]) -> Vec<String> {
    let mut script = PRELUDE.to_owned();
    for (n, block) in blocks.iter().enumerate() {
        let lines = block
            .lines
            .replace("127.0.0.1:9000", &format!("127.0.0.1:{}", local_stack.port));
        script.extend(["settle\nexec > out-", &n.to_string(), "\n", &lines, "\n"]);
    }
    let ran = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .env("MPULSE", env!("CARGO_BIN_EXE_mpulse"))
        .env(
            "MPULSE_URL",
            format!("http://127.0.0.1:{}", local_stack.port),
        )
        .env("PORT", local_stack.port.to_string())
        .output()
        .expect("bash runs");
    let printed: Vec<String> = (0..blocks.len())
        .map_while(|n| fs::read_to_string(folder.join(format!("out-{n}"))).ok())
        .collect();
    assert!(
        ran.status.success(),
        "{}: {}\nafter {:?}",
        ran.status,
        String::from_utf8_lossy(&ran.stderr),
        printed.last()
    );
    printed
}

/// Returns whether a response matches the shown one. A field `…` represents fields that are not
/// shown.
fn fits(shown: &Value, is: &Value) -> bool {
    match (shown, is) {
        (Value::String(text), _) if text == ANYTHING => !is.is_null(),
        (Value::Object(shown), Value::Object(is)) => {
            let open = shown.contains_key(ANYTHING);
            shown
                .iter()
                .filter(|(name, _)| *name != ANYTHING)
                .all(|(name, shown)| is.get(name).is_some_and(|is| fits(shown, is)))
                && (open || shown.len() == is.len())
        }
        (Value::Array(shown), Value::Array(is)) => {
            shown.len() == is.len() && shown.iter().zip(is).all(|(shown, is)| fits(shown, is))
        }
        _ => shown == is,
    }
}

/// Returns the problems in an output: each is a line of JSON.
fn problems(printed: &str) -> Vec<&str> {
    let is_problem = |line: &&str| line.contains("\"type\":\"/problems/");
    printed.lines().filter(is_problem).collect()
}

/// Runs a document and compares the responses. A block without a shown response must not return a
/// problem.
fn check(document: &str, behind: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let local_stack = LocalStack::start(folder.path());
    let blocks = blocks(document, behind);
    assert!(blocks.len() > 5, "the document has blocks");
    let printed = run(folder.path(), &local_stack, &blocks);
    for (block, printed) in blocks.iter().zip(&printed) {
        let lines = &block.lines;
        match &block.answer {
            Some(shown) => {
                // The last value: a block may print others before it.
                let values = serde_json::Deserializer::from_str(printed).into_iter::<Value>();
                let is = values
                    .last()
                    .expect("an answer")
                    .expect("the answer is JSON");
                assert!(fits(shown, &is), "{lines}\nshows {shown:#}\nand is {is:#}");
            }
            None => assert!(problems(printed).is_empty(), "{lines}\n{printed}"),
        }
    }
}

#[test]
fn the_lines_of_the_readme_work() {
    check(include_str!("../../README.md"), "\n## Use it\n");
}

#[test]
fn the_lines_of_the_api_page_return_the_shown_responses() {
    check(include_str!("../../docs/api.md"), "# The API by example\n");
}

#[test]
fn a_response_matches_only_what_is_shown() {
    let fits = |shown: &str, is: &str| {
        fits(
            &serde_json::from_str(shown).unwrap(),
            &serde_json::from_str(is).unwrap(),
        )
    };
    assert!(fits(r#"{"a": "…", "b": [1]}"#, r#"{"a": "x", "b": [1]}"#));
    assert!(fits(r#"{"a": 1, "…": "…"}"#, r#"{"a": 1, "b": 2}"#));
    assert!(!fits(r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#));
    assert!(!fits(r#"{"a": 1, "…": "…"}"#, r#"{"b": 2}"#));
    assert!(!fits(r#"{"a": "…"}"#, r#"{"a": null}"#));
    assert!(!fits("[1]", "[1, 2]"));
}

/// Returns the sources of Rust in a folder and the folders in it.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_test_that_the_pages_on_semantics_and_security_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in [
        "cli/tests",
        "functions/ingest/src",
        "shared/src",
        "tests/browser",
        "tests/stack",
        "tests/time",
    ] {
        sources(&root.join(folder), &mut files);
    }
    for page in ["docs/semantics.md", "docs/security.md"] {
        let page = fs::read_to_string(root.join(page)).expect("the page");
        check_names(&page, &files);
    }
}

/// Checks that the tests that a page names are in the files.
fn check_names(page: &str, files: &[PathBuf]) {
    // Names of tests are the only code of several words with underscores.
    let names: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.matches('_').count() >= 3 && !code.contains(' '))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let mut parts: Vec<&str> = name.split("::").filter(|part| *part != "tests").collect();
        let function = format!("fn {}(", parts.pop().expect("a name"));
        let file = parts.last().copied().unwrap_or("main");
        let exists = files.iter().any(|path| {
            path.file_stem().is_some_and(|stem| stem == file)
                && fs::read_to_string(path).is_ok_and(|text| text.contains(&function))
        });
        assert!(exists, "{name} does not exist in {file}.rs");
    }
}
