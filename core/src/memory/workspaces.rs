use super::lock;
use crate::{
    BuildId, Error, ErrorKind, RelPath, Result,
    port::{ByteStream, Workspaces},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::{collections::BTreeMap, path::PathBuf, sync::Mutex};

/// Workspaces that are paths only: nothing is made on the disk, and the files to be read are put
/// here by hand.
#[derive(Debug)]
pub struct MemoryWorkspaces {
    root: PathBuf,
    builds: Mutex<BTreeMap<BuildId, BTreeMap<RelPath, Bytes>>>,
}

impl MemoryWorkspaces {
    /// Workspaces below a directory that need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), builds: Mutex::default() }
    }

    /// Puts a file into the workspace of a build, which there is from then on.
    pub fn put(&self, build: &BuildId, path: RelPath, bytes: impl Into<Bytes>) {
        lock(&self.builds).entry(build.clone()).or_default().insert(path, bytes.into());
    }
}

impl Default for MemoryWorkspaces {
    fn default() -> Self {
        Self::new("/nowhere")
    }
}

#[async_trait]
impl Workspaces for MemoryWorkspaces {
    async fn prepare(&self, build: &BuildId) -> Result<PathBuf> {
        lock(&self.builds).entry(build.clone()).or_default();
        Ok(self.root.join(build.as_str()))
    }

    async fn read(&self, build: &BuildId, path: &RelPath) -> Result<ByteStream> {
        let builds = lock(&self.builds);
        let bytes = builds.get(build).and_then(|b| b.get(path)).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "Workspaces::read", "there is no such file")
                .with("build", build)
                .with("path", path)
        })?;
        Ok(stream::iter([Ok(bytes)]).boxed())
    }

    async fn remove(&self, build: &BuildId) -> Result<()> {
        lock(&self.builds).remove(build);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<BuildId>> {
        Ok(lock(&self.builds).keys().cloned().collect())
    }
}
