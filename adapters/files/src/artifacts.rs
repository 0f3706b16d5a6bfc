//! Artifacts: one directory a build, one file an artifact.

use crate::error::{private_dir, translate};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use kiln::{
    Artifact, BuildId, Digest, Error, ErrorKind, Result,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::io::AsyncReadExt;

/// Artifacts in a directory. What is being written has a name of its own until it is whole.
#[derive(Debug)]
pub struct FileArtifacts {
    directory: PathBuf,
    next: AtomicU64,
}

impl FileArtifacts {
    /// Opens a directory of artifacts, and makes it where needed.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        private_dir("FileArtifacts::open", &directory)?;
        Ok(Self { directory, next: AtomicU64::new(0) })
    }

    fn of(&self, build: &BuildId) -> PathBuf {
        self.directory.join(build.as_str())
    }

    /// The file of an artifact. Its name is one part, so that no artifact is a directory of another.
    fn file(&self, key: &ArtifactKey) -> PathBuf {
        self.of(&key.build).join(escape(key.name.as_str()))
    }
}

fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn unescape(name: &str) -> String {
    name.replace("%2F", "/").replace("%25", "%")
}

/// A file that is removed unless it is kept.
struct Half(Option<PathBuf>);

impl Drop for Half {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // It is garbage; the next `forget` of its build takes it if this fails.
            let _ = fs::remove_file(path);
        }
    }
}

#[async_trait]
impl ArtifactStore for FileArtifacts {
    async fn put(&self, key: &ArtifactKey, mut body: ByteStream) -> Result<Artifact> {
        const OP: &str = "ArtifactStore::put";
        if key.name.is_root() {
            return Err(Error::new(ErrorKind::Invalid, OP, "an artifact has a name"));
        }
        private_dir(OP, &self.of(&key.build))?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.of(&key.build).join(format!(".half-{}-{number}", std::process::id()));
        let wrong = |e| translate(OP, &path, e);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(wrong)?;
        let mut half = Half(Some(path.clone()));
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        while let Some(piece) = body.next().await {
            let piece = piece?;
            hash.update(&piece);
            bytes += piece.len() as u64;
            file.write_all(&piece).map_err(wrong)?;
        }
        file.sync_all().map_err(wrong)?;
        fs::rename(&path, self.file(key)).map_err(wrong)?;
        half.0 = None;
        let digest = Digest::sha256(hash.finalize().into());
        Ok(Artifact { key: key.to_string(), bytes, digest })
    }

    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream> {
        const OP: &str = "ArtifactStore::get";
        let path = self.file(key);
        let file = tokio::fs::File::open(&path).await.map_err(|e| translate(OP, &path, e))?;
        Ok(futures::stream::try_unfold((file, path), |(mut file, path)| async move {
            let mut piece = vec![0; 256 * 1024];
            let n = file.read(&mut piece).await.map_err(|e| translate(OP, &path, e))?;
            piece.truncate(n);
            Ok((n > 0).then(|| (Bytes::from(piece), (file, path))))
        })
        .boxed())
    }

    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>> {
        const OP: &str = "ArtifactStore::list";
        let (directory, id) = (self.of(build), build.clone());
        let work = move || -> io::Result<Vec<Artifact>> {
            let mut found = Vec::new();
            let names = match fs::read_dir(&directory) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
                names => names?,
            };
            for entry in names {
                let entry = entry?;
                let Some(name) = entry.file_name().to_str().map(unescape) else { continue };
                if !name.starts_with(".half-") {
                    let (digest, bytes) = sum(&entry.path())?;
                    found.push(Artifact { key: format!("{id}/{name}"), bytes, digest });
                }
            }
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?
            .map_err(|e| translate(OP, &self.directory, e))
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        match fs::remove_dir_all(self.of(build)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(translate("ArtifactStore::forget", &self.of(build), e))
            }
            _ => Ok(()),
        }
    }
}

fn sum(path: &Path) -> io::Result<(Digest, u64)> {
    let (mut file, mut hash, mut bytes) = (File::open(path)?, Sha256::new(), 0);
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((Digest::sha256(hash.finalize().into()), bytes)),
            n => {
                hash.update(&piece[..n]);
                bytes += n as u64;
            }
        }
    }
}
