//! Rosters to measure with: the samples of `mpulse sample`, in a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use mpulse_cli::sample::{HEADER, Roster};

use crate::Error;

/// The account of all rows: one account is the harder case, and the usual one.
const ACCOUNT: &str = "4";

/// What the people follow from.
const SEED: u64 = 42;

/// Bytes gathered before they are written.
const BUFFER: usize = 256 * 1024;

/// Writes a roster of `rows` rows, of which `bad` will be refused. Memory does not depend
/// on either.
///
/// # Errors
/// Where the file can't be written.
pub fn write(path: &Path, rows: u64, bad: u64) -> Result<(), Error> {
    let mut file = File::create(path)?;
    let mut roster = Roster::new(rows, bad, SEED, vec![ACCOUNT.to_owned()]);
    let mut buffer = Vec::with_capacity(2 * BUFFER);
    buffer.extend_from_slice(HEADER.as_bytes());
    while roster.write_next(&mut buffer) {
        if buffer.len() >= BUFFER {
            file.write_all(&buffer)?;
            buffer.clear();
        }
    }
    file.write_all(&buffer)?;
    Ok(())
}
