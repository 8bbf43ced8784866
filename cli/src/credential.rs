//! A key's id and secret, written `ID:SECRET` on the command line, in the environment and in the
//! file `<data>/admin-key`.
//!
//! `mpulse dev` stores the first key in that file, and `mpulse upload` on the same computer reads
//! it from there.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mpulse_shared::key::KeyId;
use thiserror::Error;

/// The default data folder of `mpulse dev`.
pub const DEFAULT_DATA: &str = ".mpulse";

/// The file's name in the data folder.
const FILE: &str = "admin-key";

/// The longest accepted secret; generated ones have 43 characters.
const MAX_SECRET: usize = 256;

/// A key's id and its secret. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The key's id.
    pub id: KeyId,
    /// Its secret.
    pub secret: String,
}

/// The text is not `ID:SECRET`.
#[derive(Debug, Error)]
#[error("a key has the form ID:SECRET, without spaces")]
pub struct NotACredential;

impl FromStr for Credential {
    type Err = NotACredential;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, secret) = text.split_once(':').ok_or(NotACredential)?;
        let id = id.parse().map_err(|_| NotACredential)?;
        let graphic = secret.bytes().all(|b| b.is_ascii_graphic());
        if secret.is_empty() || secret.len() > MAX_SECRET || !graphic {
            return Err(NotACredential);
        }
        Ok(Self {
            id,
            secret: secret.to_owned(),
        })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:…", self.id)
    }
}

/// The key file of a data folder.
#[derive(Debug, Clone)]
pub struct KeyFile(PathBuf);

/// The file cannot be used or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It does not contain a key.
    #[error(
        "{path} does not contain a key; delete it and restart `mpulse dev` to create a new one"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NotACredential,
    },
}

impl KeyFile {
    /// Returns the key file of a data folder.
    pub fn of(data: &Path) -> Self {
        Self(data.join(FILE))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the key; `None` if there is no file.
    ///
    /// # Errors
    /// Returns an error if it cannot be read or does not contain a key.
    pub fn read(&self) -> Result<Option<Credential>, KeyFileError> {
        let path = || self.0.clone();
        match fs::read_to_string(&self.0) {
            Ok(text) => match text.trim().parse() {
                Ok(credential) => Ok(Some(credential)),
                Err(source) => Err(KeyFileError::Content {
                    path: path(),
                    source,
                }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyFileError::Read {
                path: path(),
                source,
            }),
        }
    }

    /// Replaces the file atomically; only its owner may read it.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created or written to.
    pub fn write(&self, credential: &Credential) -> Result<(), KeyFileError> {
        self.replace(credential)
            .map_err(|source| KeyFileError::Write {
                path: self.0.clone(),
                source,
            })
    }

    fn replace(&self, credential: &Credential) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = self.0.with_extension("new");
        // A file left by a crash might be readable by others: the mode is set only on creation.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        writeln!(file, "{}:{}", credential.id, credential.secret)?;
        file.sync_all()?;
        fs::rename(&new, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(text: &str) -> Credential {
        text.parse().unwrap()
    }

    #[test]
    fn a_secret_may_contain_colons() {
        let parsed = credential("admin:a:b");
        assert_eq!(
            (parsed.id.as_str(), parsed.secret.as_str()),
            ("admin", "a:b")
        );
    }

    #[test]
    fn other_texts_are_rejected() {
        for text in [
            "",
            "admin",
            "admin:",
            ":secret",
            "ad min:secret",
            "admin:se cret",
            "admin:é",
        ] {
            assert!(text.parse::<Credential>().is_err(), "{text}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        assert_eq!(format!("{:?}", credential("admin:hush")), "admin:…");
    }

    #[test]
    fn the_file_returns_the_stored_key() {
        let data = tempfile::tempdir().unwrap();
        let file = KeyFile::of(&data.path().join("deeper"));
        assert_eq!(file.read().unwrap(), None);
        file.write(&credential("admin:first")).unwrap();
        file.write(&credential("ops:second")).unwrap();
        assert_eq!(file.read().unwrap(), Some(credential("ops:second")));
        fs::write(file.path(), "nonsense").unwrap();
        assert!(matches!(file.read(), Err(KeyFileError::Content { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let data = tempfile::tempdir().unwrap();
        let file = KeyFile::of(data.path());
        file.write(&credential("admin:hush")).unwrap();
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
