//! The registry that a command works with, and the key for it.

use std::path::PathBuf;

use clap::Args;
use reqwest::Url;
use thiserror::Error;

use crate::client::{Client, ClientError, is_this_machine};
use crate::credential::{Credential, DEFAULT_DATA, KeyFile, KeyFileError};

/// The default URL, that of `mpulse dev`.
const DEFAULT_URL: &str = "http://127.0.0.1:9000";

/// The arguments about the registry.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The URL of the registry
    #[arg(long, env = "MPULSE_URL", default_value = DEFAULT_URL, value_parser = http_url)]
    url: Url,

    /// The key (ID:SECRET); for `mpulse dev` on this computer, the stored admin key is the default
    #[arg(
        long,
        value_name = "ID:SECRET",
        env = "MPULSE_KEY",
        hide_env_values = true
    )]
    key: Option<Credential>,

    /// The data folder of `mpulse dev`, for its key
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DATA)]
    data: PathBuf,
}

/// The registry cannot be called.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// No key was given or found: invalid arguments.
    #[error(
        "no key: use --key ID:SECRET or set MPULSE_KEY (the key of `mpulse dev` in {path} is used for \
         this computer only)"
    )]
    NoKey {
        /// Where the local key would be.
        path: PathBuf,
    },
    /// The file of the local key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl ConnectionError {
    /// Returns whether the arguments are invalid.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoKey { .. })
    }
}

impl Connection {
    /// Returns a client of the registry.
    ///
    /// # Errors
    /// Returns [`ConnectionError`] if there is no key. No request is sent.
    pub fn client(&self) -> Result<Client, ConnectionError> {
        Ok(Client::new(&self.url, self.credential()?)?)
    }

    /// Returns a command for the same registry, without the key: `mpulse`, these words, and `--url` if it is needed.
    pub fn command(&self, words: &str) -> String {
        let url = self.url.as_str();
        if url.trim_end_matches('/') == DEFAULT_URL {
            format!("mpulse {words}")
        } else {
            format!("mpulse {words} --url {url}")
        }
    }

    /// Returns the key to use. The local stack's own key is never sent elsewhere.
    fn credential(&self) -> Result<Credential, ConnectionError> {
        if let Some(credential) = &self.key {
            return Ok(credential.clone());
        }
        let file = KeyFile::of(&self.data);
        let found = if is_this_machine(&self.url) {
            file.read()?
        } else {
            None
        };
        found.ok_or_else(|| ConnectionError::NoKey {
            path: file.path().to_owned(),
        })
    }
}

/// Reads an http or https URL with a host.
fn http_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a key; use --key".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn connection(url: &str, key: Option<&str>, data: &Path) -> Connection {
        Connection {
            url: url.parse().unwrap(),
            key: key.map(|key| key.parse().unwrap()),
            data: data.to_owned(),
        }
    }

    #[test]
    fn the_local_key_is_used_for_loopback_only() {
        let data = tempfile::tempdir().unwrap();
        let file = KeyFile::of(data.path());
        let local = "http://127.0.0.1:9000";
        let found = |url, key| connection(url, key, data.path()).credential();

        assert!(found(local, None).unwrap_err().is_usage());
        file.write(&"admin:local".parse().unwrap()).unwrap();
        assert_eq!(found(local, None).unwrap().secret, "local");
        assert_eq!(found(local, Some("ops:other")).unwrap().secret, "other");
        assert!(
            found("https://api.example.com", None)
                .unwrap_err()
                .is_usage()
        );
    }

    #[test]
    fn a_shown_command_contains_no_key() {
        let line = |url| {
            let connection = connection(url, Some("ops:secret"), Path::new("data"));
            connection.command("changes 01K")
        };
        assert_eq!(line("http://127.0.0.1:9000"), "mpulse changes 01K");
        let url = "https://api.example.com/prod";
        assert_eq!(line(url), format!("mpulse changes 01K --url {url}"));
    }

    #[test]
    fn a_url_is_http_and_contains_no_key() {
        assert!(http_url("http://127.0.0.1:9000").is_ok());
        assert!(http_url("https://x.execute-api.us-east-1.amazonaws.com/prod").is_ok());
        for text in [
            "127.0.0.1:9000",
            "ftp://x",
            "http://",
            "http://admin:secret@x",
            "",
        ] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }
}
