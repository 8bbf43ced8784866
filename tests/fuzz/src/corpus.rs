//! The inputs that are kept: found by fuzzing, or written by hand. They are small files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Target;

/// Returns the folder of this crate.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Target {
    /// Returns its inputs with their names, in a fixed order.
    ///
    /// # Panics
    /// Panics if a file cannot be read.
    #[must_use]
    pub fn inputs(&self) -> Vec<(String, Vec<u8>)> {
        let mut inputs = files(&folder().join("corpus").join(self.name));
        if self.reads_cases {
            inputs.extend(files(&folder().join("../cases")));
        }
        inputs
    }

    /// Returns the words of its language: those in quotes in its file of words, which libFuzzer reads too.
    ///
    /// # Panics
    /// Panics if a file cannot be read.
    #[must_use]
    pub fn words(&self) -> Vec<Vec<u8>> {
        let path = folder().join("words").join(self.name);
        if !path.exists() {
            return Vec::new();
        }
        let text = fs::read_to_string(path).expect("the words");
        let quoted = |line: &str| {
            let word = line.strip_prefix('"')?.strip_suffix('"')?;
            Some(unescaped(word))
        };
        text.lines().filter_map(quoted).collect()
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let content = fs::read(&path).expect("an input");
        files.push((path.display().to_string(), content));
    }
    files.sort();
    files
}

/// Reads the escapes of a word: `\"`, `\\` and `\xAB`.
fn unescaped(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.strip_prefix('x').and_then(|hex| hex.get(..2));
        if let Some(byte) = code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.extend(after.bytes().take(1));
            rest = after.get(1..).unwrap_or_default();
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
