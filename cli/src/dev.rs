//! `mpulse dev`: runs the local stack, from the template that deploys the system.
//!
//! The first start creates an admin key and stores it beside the data, so that later starts and
//! `mpulse upload` find it. The last line on standard output says that the stack is ready; the log
//! goes to standard error.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use mpulse_local::faults::{self, Spec};
use mpulse_local::template::{Template, TemplateError};
use mpulse_local::{
    BUILT_IN_TEMPLATE, Data, EVENTS_OFFSET, Endpoints, LOG_FILTER, LocalStack, LocalStackError,
    Options, environment_for,
};
use mpulse_shared::key::{Key, Role, Secret};
use mpulse_shared::setup::{FromSetup, Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::credential::{Credential, DEFAULT_DATA, KeyFile, KeyFileError};
use crate::output::print;
use crate::signals::Signals;

/// The default port of the API; S3, DynamoDB and EventBridge use the next ports.
pub const DEFAULT_PORT: u16 = 9000;

/// The highest port with enough ports above it.
pub const MAX_PORT: u16 = u16::MAX - EVENTS_OFFSET;

/// The template in the current folder.
const TEMPLATE: &str = "template.yaml";

/// The id of the key that a first start creates.
const ADMIN: &str = "admin";

/// The arguments of `mpulse dev`.
#[derive(Debug, Args)]
#[command(
    after_help = "Logs go to standard error; RUST_LOG sets the level (default: info).\n\n\
                  Example:\n  mpulse dev --port 9100 --parameter AnonymousReads=true"
)]
pub struct DevArgs {
    /// The API's port; 0 selects any free one.
    #[arg(long, help = "The API's port on 127.0.0.1; S3, DynamoDB and EventBridge are on the next three",
          default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(..=i64::from(MAX_PORT)))]
    pub port: u16,

    /// The data folder
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DATA)]
    data: PathBuf,

    /// Start empty, and delete all data at the end
    #[arg(long, conflicts_with = "data")]
    ephemeral: bool,

    /// The admin key to use (ID:SECRET); generated if not given
    #[arg(long, value_name = "ID:SECRET")]
    key: Option<Credential>,

    /// Invoke functions at this URL (`cargo lambda watch`) instead of in this process
    #[arg(long, value_name = "URL")]
    invoke: Option<String>,

    /// Inject faults: failing requests, throttling, a budget of write units
    #[arg(long, value_name = "SPEC", long_help = faults::HELP)]
    faults: Option<Spec>,

    /// Send events to this URL, by POST
    #[arg(long, value_name = "URL")]
    events_to: Option<String>,

    /// The template to run [default: ./template.yaml, or the built-in one]
    #[arg(long, value_name = "PATH")]
    template: Option<PathBuf>,

    /// Set a parameter of the template; may be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
}

/// The local stack did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DevError {
    /// The template cannot be read.
    #[error("cannot read {path}")]
    Template {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The template is invalid.
    #[error(transparent)]
    Meaning(#[from] TemplateError),
    /// The local stack failed to start.
    #[error("the local stack cannot start")]
    LocalStack(#[from] LocalStackError),
    /// The keys table's name or address is missing.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The admin key cannot be stored in its table.
    #[error("cannot store the admin key")]
    Keys(#[from] StoreError),
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The system's random source fails.
    #[error("cannot generate a secret")]
    Randomness(#[from] getrandom::Error),
    /// Signals cannot be received, or standard output cannot be written.
    #[error("the terminal")]
    Terminal(#[from] io::Error),
}

/// Runs the local stack until Ctrl-C or SIGTERM.
///
/// # Errors
/// Returns [`DevError`] if it does not start.
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
        engines: None,
        port: args.port,
        invoke: args.invoke,
        faults: args.faults,
        events_to: args.events_to,
    };
    // A signal during the start ends the process as usual: nothing is in progress yet.
    let local_stack = tokio::select! {
        local_stack = LocalStack::start(options) => local_stack?,
        () = signals.next() => return Ok(()),
    };
    let ready = announce(&local_stack, args.key, key_file.as_ref()).await;
    if ready.is_ok() {
        signals.next().await;
        tracing::info!("stopping");
    }
    tokio::select! {
        () = local_stack.stop() => {}
        () = signals.next() => tracing::warn!("stopped immediately"),
    }
    ready
}

/// Stores the admin key, and prints that the local stack is ready.
async fn announce(
    local_stack: &LocalStack,
    fixed: Option<Credential>,
    file: Option<&KeyFile>,
) -> Result<(), DevError> {
    let keys = Keys::from_setup(&local_stack.setup())?;
    let credential = admin_key(&keys, fixed, file).await?;
    let places = Places {
        api: local_stack.api_url(),
        endpoints: local_stack.endpoints(),
        faults: faults_of(local_stack),
    };
    Ok(print(&places.announcement(&credential))?)
}

/// Returns the injected faults, with the seed that repeats them, and the URLs of the proxies.
fn faults_of(local_stack: &LocalStack) -> Option<String> {
    let faults = local_stack.faults()?;
    let Endpoints { dynamodb, s3, .. } = local_stack.faulty_endpoints()?;
    let spec = faults.spec();
    Some(format!("With faults {spec}: DynamoDB {dynamodb}, S3 {s3}"))
}

/// Returns the admin key: the given one, that of earlier starts, or a new one. Afterwards it is in
/// the table and, unless ephemeral, in the file.
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

/// What to do with the admin key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is in the table.
    Keep,
    /// Store it in the table.
    Store,
    /// Create a new one: this one was revoked.
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

/// The addresses of the local stack.
struct Places {
    api: String,
    endpoints: Endpoints,
    /// A line about injected faults.
    faults: Option<String>,
}

impl Places {
    /// The text on standard output after the start. The `curl` lines work as printed.
    fn announcement(&self, credential: &Credential) -> String {
        let api = &self.api;
        let Endpoints {
            s3,
            dynamodb,
            events,
        } = &self.endpoints;
        let user = quoted(&format!("{}:{}", credential.id, credential.secret));
        let find = quoted(&format!("{api}/api/members/?aid=4"));
        let create = quoted(&format!("{api}/api/members/"));
        let member = r#"{"account_id": "4", "client_member_id": "5622780", "first_name": "Zoë", "last_name": "Brien", "phone_number": "(714) 555-0123"}"#;
        let mut text = String::new();
        let engines =
            format!("API and console {api}, S3 {s3}, DynamoDB {dynamodb}, EventBridge {events}");
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

/// Quotes text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Returns the settings of the functions of the local stack on a port, for another process. The
/// template is the one that a stack started here would read.
///
/// # Errors
/// Returns an error if the template cannot be read.
pub fn setup(port: u16) -> Result<Setup, DevError> {
    Ok(Setup::new(environment(port)?))
}

/// Like [`setup`], as plain variables.
///
/// # Errors
/// Returns an error if the template cannot be read.
pub fn environment(port: u16) -> Result<HashMap<String, String>, DevError> {
    let template = Template::parse(&template(None)?, &HashMap::new())?;
    Ok(environment_for(&template, &Endpoints::beside(port)))
}

/// Returns the template to use: the given one, the one in the current folder, or the built-in one.
fn template(asked: Option<&Path>) -> Result<String, DevError> {
    let path = asked.unwrap_or(Path::new(TEMPLATE));
    match std::fs::read_to_string(path) {
        Ok(text) => {
            tracing::info!(template = %path.display(), "read the template");
            Ok(text)
        }
        Err(error) if asked.is_none() && error.kind() == ErrorKind::NotFound => {
            tracing::info!(
                template = "built in",
                "there is no template.yaml in this folder"
            );
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
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
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
            endpoints: Endpoints::beside(9000),
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
