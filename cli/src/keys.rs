//! `mpulse keys`: creates, lists and revokes access keys directly in their table. The first key is
//! created this way; later an admin key can do the same over REST.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;

use clap::{Args, Subcommand};
use mpulse_shared::key::{Key, KeyId, Role, Secret};
use mpulse_shared::member::AccountId;
use mpulse_shared::scope::{MAX_ACCOUNTS, Scope};
use mpulse_shared::setup::{FromSetup, Setup, SetupError};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;
use thiserror::Error;

use crate::aws_environment::{self, AwsEnvironmentError};
use crate::dev::{self, DEFAULT_PORT, DevError, MAX_PORT};
use crate::output::print;

/// Random bytes in a generated id.
const ID_BYTES: usize = 4;

/// The arguments of `mpulse keys`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mpulse keys create --id ops --role writer\n  \
                  mpulse keys create --role reader --accounts 4,5\n  \
                  mpulse keys --table mpulse-KeysTable-1ABC list"
)]
pub struct KeysArgs {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The port of `mpulse dev` on this computer
    #[arg(long, global = true, default_value_t = DEFAULT_PORT, conflicts_with = "table",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PORT)))]
    port: u16,

    /// A table on AWS (the output `KeysTableName` of the stack), with your AWS credentials
    #[arg(long, global = true, value_name = "NAME")]
    table: Option<String>,

    /// The endpoint of the table, if it is not on AWS.
    #[arg(
        long,
        help = "A DynamoDB-compatible endpoint that has the table",
        global = true,
        value_name = "URL",
        requires = "table"
    )]
    endpoint: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a key and print it once, as ID:SECRET
    #[command(after_help = "Example:\n  mpulse keys create --id ops --role writer")]
    Create {
        /// The id; generated if not given
        #[arg(long)]
        id: Option<KeyId>,
        /// The role: reader, writer or admin
        #[arg(long)]
        role: Role,
        /// The accounts that the key has access to, such as 4,5; all accounts if not given
        #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = account)]
        accounts: Vec<AccountId>,
    },
    /// List the keys, oldest first
    #[command(after_help = "Example:\n  mpulse keys list")]
    List,
    /// Revoke a key: it is invalid from now on
    #[command(after_help = "Example:\n  mpulse keys revoke ops")]
    Revoke {
        /// The id of the key
        id: KeyId,
    },
}

/// Keys could not be changed or listed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The settings of the local stack cannot be read from the template.
    #[error(transparent)]
    LocalStack(#[from] DevError),
    /// The template has no keys table.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// There are no AWS credentials, or there is no region.
    #[error(transparent)]
    AwsEnvironment(#[from] AwsEnvironmentError),
    /// The table cannot be reached.
    #[error("cannot reach {place}{hint}")]
    Unreachable {
        /// The table.
        place: String,
        /// A hint.
        hint: &'static str,
        /// The cause.
        source: StoreError,
    },
    /// The table responded with an error.
    #[error("request to {place} failed")]
    Store {
        /// The table.
        place: String,
        /// The cause.
        source: StoreError,
    },
    /// The id exists.
    #[error("the key {0} already exists; the ids of revoked keys stay reserved")]
    Taken(KeyId),
    /// Too many accounts.
    #[error("a key can be bound to at most {MAX_ACCOUNTS} accounts")]
    TooManyAccounts,
    /// The id does not exist.
    #[error("the key {0} does not exist")]
    Unknown(KeyId),
    /// The system's random source fails.
    #[error("cannot generate a secret")]
    Randomness(#[from] getrandom::Error),
    /// Standard output cannot be written.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
}

/// Runs the command.
///
/// # Errors
/// Returns [`KeysError`].
pub async fn run(args: KeysArgs) -> Result<(), KeysError> {
    let keys = args.place.keys()?;
    let failed = |source| args.place.error(source);
    match args.action {
        Action::Create { id, role, accounts } => {
            let accounts = scope(accounts)?;
            let id = match id {
                Some(id) => id,
                None => some_id(role)?,
            };
            let secret = Secret::generate()?;
            let key = Key::new(id.clone(), &secret, role, Timestamp::now()).bound_to(accounts);
            if !keys.create(&key).await.map_err(failed)? {
                return Err(KeysError::Taken(id));
            }
            eprintln!("created the key {id} ({role}); its secret is shown only once");
            print(&format!("{id}:{}\n", secret.reveal()))?;
        }
        Action::List => print(&table(keys.list().await.map_err(failed)?))?,
        Action::Revoke { id } => {
            let revoked = keys.revoke(&id, Timestamp::now()).await.map_err(failed)?;
            if revoked.is_none() {
                return Err(KeysError::Unknown(id));
            }
            eprintln!("revoked {id}");
        }
    }
    Ok(())
}

impl Place {
    fn keys(&self) -> Result<Keys, KeysError> {
        let Some(table) = &self.table else {
            return Ok(Keys::from_setup(&dev::setup(self.port)?)?);
        };
        let client = match &self.endpoint {
            None => Setup::new(aws_environment::resolve()?).dynamodb()?,
            Some(url) => {
                // A DynamoDB-compatible endpoint accepts any credentials, but requires some.
                let variables = [
                    ("AWS_REGION", mpulse_local::template::REGION),
                    ("AWS_ACCESS_KEY_ID", "local"),
                    ("AWS_SECRET_ACCESS_KEY", "local"),
                    ("AWS_ENDPOINT_URL_DYNAMODB", url),
                ];
                let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
                Setup::new(variables.into()).dynamodb()?
            }
        };
        Ok(Keys::new(client, table.clone()))
    }

    fn error(&self, source: StoreError) -> KeysError {
        let place = self.name();
        if source.is_transient() {
            let hint = match self.table {
                None => "; is `mpulse dev` running there?",
                Some(_) => "",
            };
            KeysError::Unreachable {
                place,
                hint,
                source,
            }
        } else {
            KeysError::Store { place, source }
        }
    }

    fn name(&self) -> String {
        match (&self.table, &self.endpoint) {
            (None, _) => format!("port {}", self.port),
            (Some(table), None) => format!("the keys table {table}"),
            (Some(table), Some(url)) => format!("the keys table {table} at {url}"),
        }
    }
}

/// Generates a unique id that contains the role.
fn some_id(role: Role) -> Result<KeyId, getrandom::Error> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes)?;
    let id = format!("{role}-{:08x}", u32::from_be_bytes(bytes));
    Ok(id.parse().expect("letters, digits and a hyphen make an id"))
}

fn account(text: &str) -> Result<AccountId, String> {
    AccountId::parse(text).map_err(|error| error.message)
}

fn scope(accounts: Vec<AccountId>) -> Result<Scope, KeysError> {
    let accounts: BTreeSet<AccountId> = accounts.into_iter().collect();
    match accounts.len() {
        0 => Ok(Scope::ALL),
        1..=MAX_ACCOUNTS => Ok(Scope::only(accounts)),
        _ => Err(KeysError::TooManyAccounts),
    }
}

/// Formats the accounts of a key.
fn accounts(key: &Key) -> String {
    match key.accounts.accounts() {
        None => "all".to_owned(),
        Some(accounts) => {
            let ids: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
            ids.join(",")
        }
    }
}

/// Formats the keys as aligned columns, oldest first.
fn table(mut keys: Vec<Key>) -> String {
    keys.sort_by(|a, b| (a.created_at, a.key_id.as_str()).cmp(&(b.created_at, b.key_id.as_str())));
    let longest = keys.iter().map(|key| key.key_id.as_str().len()).max();
    let width = longest.unwrap_or_default().max("ID".len());
    let mut text = String::new();
    let mut line = |id: &str, role: &str, created: &str, revoked: &str, accounts: &str| {
        writeln!(
            text,
            "{id:width$}  {role:6}  {created:24}  {revoked:24}  {accounts}"
        )
        .expect("writing to a string can't fail");
    };
    line("ID", "ROLE", "CREATED", "REVOKED", "ACCOUNTS");
    for key in &keys {
        line(
            key.key_id.as_str(),
            &key.role.to_string(),
            &key.created_at.to_string(),
            &key.revoked_at
                .map_or_else(|| "-".to_owned(), |at| at.to_string()),
            &accounts(key),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_oldest_first() {
        let bound = |ids: &[&str]| scope(ids.iter().map(|id| account(id).unwrap()).collect());
        let key = |id: &str, role, created, revoked: Option<i64>, accounts| Key {
            accounts: bound(accounts).unwrap(),
            revoked_at: revoked.map(Timestamp::from_millis),
            ..Key::new(
                id.parse().unwrap(),
                &Secret::from_text("x".into()),
                role,
                Timestamp::from_millis(created),
            )
        };
        let text = table(vec![
            key("nightly", Role::Writer, 2000, Some(3000), &["5", "4"]),
            key("admin", Role::Admin, 1000, None, &[]),
        ]);
        assert_eq!(
            text,
            "\
ID       ROLE    CREATED                   REVOKED                   ACCOUNTS
admin    admin   1970-01-01T00:00:01.000Z  -                         all
nightly  writer  1970-01-01T00:00:02.000Z  1970-01-01T00:00:03.000Z  4,5
"
        );
    }

    #[test]
    fn an_id_is_generated_if_none_is_given() {
        let (one, other) = (
            some_id(Role::Reader).unwrap(),
            some_id(Role::Reader).unwrap(),
        );
        assert!(one.as_str().starts_with("reader-"));
        assert_ne!(one, other);
    }
}
