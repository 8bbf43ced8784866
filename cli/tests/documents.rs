//! The lines of the documents, run as they are written: the `sh` blocks of README.md and
//! docs/api.md, in order, by one shell in an empty folder beside a fresh `mpulse dev`. The
//! answers that docs/api.md shows are held against those that come; `…` stands for anything.
//!
//! What differs from a newcomer's terminal: the port, `mpulse` in the place of
//! `cargo run -q --`, and that a reader's slowness is played by waiting until no batch is at
//! work between two blocks.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long the machine may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// What stands for anything in an answer.
const ANYTHING: &str = "…";

/// The shell's words before those of a document: curl that fails where it is refused, mpulse
/// for cargo, and the wait between blocks.
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
        "http://127.0.0.1:$PORT/api/members/batch" |
        grep -qE '"status":"(queued|processing|cancelling)"'; do
        sleep 0.1
    done
}
"#;

/// A machine whose data are in `.mpulse` of a folder. It ends with this.
struct Machine {
    child: Child,
    port: u16,
}

impl Machine {
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
        let machine = Self { child, port };
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&log)
            .expect("a log")
            .contains("is ready")
        {
            assert!(Instant::now() < deadline, "mpulse dev doesn't become ready");
            thread::sleep(Duration::from_millis(50));
        }
        machine
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port that is free, and so are the two above it.
fn free_ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = first.local_addr().expect("an address").port();
        let others = port < u16::MAX - 2
            && TcpListener::bind(("127.0.0.1", port + 1)).is_ok()
            && TcpListener::bind(("127.0.0.1", port + 2)).is_ok();
        if others {
            return port;
        }
    }
    panic!("no three free ports in a row");
}

/// A block of lines, and the answer that is shown beside it.
#[derive(Debug)]
struct Block {
    lines: String,
    answer: Option<Value>,
}

/// The `sh` blocks of a document behind a heading, each with the `json` block that follows it.
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

/// Runs blocks and gives what each printed.
fn run(folder: &Path, machine: &Machine, blocks: &[Block]) -> Vec<String> {
    let mut script = PRELUDE.to_owned();
    for (n, block) in blocks.iter().enumerate() {
        let lines = block
            .lines
            .replace("127.0.0.1:9000", &format!("127.0.0.1:{}", machine.port));
        script.extend(["settle\nexec > out-", &n.to_string(), "\n", &lines, "\n"]);
    }
    let ran = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .env("MPULSE", env!("CARGO_BIN_EXE_mpulse"))
        .env("MPULSE_URL", format!("http://127.0.0.1:{}", machine.port))
        .env("PORT", machine.port.to_string())
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

/// Whether an answer is the one shown. A field `…` stands for fields that aren't.
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

/// The answers of a block: each line of JSON, for they have no line ends.
fn problems(printed: &str) -> Vec<&str> {
    let is_problem = |line: &&str| line.contains("\"type\":\"/problems/");
    printed.lines().filter(is_problem).collect()
}

/// Runs a document and holds it against what it shows. What shows no answer must not be a
/// problem.
fn check(document: &str, behind: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::start(folder.path());
    let blocks = blocks(document, behind);
    assert!(blocks.len() > 5, "the document has blocks");
    let printed = run(folder.path(), &machine, &blocks);
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
fn the_lines_of_the_readme_do_what_it_says() {
    check(include_str!("../../README.md"), "\n## Use it\n");
}

#[test]
fn the_lines_of_the_api_by_example_are_answered_as_shown() {
    check(include_str!("../../docs/api.md"), "# The API by example\n");
}

#[test]
fn an_answer_fits_only_what_is_shown_of_it() {
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
