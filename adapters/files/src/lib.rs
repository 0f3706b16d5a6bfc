//! Keeps logs, artifacts and workspaces in directories of this machine.
//!
//! Everything is private to its user: directories have mode 0700, files 0600. The log format is
//! described in `docs/formats.md`.

mod artifacts;
mod blocking;
mod dir;
mod error;
mod half;
mod log;
mod removal;
mod secrets;
mod workspaces;

pub use artifacts::FileArtifacts;
pub use log::FileLogs;
pub use secrets::{FileSecrets, SecretsDir};
pub use workspaces::FileWorkspaces;
