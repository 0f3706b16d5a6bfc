//! What one attempt of one step is given: where to work, where to talk, what it may know and
//! when to stop.

mod cancel;
mod log;
mod secrets;
mod step_log;

pub use cancel::{CancelToken, StopReason};
pub use log::LogWriter;
pub use secrets::StepSecrets;
pub use step_log::StepLog;

use crate::{Owner, StepKey};
use std::path::PathBuf;

/// What one attempt of one step is given. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct StepCx {
    /// The key under which every effect of the attempt is idempotent.
    pub key: StepKey,
    /// Whose build it is.
    pub owner: Owner,
    /// The build's directory on this host, made before the attempt began.
    pub workspace: PathBuf,
    /// Where output goes.
    pub log: StepLog,
    /// Where secrets come from.
    pub secrets: StepSecrets,
    /// When to stop.
    pub cancel: CancelToken,
}

impl StepCx {
    /// An error that says the attempt was asked to stop.
    pub fn cancelled(&self, op: &'static str) -> crate::Error {
        let why = match self.cancel.reason() {
            Some(StopReason::Timeout) => "it took longer than allowed",
            Some(StopReason::Fenced) => "another driver took the build over",
            Some(StopReason::Cancel) | None => "it was asked to stop",
        };
        crate::Error::new(crate::ErrorKind::Cancelled, op, why)
    }
}
