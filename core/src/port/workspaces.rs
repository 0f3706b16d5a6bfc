use super::ByteStream;
use crate::{BuildId, RelPath, Result};
use async_trait::async_trait;
use std::{fmt::Debug, path::PathBuf};

/// Gives every build a directory of its own on the host, and takes it away.
#[async_trait]
pub trait Workspaces: Debug + Send + Sync + 'static {
    /// The directory of a build, made if it is not there.
    async fn prepare(&self, build: &BuildId) -> Result<PathBuf>;

    /// A file of a build's workspace.
    ///
    /// # Promises
    ///
    /// - `NotFound` if there is no such file; a path that leads out by a symbolic link is `Denied`.
    async fn read(&self, build: &BuildId, path: &RelPath) -> Result<ByteStream>;

    /// Removes a build's directory with all that is in it; one that is not there too.
    async fn remove(&self, build: &BuildId) -> Result<()>;

    /// The builds that have a directory.
    async fn list(&self) -> Result<Vec<BuildId>>;
}
