//! Artifacts: one directory a build, one file an artifact; see `docs/formats.md`.

mod trailer;

use crate::{
    blocking::{blocking, pieces},
    dir::Dir,
    error::{private_dir, translate},
    half::{self, Half},
    removal,
};
use async_trait::async_trait;
use futures::StreamExt;
use kiln::{
    Artifact, BuildId, CacheKey, Digest, Error, ErrorKind, Result,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use trailer::Trailer;

/// Where artifacts are while they are being written; no build has such a name.
const HALVES: &str = ".halves";
/// How often a directory is made anew that a `forget` takes away meanwhile.
const TRIES_MAX: usize = 10;

/// Artifacts in a directory, which several processes may share. What is being written is apart
/// until it is whole, and whole means on the disk.
#[derive(Debug)]
pub struct FileArtifacts {
    directory: PathBuf,
    halves: Arc<Dir>,
}

impl FileArtifacts {
    /// Opens a directory of artifacts, and makes it where needed. Removes what a crash left half
    /// written.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        const OP: &str = "FileArtifacts::open";
        let directory = directory.into();
        let halves = directory.join(HALVES);
        private_dir(OP, &halves)?;
        let opened = Dir::open(&halves).and_then(|halves| {
            half::sweep(&halves)?;
            Ok(halves)
        });
        let halves = Arc::new(opened.map_err(|e| translate(OP, &halves, e))?);
        Ok(Self { directory, halves })
    }

    fn of(&self, build: &BuildId) -> PathBuf {
        self.directory.join(build.as_str())
    }
}

/// The file of an artifact: as long for any name, and none that an artifact of version 1 can have.
fn file_name(name: &str) -> String {
    Digest::sha256(Sha256::digest(name).into()).as_str().replace("sha256:", "%")
}

/// The file of an artifact of version 1, which is the artifact and nothing more.
fn old_file_name(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn old_name(file: &str) -> Option<String> {
    let name = file.replace("%2F", "/").replace("%25", "%");
    (old_file_name(&name) == file && !name.starts_with(".half-")).then_some(name)
}

/// An artifact on its way into a file.
struct Writing {
    half: Half,
    hash: Sha256,
    bytes: u64,
}

impl Writing {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        self.half.file.write_all(piece)
    }

    /// Gives the artifact its place, in one step.
    fn finish(mut self, above: &Path, key: &ArtifactKey) -> io::Result<Artifact> {
        let digest: [u8; 32] = self.hash.finalize().into();
        let trailer = Trailer { name: key.name.to_string(), digest, bytes: self.bytes };
        self.half.file.write_all(&trailer.encode())?;
        self.half.file.sync_all()?;
        let above = Dir::open(above)?;
        for _ in 0..TRIES_MAX {
            let made = above.make(key.build.as_str())?;
            let kept = above.sub(key.build.as_str()).and_then(|to| {
                self.half.keep(&to, &file_name(key.name.as_str()))?;
                // One of version 1 is replaced. Where it stays it is not seen any more.
                let _ = to.remove(old_file_name(key.name.as_str()));
                Ok(())
            });
            match kept {
                // Somebody forgot the build meanwhile: then this came later.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                kept => kept?,
            }
            if made {
                above.sync()?;
            }
            let digest = Digest::sha256(digest);
            return Ok(Artifact { key: key.to_string(), bytes: self.bytes, digest });
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }
}

/// The file of an artifact, open, and how many of its bytes are the artifact.
fn open(directory: &Path, name: &str) -> io::Result<(File, u64)> {
    let dir = Dir::open(directory)?;
    match dir.read(file_name(name)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        file => {
            let file = file?;
            let bytes = Trailer::read(&file)?.bytes;
            return Ok((file, bytes));
        }
    }
    match dir.read(old_file_name(name)) {
        // Version 1 had no artifact with so long a name.
        Err(e) if e.kind() == io::ErrorKind::InvalidFilename => Err(io::ErrorKind::NotFound.into()),
        file => {
            let file = file?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        }
    }
}

/// The artifacts of a build, by name.
fn list(directory: &Path, build: &BuildId) -> io::Result<Vec<Artifact>> {
    let dir = match Dir::open(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        dir => dir?,
    };
    let mut found = Vec::new();
    for name in dir.names()? {
        let file = match dir.read(name.as_str()) {
            // The build is being forgotten.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let old = old_name(&name);
        let trailer = match &old {
            Some(name) => sum(&file, name)?,
            None if name.starts_with('%') => Trailer::read(&file)?,
            None => continue,
        };
        let Trailer { name, digest, bytes } = trailer;
        let artifact =
            Artifact { key: format!("{build}/{name}"), bytes, digest: Digest::sha256(digest) };
        found.push((artifact, old.is_some()));
    }
    found.sort_by(|(a, old), (b, older)| (&a.key, old).cmp(&(&b.key, older)));
    found.dedup_by(|(b, _), (a, _)| a.key == b.key);
    Ok(found.into_iter().map(|(artifact, _)| artifact).collect())
}

/// The caches that have a file.
fn caches(directory: &Path) -> io::Result<Vec<BuildId>> {
    let above = Dir::open(directory)?;
    let mut caches = Vec::new();
    for name in above.names()? {
        let Some(cache) = BuildId::new(name).ok().filter(CacheKey::is_reserved) else { continue };
        let files = match above.sub(cache.as_str()) {
            // It is being forgotten.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            dir => dir?.some()?,
        };
        if !files.is_empty() {
            caches.push(cache);
        }
    }
    caches.sort();
    Ok(caches)
}

/// What a trailer would say of an artifact of version 1.
fn sum(mut file: &File, name: &str) -> io::Result<Trailer> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Trailer { name: name.into(), digest: hash.finalize().into(), bytes }),
            n => {
                hash.update(&piece[..n]);
                bytes += n as u64;
            }
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
        let (halves, directory, key) = (self.halves.clone(), self.directory.clone(), key.clone());
        let path = self.of(&key.build);
        let wrong = move |e| translate(OP, &path, e);
        let made = wrong.clone();
        let mut writing = blocking(OP, move || {
            let half = Half::create(halves).map_err(made)?;
            Ok(Writing { half, hash: Sha256::new(), bytes: 0 })
        })
        .await?;
        while let Some(piece) = body.next().await {
            let (piece, wrong) = (piece?, wrong.clone());
            writing = blocking(OP, move || {
                writing.write(&piece).map_err(wrong)?;
                Ok(writing)
            })
            .await?;
        }
        blocking(OP, move || writing.finish(&directory, &key).map_err(wrong)).await
    }

    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream> {
        const OP: &str = "ArtifactStore::get";
        let (directory, name) = (self.of(&key.build), key.name.clone());
        let path = name.below(&directory);
        let wrong = path.clone();
        let opened = blocking(OP, move || {
            open(&directory, name.as_str()).map_err(|e| translate(OP, &wrong, e))
        });
        let (file, bytes) = opened.await?;
        Ok(pieces(OP, path, file, bytes))
    }

    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>> {
        const OP: &str = "ArtifactStore::list";
        let (directory, build) = (self.of(build), build.clone());
        blocking(OP, move || list(&directory, &build).map_err(|e| translate(OP, &directory, e)))
            .await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "ArtifactStore::forget";
        let (directory, build) = (self.directory.clone(), build.clone());
        blocking(OP, move || {
            let removed =
                Dir::open(&directory).and_then(|above| removal::remove(&above, build.as_str()));
            removed.map_err(|e| translate(OP, &directory.join(build.as_str()), e))
        })
        .await
    }

    async fn caches(&self) -> Result<Vec<BuildId>> {
        const OP: &str = "ArtifactStore::caches";
        let directory = self.directory.clone();
        blocking(OP, move || caches(&directory).map_err(|e| translate(OP, &directory, e))).await
    }
}
