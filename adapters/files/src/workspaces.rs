//! Workspaces: one directory a build.

use crate::error::{private_dir, translate};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use kiln::{
    BuildId, Error, ErrorKind, RelPath, Result,
    port::{ByteStream, Workspaces},
};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tokio::io::AsyncReadExt;

/// Workspaces in a directory.
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

/// Removes a directory, also where its directories may not be written to. Links are not followed.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => return other,
    }
    open_up(path)?;
    fs::remove_dir_all(path)
}

fn open_up(path: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        for inner in fs::read_dir(path)? {
            open_up(&inner?.path())?;
        }
    }
    Ok(())
}

#[async_trait]
impl Workspaces for FileWorkspaces {
    async fn prepare(&self, build: &BuildId) -> Result<PathBuf> {
        let path = self.of(build);
        private_dir("Workspaces::prepare", &path)?;
        Ok(path)
    }

    async fn read(&self, build: &BuildId, path: &RelPath) -> Result<ByteStream> {
        const OP: &str = "Workspaces::read";
        let root = self.of(build);
        let full = path.below(&root);
        let wrong = |e| translate(OP, &full, e);
        let real = full.canonicalize().map_err(wrong)?;
        if !real.starts_with(&root) {
            return Err(Error::new(
                ErrorKind::Denied,
                OP,
                "the path leads out of the workspace by a link",
            )
            .with("path", path));
        }
        if !real.is_file() {
            return Err(
                Error::new(ErrorKind::NotFound, OP, "there is no such file").with("path", path)
            );
        }
        let file = tokio::fs::File::open(&real).await.map_err(wrong)?;
        Ok(futures::stream::try_unfold((file, full), |(mut file, full)| async move {
            let mut piece = vec![0; 256 * 1024];
            let n = file.read(&mut piece).await.map_err(|e| translate(OP, &full, e))?;
            piece.truncate(n);
            Ok((n > 0).then(|| (Bytes::from(piece), (file, full))))
        })
        .boxed())
    }

    async fn remove(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "Workspaces::remove";
        let path = self.of(build);
        let at = path.clone();
        tokio::task::spawn_blocking(move || remove(&at))
            .await
            .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?
            .map_err(|e| translate(OP, &path, e))
    }

    async fn list(&self) -> Result<Vec<BuildId>> {
        let wrong = |e| translate("Workspaces::list", &self.directory, e);
        let mut builds = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            builds.extend(name.to_str().and_then(|n| BuildId::new(n).ok()));
        }
        Ok(builds)
    }
}
