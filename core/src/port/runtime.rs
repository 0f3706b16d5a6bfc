use crate::{BoxName, BoxSpec, BuildId, Command, Result, StepCx, StepKey};
use async_trait::async_trait;
use std::{collections::BTreeMap, fmt::Debug};

/// A running box, as its runtime names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoxHandle(pub String);

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; 0 is success.
    pub code: i64,
    /// What it left in the files of [`Command::notes`], by name, as text.
    pub notes: BTreeMap<String, String>,
}

impl Exit {
    /// An exit code, and no notes.
    pub fn new(code: i64) -> Self {
        Self { code, notes: BTreeMap::new() }
    }
}

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

    /// Runs a command to its end and tells how it ended. A code other than 0 is an answer.
    ///
    /// Output goes to [`StepCx::log`], standard output and standard error apart.
    ///
    /// # Promises
    ///
    /// - Under one [`StepKey`] a command runs once: a second call attaches to the first one's
    ///   command, or returns how that ended, if the runtime still has it. It prints all of that
    ///   command's output again from the beginning; the engine drops what the log has already.
    /// - A cancelled call stops the command with everything it started, and returns `Cancelled`.
    /// - A program that does not exist is `Failed` with exit code 127, one that cannot be run 126.
    /// - Standard input is empty.
    ///
    /// Of a command with a [`session`](Command::session):
    ///
    /// - What earlier commands of the session in this box left of variables, of the directory, of
    ///   functions and of options, it finds; another session or box has its own.
    /// - A program that does not exist is an answer: what the shell makes of it.
    /// - One that ends its shell, as `exit` does, has the shell's exit code. So does one that was
    ///   stopped end it. Later commands of the session are `Failed` and run nothing.
    /// - The session outlives the call and its process as the command does.
    async fn exec(&self, cx: &StepCx, in_box: &BoxHandle, command: &Command) -> Result<Exit>;

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
