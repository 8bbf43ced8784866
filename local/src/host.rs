//! Runs functions: in this process, or wherever `cargo lambda watch` serves them.
//!
//! Promises what Lambda promises a caller: a function that outlives its timeout is
//! stopped and has failed, a panic in it takes nothing else down, events and answers
//! have Lambda's limits of size, and a caller that goes away doesn't stop it.

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

/// Lambda: how many bytes an event may have.
pub const MAX_EVENT_BYTES: usize = 6_291_456;
/// Lambda: how many bytes an answer may have.
pub const MAX_ANSWER_BYTES: usize = 6_291_556;

/// A function didn't answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The template has no function of that name.
    #[error("there is no function {0}")]
    Unknown(String),
    /// The event is larger than Lambda takes; nothing was run.
    #[error("the event has {0} bytes, and Lambda takes 6 MB")]
    EventTooLarge(usize),
    /// The answer is larger than Lambda takes.
    #[error("the answer has {0} bytes, and Lambda takes 6 MB")]
    AnswerTooLarge(usize),
    /// It ran longer than the template lets it.
    #[error("it was stopped after its timeout of {0:?}")]
    TimedOut(Duration),
    /// It panicked.
    #[error("it panicked")]
    Panicked,
    /// It returned an error.
    #[error("it failed: {0}")]
    Failed(String),
    /// Whoever serves the functions can't be reached.
    #[error("the function can't be reached: {0}")]
    Unreachable(String),
    /// The machine is stopping.
    #[error("the machine is stopping")]
    Stopped,
}

/// A function can't be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// No crate of this workspace has that name.
    #[error("{function} is the binary {binary:?}, which is none of this program's functions")]
    UnknownBinary {
        /// The function's logical id.
        function: String,
        /// What the template names.
        binary: String,
    },
    /// A setting is missing from its environment.
    #[error("{function} can't start")]
    Setup {
        /// The function's logical id.
        function: String,
        /// What is missing.
        source: SetupError,
    },
    /// The URL given to `--invoke` is unusable.
    #[error("functions can't be invoked at {url}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The functions of one machine.
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
    /// Prepares the functions, each with its own settings. With `invoke` they run where
    /// that URL leads.
    ///
    /// # Errors
    /// Where one can't start.
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

    /// Runs a function on an event and gives its answer. It goes on if the caller stops
    /// waiting.
    ///
    /// # Errors
    /// [`InvokeError`], as its variants say.
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

    /// Aborts what runs.
    pub(crate) async fn stop(&self) {
        self.tasks.stop().await;
    }
}

/// Reads an answer, within Lambda's limit.
fn read_answer(answer: &[u8]) -> Result<Value, InvokeError> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(InvokeError::AnswerTooLarge(answer.len()));
    }
    serde_json::from_slice(answer).map_err(|e| InvokeError::Failed(e.to_string()))
}

#[cfg(test)]
mod tests;
