//! `mpulse keys`: makes, lists and revokes access keys, straight in their table. That is how
//! the first key comes to be; an admin key can do the same through the API.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use clap::{Args, Subcommand};
use mpulse_shared::access::{Key, KeyId, Role, Secret};
use mpulse_shared::member::AccountId;
use mpulse_shared::scope::{MAX_ACCOUNTS, Scope};
use mpulse_shared::setup::SetupError;
use mpulse_shared::store::StoreError;
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;
use thiserror::Error;

use crate::dev::{self, DEFAULT_PORT, DevError, MAX_PORT};
use crate::output::print;

/// Random bytes in an id that nobody chose.
const ID_BYTES: usize = 4;

/// What `mpulse keys` is told.
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
    /// The port of `mpulse dev` on this machine
    #[arg(long, global = true, default_value_t = DEFAULT_PORT, conflicts_with = "table",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PORT)))]
    port: u16,

    /// A table on AWS (the stack's output `KeysTableName`), with your own AWS credentials
    #[arg(long, global = true, value_name = "NAME")]
    table: Option<String>,

    /// Where the table is, if not on AWS.
    #[arg(
        long,
        help = "Something other than AWS that speaks DynamoDB and has the table",
        global = true,
        value_name = "URL",
        requires = "table"
    )]
    endpoint: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and show it, this once, as ID:SECRET
    #[command(after_help = "Example:\n  mpulse keys create --id ops --role writer")]
    Create {
        /// Its id; without one, an id is made
        #[arg(long)]
        id: Option<KeyId>,
        /// What it may do: reader, writer or admin
        #[arg(long)]
        role: Role,
        /// The accounts that it sees and writes, and no others: 4,5. Without this, it is for all
        #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = account)]
        accounts: Vec<AccountId>,
    },
    /// List the keys, oldest first
    #[command(after_help = "Example:\n  mpulse keys list")]
    List,
    /// Revoke a key: from now on it opens nothing
    #[command(after_help = "Example:\n  mpulse keys revoke ops")]
    Revoke {
        /// Its id
        id: KeyId,
    },
}

/// Keys couldn't be changed or listed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The local machine's table can't be worked out from the template.
    #[error(transparent)]
    Machine(#[from] DevError),
    /// The template names no keys table.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The table can't be reached or refuses.
    #[error("the keys at {place} can't be reached{hint}")]
    Unreachable {
        /// Where they should be.
        place: String,
        /// What might help.
        hint: &'static str,
        /// What went wrong.
        source: StoreError,
    },
    /// The table answered with an error.
    #[error("the keys at {place}")]
    Store {
        /// Where they are.
        place: String,
        /// What went wrong.
        source: StoreError,
    },
    /// The id is in use.
    #[error("there is a key {0} already; revoked ones keep their id too")]
    Taken(KeyId),
    /// More accounts than a key may be bound to.
    #[error("a key is bound to {MAX_ACCOUNTS} accounts at most")]
    TooManyAccounts,
    /// No key has the id.
    #[error("there is no key {0}")]
    Unknown(KeyId),
    /// The system gives no random numbers.
    #[error("no randomness for a secret")]
    Randomness(#[from] getrandom::Error),
    /// Standard output can't be written.
    #[error("can't write the result")]
    Output(#[from] io::Error),
}

/// Does what was asked for.
///
/// # Errors
/// [`KeysError`].
pub async fn run(args: KeysArgs) -> Result<(), KeysError> {
    let keys = args.place.keys().await?;
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
            eprintln!("made {id} ({role}); its secret is shown this once");
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
    async fn keys(&self) -> Result<Keys, KeysError> {
        let Some(table) = &self.table else {
            return Ok(Keys::from_setup(&dev::setup(self.port)?)?);
        };
        let client = match &self.endpoint {
            None => Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await),
            Some(url) => {
                // Whoever stands in for DynamoDB takes any credentials, but needs some.
                let credentials = Credentials::new("local", "local", None, None, "mpulse");
                let config = aws_sdk_dynamodb::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new(mpulse_local::template::REGION))
                    .credentials_provider(credentials)
                    .endpoint_url(url)
                    .build();
                Client::from_conf(config)
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
            (Some(table), None) => format!("the table {table}"),
            (Some(table), Some(url)) => format!("the table {table} of {url}"),
        }
    }
}

/// An id that tells the role and is nobody else's.
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

/// The accounts of a key, for people.
fn accounts(key: &Key) -> String {
    match key.accounts.accounts() {
        None => "all".to_owned(),
        Some(accounts) => {
            let ids: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
            ids.join(",")
        }
    }
}

/// The keys as aligned columns, oldest first.
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
    fn an_id_is_made_where_none_is_given() {
        let (one, other) = (
            some_id(Role::Reader).unwrap(),
            some_id(Role::Reader).unwrap(),
        );
        assert!(one.as_str().starts_with("reader-"));
        assert_ne!(one, other);
    }
}
