//! Questions to the person at the terminal.

use std::io::{self, IsTerminal};

use tokio::sync::oneshot;

use crate::output::print;
use crate::signals::Signals;

/// Returns whether a person can read a question on standard output and answer it on standard input.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Asks a question and returns whether the answer is yes. The end of the input, and a signal, mean no.
///
/// # Errors
/// Returns an error if the question cannot be written or the answer cannot be read.
pub async fn ask(question: &str) -> io::Result<bool> {
    print(&format!("{question} [y/N] "))?;
    let mut signals = Signals::new()?;
    let (sender, answer) = oneshot::channel();
    // A thread of its own: the runtime would wait for one of its threads at the end of the process, and a read of
    // standard input cannot be cancelled.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // After a signal nobody waits for the answer.
        let _ = sender.send(read.map(|_| is_yes(&line)));
    });
    tokio::select! {
        answer = answer => answer.unwrap_or(Ok(false)),
        () = signals.next() => {
            print("\n")?;
            Ok(false)
        }
    }
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for yes in ["y\n", "Y", " yes \r\n", "YES\n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yep\n", "no\n", "1\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
