//! Workspaces: one directory a build.

mod inside;

use crate::{
    blocking::{blocking, pieces},
    dir::Dir,
    error::{private_dir, translate},
    removal,
};
use async_trait::async_trait;
use kiln::{
    BuildId, RelPath, Result,
    port::{ByteStream, Workspaces},
};
use std::path::PathBuf;

/// Workspaces in a directory.
///
/// What runs in a box may change its workspace at any moment, so nothing in one is used by its
/// path: every part of a path is opened below the part before, and no link is followed unseen.
#[derive(Clone, Debug)]
pub struct FileWorkspaces {
    directory: PathBuf,
}

impl FileWorkspaces {
    /// Opens a directory of workspaces, and makes it where needed.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        private_dir("FileWorkspaces::open", &directory)?;
        let directory = directory
            .canonicalize()
            .map_err(|e| translate("FileWorkspaces::open", &directory, e))?;
        Ok(Self { directory })
    }

    fn of(&self, build: &BuildId) -> PathBuf {
        self.directory.join(build.as_str())
    }
}

#[async_trait]
impl Workspaces for FileWorkspaces {
    async fn prepare(&self, build: &BuildId) -> Result<PathBuf> {
        const OP: &str = "Workspaces::prepare";
        let path = self.of(build);
        private_dir(OP, &path)?;
        // A link of that name would lead the build elsewhere.
        Dir::open(&path).map_err(|e| translate(OP, &path, e))?;
        Ok(path)
    }

    async fn read(&self, build: &BuildId, path: &RelPath) -> Result<ByteStream> {
        const OP: &str = "Workspaces::read";
        let (root, path) = (self.of(build), path.clone());
        let full = path.below(&root);
        let (file, bytes) = blocking(OP, move || inside::open(OP, &root, &path)).await?;
        Ok(pieces(OP, full, file, bytes))
    }

    async fn remove(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "Workspaces::remove";
        let (directory, build) = (self.directory.clone(), build.clone());
        blocking(OP, move || {
            let removed =
                Dir::open(&directory).and_then(|base| removal::remove(&base, build.as_str()));
            removed.map_err(|e| translate(OP, &directory.join(build.as_str()), e))
        })
        .await
    }

    async fn list(&self) -> Result<Vec<BuildId>> {
        const OP: &str = "Workspaces::list";
        let directory = self.directory.clone();
        let names = blocking(OP, move || {
            let names = Dir::open(&directory).and_then(|dir| dir.names());
            names.map_err(|e| translate(OP, &directory, e))
        });
        Ok(names.await?.into_iter().filter_map(|name| BuildId::new(name).ok()).collect())
    }
}
