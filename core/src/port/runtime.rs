use crate::{BoxName, BoxSpec, BuildId, Command, Result, StepCx, StepKey};
use async_trait::async_trait;
use std::fmt::Debug;

/// A running box, as its runtime names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoxHandle(pub String);

/// The exit code of a command; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExitCode(pub i64);

/// Runs commands in boxes.
#[async_trait]
pub trait Runtime: Debug + Send + Sync + 'static {
    /// Starts a box with its services, or finds the one this build has under that name.
    ///
    /// # Promises
    ///
    /// - A build has one box of a name, also when two steps start it at once.
    /// - The services can be reached by their names when it returns.
    /// - An image that does not exist is `NotFound`; one that needs credentials is `Denied`.
    async fn start(&self, cx: &StepCx, name: &BoxName, spec: &BoxSpec) -> Result<BoxHandle>;

    /// Runs a command to its end and returns its exit code. A code other than 0 is an answer.
    ///
    /// Output goes to [`StepCx::log`], standard output and standard error apart.
    ///
    /// # Promises
    ///
    /// - Under one [`StepKey`] a command runs once: a second call attaches to the first one's
    ///   command, or returns its exit code, if the runtime still has it. It prints all of that
    ///   command's output again from the beginning; the engine drops what the log has already.
    /// - A cancelled call stops the command with everything it started, and returns `Cancelled`.
    /// - A program that does not exist is `Failed` with exit code 127, one that cannot be run 126.
    async fn exec(&self, cx: &StepCx, in_box: &BoxHandle, command: &Command) -> Result<ExitCode>;

    /// Whether the command of an attempt is still there to attach to: running, or over with its
    /// exit code and all its output kept.
    async fn has(&self, key: &StepKey) -> Result<bool>;

    /// Removes all that a build left here: containers, networks, volumes.
    ///
    /// # Promises
    ///
    /// - It is safe to call twice, or for a build nobody knows; nothing foreign is touched.
    async fn sweep(&self, build: &BuildId) -> Result<()>;
}
