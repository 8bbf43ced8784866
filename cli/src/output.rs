//! Writing to standard output, whose reader may have closed it.

use std::io::{self, ErrorKind, Write};

/// Writes the text. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// Returns an error if standard output cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    unless_gone(written)
}

/// Ignores the error of a closed pipe.
///
/// # Errors
/// Returns all other errors.
pub fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_ignored() {
        assert!(unless_gone(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(unless_gone(Err(ErrorKind::StorageFull.into())).is_err());
    }
}
