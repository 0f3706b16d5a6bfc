//! How a task ends when it does not end well.

use std::fmt::Display;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a task ended without doing its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong: exit code 2.
    Usage(String),
    /// The task failed, and this is what to do or read next.
    Task(String),
    /// The task failed and has printed all there is to say.
    Said,
}

impl Failure {
    /// A failed task.
    pub(crate) fn task(message: impl Into<String>) -> Self {
        Self::Task(message.into())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(message) | Self::Task(message) => f.write_str(message),
            Self::Said => f.write_str("failed, see above"),
        }
    }
}

/// Says what was being done when something failed.
pub(crate) trait Context<T> {
    /// Puts `what` before the error.
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Failure::Task(format!("{what}: {error}")))
    }
}
