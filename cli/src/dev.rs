//! `mpulse dev`: the whole system on this machine, from the template that deploys it.
//!
//! The first start makes an admin key and keeps it beside the data, so that later starts
//! and `mpulse upload` find it. Standard output ends with a line that says it is ready;
//! a log of what happens goes to standard error.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use mpulse_local::faults::{self, Spec};
use mpulse_local::template::{Template, TemplateError};
use mpulse_local::{
    BUILT_IN_TEMPLATE, Data, LOG_FILTER, Machine, MachineError, Options, environment_for,
};
use mpulse_shared::access::{Key, Role, Secret};
use mpulse_shared::setup::{Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::credential::{Credential, DEFAULT_DATA, KeyFile, KeyFileError};
use crate::output::print;
use crate::signals::Signals;

/// Where the API is, unless told otherwise; S3 and the tables are on the next two ports.
pub const DEFAULT_PORT: u16 = 9000;

/// The highest port that leaves two above it.
pub const MAX_PORT: u16 = u16::MAX - 2;

/// The template that is read if it is in the current folder.
const TEMPLATE: &str = "template.yaml";

/// The id of the key that a first start makes.
const ADMIN: &str = "admin";

/// What is added to the machine's own filter: the engine warns of every condition that
/// doesn't hold and of tables that aren't there yet, which is how they are asked for.
const QUIET: &str = "dynoxide=error";

/// What `mpulse dev` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Logs go to standard error; RUST_LOG says how much (default: info).\n\n\
                  Example:\n  mpulse dev --port 9100 --parameter AnonymousReads=true"
)]
pub struct DevArgs {
    /// The API's port; 0 stands for any that is free.
    #[arg(long, help = "The API's port on 127.0.0.1; S3 is on the next, DynamoDB on the one after",
          default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(..=i64::from(MAX_PORT)))]
    pub port: u16,

    /// Where everything is kept
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DATA)]
    data: PathBuf,

    /// Keep nothing: start empty, and leave nothing behind
    #[arg(long, conflicts_with = "data")]
    ephemeral: bool,

    /// The admin key to use, instead of one that is made up
    #[arg(long, value_name = "ID:SECRET")]
    key: Option<Credential>,

    /// Where `cargo lambda watch` serves the functions, instead of in this process
    #[arg(long, value_name = "URL")]
    invoke: Option<String>,

    /// What goes wrong on purpose: shares of requests that fail, a budget of writes
    #[arg(long, value_name = "SPEC", long_help = faults::HELP)]
    faults: Option<Spec>,

    /// The template, instead of ./template.yaml or the one built in
    #[arg(long, value_name = "PATH")]
    template: Option<PathBuf>,

    /// A parameter of the template; may be given more than once
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
}

/// The machine didn't start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DevError {
    /// A template that was asked for, or is there, can't be read.
    #[error("can't read {path}")]
    Template {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The template says nothing that can be used.
    #[error(transparent)]
    Meaning(#[from] TemplateError),
    /// The machine itself.
    #[error("the machine can't start")]
    Machine(#[from] MachineError),
    /// The keys table's name or address is missing.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The admin key can't be stored.
    #[error("can't store the admin key")]
    Keys(#[from] StoreError),
    /// The admin key can't be kept.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The system gives no random numbers.
    #[error("no randomness for a secret")]
    Randomness(#[from] getrandom::Error),
    /// Signals can't be waited for, or standard output can't be written.
    #[error("the terminal")]
    Terminal(#[from] io::Error),
}

/// Runs the machine until it is told to stop, by Ctrl-C or SIGTERM.
///
/// # Errors
/// [`DevError`] where it doesn't start.
pub async fn run(args: DevArgs) -> Result<(), DevError> {
    log();
    let mut signals = Signals::new()?;
    let key_file = (!args.ephemeral).then(|| KeyFile::of(&args.data));
    let options = Options {
        template: template(args.template.as_deref())?,
        parameters: args.parameters.into_iter().collect::<HashMap<_, _>>(),
        data: if args.ephemeral {
            Data::Ephemeral
        } else {
            Data::Folder(args.data)
        },
        port: args.port,
        invoke: args.invoke,
        faults: args.faults,
    };
    // A signal while it starts ends the process, as it would before: nothing is under way.
    let machine = tokio::select! {
        machine = Machine::start(options) => machine?,
        () = signals.next() => return Ok(()),
    };
    let ready = announce(&machine, args.key, key_file.as_ref()).await;
    if ready.is_ok() {
        signals.next().await;
        tracing::info!("stopping");
    }
    tokio::select! {
        () = machine.stop() => {}
        () = signals.next() => tracing::warn!("stopped at once"),
    }
    ready
}

/// Sees to the admin key and says that the machine is ready.
async fn announce(
    machine: &Machine,
    fixed: Option<Credential>,
    file: Option<&KeyFile>,
) -> Result<(), DevError> {
    let keys = Keys::from_setup(&machine.setup())?;
    let credential = admin_key(&keys, fixed, file).await?;
    let places = Places {
        api: machine.api_url(),
        s3: machine.s3_url(),
        dynamodb: machine.dynamodb_url(),
        faults: faults_of(machine),
    };
    Ok(print(&places.announcement(&credential))?)
}

/// What goes wrong on purpose, with the seed that repeats it, and where.
fn faults_of(machine: &Machine) -> Option<String> {
    let (faults, [dynamodb, s3]) = machine.faults().zip(machine.faulty_urls())?;
    let spec = faults.spec();
    Some(format!("With faults {spec}: DynamoDB {dynamodb}, S3 {s3}"))
}

/// The admin key: the one that was asked for, the one of earlier starts, or a new one. In
/// the end it is in the table and, where data are kept, in the file.
async fn admin_key(
    keys: &Keys,
    fixed: Option<Credential>,
    file: Option<&KeyFile>,
) -> Result<Credential, DevError> {
    let kept = match (&fixed, file) {
        (None, Some(file)) => file.read()?,
        _ => None,
    };
    let was_fixed = fixed.is_some();
    let wanted = match fixed.or(kept) {
        Some(credential) => credential,
        None => new_credential()?,
    };
    let (credential, store) = match decide(was_fixed, keys.get(&wanted.id).await?, &wanted) {
        Step::Keep => (wanted, false),
        Step::Store => (wanted, true),
        Step::Renew => (new_credential()?, true),
    };
    if store {
        let secret = Secret::from_text(credential.secret.clone());
        let key = Key::new(
            credential.id.clone(),
            &secret,
            Role::Admin,
            Timestamp::now(),
        );
        keys.replace(&key).await?;
        tracing::info!(key_id = %credential.id, "stored the admin key");
    }
    if let Some(file) = file.filter(|_| store || was_fixed) {
        file.write(&credential)?;
    }
    Ok(credential)
}

/// What to do about the admin key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The table has it.
    Keep,
    /// Put it into the table.
    Store,
    /// Make a new one: somebody revoked this one, and that stands.
    Renew,
}

fn decide(was_fixed: bool, stored: Option<Key>, wanted: &Credential) -> Step {
    let Some(stored) = stored else {
        return Step::Store;
    };
    if stored.revoked_at.is_some() {
        return if was_fixed { Step::Store } else { Step::Renew };
    }
    let same = stored.secret_hash == Secret::from_text(wanted.secret.clone()).hash();
    if same && stored.role == Role::Admin {
        Step::Keep
    } else {
        Step::Store
    }
}

fn new_credential() -> Result<Credential, getrandom::Error> {
    Ok(Credential {
        id: ADMIN.parse().expect("letters make an id"),
        secret: Secret::generate()?.reveal().to_owned(),
    })
}

/// Where the parts of the machine are.
struct Places {
    api: String,
    s3: String,
    dynamodb: String,
    /// A line on what goes wrong on purpose.
    faults: Option<String>,
}

impl Places {
    /// What a start says on standard output. The `curl` lines work as they stand.
    fn announcement(&self, credential: &Credential) -> String {
        let Self {
            api, s3, dynamodb, ..
        } = self;
        let user = quoted(&format!("{}:{}", credential.id, credential.secret));
        let find = quoted(&format!("{api}/api/members/?aid=4"));
        let create = quoted(&format!("{api}/api/members/"));
        let member = r#"{"account_id": "4", "client_member_id": "5622780", "first_name": "Zoë", "last_name": "Brien", "phone_number": "(714) 555-0123"}"#;
        let mut text = String::new();
        let engines = format!("API and console {api}, S3 {s3}, DynamoDB {dynamodb}");
        let lines = [
            String::new(),
            "Create a member:".to_owned(),
            format!("curl -u {user} -H 'content-type: application/json' -d '{member}' {create}"),
            String::new(),
            "Find the members of an account:".to_owned(),
            format!("curl -u {user} {find}"),
            String::new(),
            format!("mpulse is ready on {api}"),
        ];
        let first = [Some(&engines), self.faults.as_ref()];
        for line in first.into_iter().flatten().chain(&lines) {
            writeln!(text, "{line}").expect("writing to a string can't fail");
        }
        text
    }
}

/// The text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The settings that the functions of the machine on that port have, for a process beside
/// it. The template is the one that a machine started from here would read.
///
/// # Errors
/// Where the template can't be read.
pub fn setup(port: u16) -> Result<Setup, DevError> {
    Ok(Setup::new(environment(port)?))
}

/// The same as plain variables.
///
/// # Errors
/// Where the template can't be read.
pub fn environment(port: u16) -> Result<HashMap<String, String>, DevError> {
    let template = Template::parse(&template(None)?, &HashMap::new())?;
    let url = |offset: u16| format!("http://127.0.0.1:{}", u32::from(port) + u32::from(offset));
    Ok(environment_for(&template, &url(2), &url(1)))
}

/// The template to use: the one asked for, the one at hand, or the one built in.
fn template(asked: Option<&Path>) -> Result<String, DevError> {
    let path = asked.unwrap_or(Path::new(TEMPLATE));
    match std::fs::read_to_string(path) {
        Ok(text) => {
            tracing::info!(template = %path.display(), "read the template");
            Ok(text)
        }
        Err(error) if asked.is_none() && error.kind() == ErrorKind::NotFound => {
            tracing::info!(template = "built in", "no template.yaml here");
            Ok(BUILT_IN_TEMPLATE.to_owned())
        }
        Err(source) => Err(DevError::Template {
            path: path.to_owned(),
            source,
        }),
    }
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE"),
    }
}

/// Starts logging to standard error, in colour on a terminal.
fn log() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{LOG_FILTER},{QUIET}")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(text: &str) -> Credential {
        text.parse().unwrap()
    }

    fn stored(secret: &str, role: Role, revoked: bool) -> Key {
        let now = Timestamp::from_millis(1000);
        let secret = Secret::from_text(secret.into());
        Key {
            revoked_at: revoked.then_some(now),
            ..Key::new(ADMIN.parse().unwrap(), &secret, role, now)
        }
    }

    #[test]
    fn the_key_is_stored_where_it_is_not_already() {
        let wanted = credential("admin:one");
        for fixed in [false, true] {
            assert_eq!(decide(fixed, None, &wanted), Step::Store);
            assert_eq!(
                decide(fixed, Some(stored("one", Role::Admin, false)), &wanted),
                Step::Keep
            );
            assert_eq!(
                decide(fixed, Some(stored("two", Role::Admin, false)), &wanted),
                Step::Store
            );
            assert_eq!(
                decide(fixed, Some(stored("one", Role::Reader, false)), &wanted),
                Step::Store
            );
        }
    }

    #[test]
    fn a_revoked_key_comes_back_only_if_asked_for() {
        let wanted = credential("admin:one");
        let revoked = || Some(stored("one", Role::Admin, true));
        assert_eq!(decide(false, revoked(), &wanted), Step::Renew);
        assert_eq!(decide(true, revoked(), &wanted), Step::Store);
    }

    #[test]
    fn the_last_line_says_that_it_is_ready() {
        let places = Places {
            api: "http://127.0.0.1:9000".into(),
            s3: "http://127.0.0.1:9001".into(),
            dynamodb: "http://127.0.0.1:9002".into(),
            faults: Some("With faults seed=7: …".into()),
        };
        let text = places.announcement(&credential("admin:sec-ret_1"));
        assert_eq!(text.lines().nth(1), places.faults.as_deref());
        assert_eq!(
            text.lines().last(),
            Some("mpulse is ready on http://127.0.0.1:9000")
        );
        assert!(text.lines().any(|line| {
            line == "curl -u admin:sec-ret_1 'http://127.0.0.1:9000/api/members/?aid=4'"
        }));
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("admin:a-b_c"), "admin:a-b_c");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn parameters_are_name_and_value() {
        assert_eq!(
            parameter("A=b=c").unwrap(),
            ("A".to_owned(), "b=c".to_owned())
        );
        assert_eq!(parameter("A=").unwrap().1, "");
        assert!(parameter("=b").is_err() && parameter("A").is_err());
    }
}
