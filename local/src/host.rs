//! Runs functions: in this process, or at the URL of `cargo lambda watch`.
//!
//! It behaves like Lambda: a function that exceeds its timeout is stopped and has failed, a panic
//! in it does not affect others, events and results have Lambda's size limits, and a caller that
//! disconnects does not stop it.

mod in_process;
mod remote;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use mpulse_shared::setup::{Setup, SetupError};
use serde_json::Value;
use thiserror::Error;

use crate::tasks::Tasks;
use crate::template::Function;
use in_process::Program;
use remote::Remote;

/// The maximum size of an event, in bytes (a Lambda limit).
pub const MAX_EVENT_BYTES: usize = 6_291_456;
/// The maximum size of a result, in bytes (a Lambda limit).
pub const MAX_ANSWER_BYTES: usize = 6_291_556;

/// A function returned no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The template has no function of this name.
    #[error("the function {0} does not exist")]
    Unknown(String),
    /// The event is too large; nothing was run.
    #[error("the event has {0} bytes; Lambda's limit is 6 MB")]
    EventTooLarge(usize),
    /// The result is too large.
    #[error("the result has {0} bytes; Lambda's limit is 6 MB")]
    AnswerTooLarge(usize),
    /// It exceeded its timeout.
    #[error("it was stopped after its timeout of {0:?}")]
    TimedOut(Duration),
    /// It panicked.
    #[error("it panicked")]
    Panicked,
    /// It returned an error.
    #[error("it failed: {0}")]
    Failed(String),
    /// The host of the functions is unreachable.
    #[error("the function is unreachable: {0}")]
    Unreachable(String),
    /// The local stack is stopping.
    #[error("the local stack is stopping")]
    Stopped,
}

/// A function cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// No crate of this workspace has the name of the binary.
    #[error("{function} has the binary {binary:?}, which is not a function of this program")]
    UnknownBinary {
        /// The function's logical id.
        function: String,
        /// The binary in the template.
        binary: String,
    },
    /// A setting is missing in its environment.
    #[error("{function} cannot start")]
    Setup {
        /// The function's logical id.
        function: String,
        /// The missing setting.
        source: SetupError,
    },
    /// The URL given to `--invoke` is invalid.
    #[error("functions cannot be invoked at {url}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The functions of one local stack.
#[derive(Debug)]
pub(crate) struct Host {
    functions: HashMap<String, Hosted>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Hosted {
    timeout: Duration,
    runner: Runner,
}

#[derive(Debug, Clone)]
enum Runner {
    InProcess(Program),
    Remote(Remote),
}

impl Host {
    /// Prepares the functions, each with its own settings. With `invoke` they run at that
    /// URL.
    ///
    /// # Errors
    /// Returns an error if a function cannot start.
    pub(crate) fn start(
        functions: &[Function],
        invoke: Option<&str>,
        mut environment: impl FnMut(&Function) -> HashMap<String, String>,
    ) -> Result<Self, HostError> {
        let mut hosted = HashMap::new();
        for function in functions {
            let runner = if let Some(url) = invoke {
                Runner::Remote(Remote::new(url, &function.binary)?)
            } else {
                let setup = Setup::new(environment(function));
                Runner::InProcess(Program::start(function, &setup)?)
            };
            let timeout = function.timeout;
            hosted.insert(function.name.clone(), Hosted { timeout, runner });
        }
        Ok(Self {
            functions: hosted,
            tasks: Tasks::default(),
        })
    }

    /// Runs a function with an event and returns its result. It continues if the caller stops
    /// waiting.
    ///
    /// # Errors
    /// Returns [`InvokeError`].
    pub(crate) async fn invoke(&self, name: &str, event: Value) -> Result<Value, InvokeError> {
        let hosted = self.functions.get(name);
        let hosted = hosted.ok_or_else(|| InvokeError::Unknown(name.to_owned()))?;
        let event = event.to_string();
        if event.len() > MAX_EVENT_BYTES {
            return Err(InvokeError::EventTooLarge(event.len()));
        }
        let (runner, timeout) = (hosted.runner.clone(), hosted.timeout);
        let deadline = SystemTime::now() + timeout;
        let work = async move {
            let answer = async {
                match runner {
                    Runner::InProcess(program) => program.run(&event, deadline).await,
                    Runner::Remote(remote) => remote.run(event).await,
                }
            };
            let answer = tokio::time::timeout(timeout, answer).await;
            answer.unwrap_or(Err(InvokeError::TimedOut(timeout)))
        };
        match self.tasks.run(work).await {
            Some(answer) => answer,
            None if self.tasks.stopped() => Err(InvokeError::Stopped),
            None => Err(InvokeError::Panicked),
        }
    }

    /// Aborts running functions.
    pub(crate) async fn stop(&self) {
        self.tasks.stop().await;
    }
}

/// Reads a result, within Lambda's limit.
fn read_answer(answer: &[u8]) -> Result<Value, InvokeError> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(InvokeError::AnswerTooLarge(answer.len()));
    }
    serde_json::from_slice(answer).map_err(|e| InvokeError::Failed(e.to_string()))
}

#[cfg(test)]
mod tests;
