//! Fetches sources from tar archives: from those that clients uploaded (`upload:ID`), and from
//! those at a URL (`https://…/x.tar.gz`, `.tgz`, `.tar`, `.tar.zst`, `.tzst`).
//!
//! The revision of an archive is the SHA-256 of its bytes, as `sha256:…`. What a URL gave when it
//! was resolved is kept as the artifact `source/STEP` of the build, so that every attempt unpacks
//! the same bytes, whatever the URL gives by then. `docs/archives.md` says what is refused.
//!
//! Needs a Tokio runtime with time and I/O.

mod bytes;
mod config;
mod dir;
mod error;
mod gate;
mod pack;
mod place;
mod unpack;
mod url;

pub use config::ArchiveConfig;

use crate::{
    bytes::Hashed,
    error::{FETCH, RESOLVE},
    gate::Gate,
    place::Place,
    url::ArchiveUrl,
};
use ::bytes::Bytes;
use async_trait::async_trait;
use futures::StreamExt;
use kiln::{
    BuildId, Error, ErrorKind, RelPath, Result, Revision, SourceSpec, StepCx,
    image::Digest,
    port::{ArtifactKey, ArtifactStore, ByteStream, Source},
};
use std::{path::Path, sync::Arc};

/// Whether a text is the address of an archive: an upload, or a URL with the name of an archive.
pub fn is_archive(text: &str) -> bool {
    url::is_archive(text)
}

/// The artifact that an upload is.
const UPLOAD: &str = "context.tar";

/// A [`Source`] of archives.
#[derive(Clone, Debug)]
pub struct ArchiveSource {
    config: Arc<ArchiveConfig>,
    artifacts: Arc<dyn ArtifactStore>,
    gate: Gate,
}

/// What a spec asks for.
enum Asked {
    /// An archive that a client uploaded, under the id of a build that never is.
    Upload(BuildId),
    /// An archive at a URL.
    Url(ArchiveUrl),
}

impl ArchiveSource {
    /// A source over the artifacts in which uploads are.
    pub fn new(artifacts: Arc<dyn ArtifactStore>, config: ArchiveConfig) -> Self {
        let config = Arc::new(config);
        Self { gate: Gate::new(config.clone()), config, artifacts }
    }

    /// The digest of an upload, which is what it is now.
    async fn uploaded(&self, op: &'static str, upload: &BuildId) -> Result<Digest> {
        let all = self.artifacts.list(upload).await?;
        let name = format!("{upload}/{UPLOAD}");
        let found = all.into_iter().find(|artifact| artifact.key == name);
        found.map(|artifact| artifact.digest).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, op, "there is no such upload").with("upload", upload)
        })
    }

    /// Where an archive is among the artifacts; `None` if it is not there.
    async fn find(&self, build: &BuildId, digest: &str) -> Result<Option<ArtifactKey>> {
        let all = self.artifacts.list(build).await?;
        let found = all.into_iter().find(|artifact| artifact.digest.to_string() == digest);
        let name = found.and_then(|artifact| {
            let name = artifact.key.strip_prefix(build.as_str())?.strip_prefix('/')?;
            RelPath::new(name).ok()
        });
        Ok(name.map(|name| ArtifactKey { build: build.clone(), name }))
    }

    /// Takes in what a URL gives, as an artifact of the build.
    async fn take(&self, op: &'static str, cx: &StepCx, url: &ArchiveUrl) -> Result<Digest> {
        let name = RelPath::new(format!("source/{}", cx.key.step.0))
            .map_err(|e| Error::new(ErrorKind::Unexpected, op, e.to_string()))?;
        let key = ArtifactKey { build: cx.key.build.clone(), name };
        let work = async {
            let body = self.gate.get(op, url).await?;
            self.artifacts.put(&key, body).await
        };
        let kept = cx.cancel.race(work).await.map_err(|_| cx.cancelled(op))?;
        Ok(kept.map_err(|e| e.with("archive", url.shown()))?.digest)
    }

    /// The bytes of just this archive, from wherever they are.
    async fn bytes(&self, cx: &StepCx, asked: &Asked, digest: &str) -> Result<ByteStream> {
        let build = match asked {
            Asked::Upload(upload) => upload,
            Asked::Url(_) => &cx.key.build,
        };
        let key = match (self.find(build, digest).await?, asked) {
            (Some(key), _) => key,
            (None, Asked::Upload(upload)) => {
                let message = "there is no such upload any more";
                return Err(Error::new(ErrorKind::NotFound, FETCH, message)
                    .with("upload", upload)
                    .with("digest", digest));
            }
            (None, Asked::Url(url)) => {
                let now = self.take(FETCH, cx, url).await?.to_string();
                if now != digest {
                    let message = "the archive is another one by now";
                    return Err(Error::new(ErrorKind::NotFound, FETCH, message)
                        .with("archive", url.shown())
                        .with("digest", now)
                        .with("expected", digest));
                }
                self.find(build, digest).await?.ok_or_else(|| {
                    let message = "an artifact is gone that was just kept";
                    Error::new(ErrorKind::Corrupt, FETCH, message)
                })?
            }
        };
        self.artifacts.get(&key).await
    }
}

fn read(op: &'static str, spec: &SourceSpec) -> Result<Asked> {
    if spec.credentials.is_some() {
        let message = "an archive is fetched without credentials";
        return Err(Error::new(ErrorKind::Unsupported, op, message));
    }
    if let Some(id) = spec.url.strip_prefix(url::UPLOAD) {
        let id = BuildId::new(id).map_err(|_| {
            Error::new(ErrorKind::NotFound, op, "that is not the name of an upload")
        })?;
        return Ok(Asked::Upload(id));
    }
    url::parse(&spec.url).map(Asked::Url).map_err(|why| {
        Error::new(ErrorKind::Invalid, op, format!("that is not the URL of an archive: {why}"))
    })
}

/// The digest that a reference is, if it is one.
fn exact(op: &'static str, spec: &SourceSpec) -> Result<Option<Digest>> {
    let Some(reference) = &spec.reference else { return Ok(None) };
    reference.parse().map(Some).map_err(|_| {
        let message = "an archive has no branches and tags";
        Error::new(ErrorKind::NotFound, op, message)
            .with("reference", reference.chars().take(128).collect::<String>())
            .hint("Name its digest, sha256:…, or leave the reference out.")
    })
}

#[async_trait]
impl Source for ArchiveSource {
    fn accepts(&self, spec: &SourceSpec) -> bool {
        is_archive(&spec.url)
    }

    async fn resolve(&self, cx: &StepCx, spec: &SourceSpec) -> Result<Revision> {
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(RESOLVE));
        }
        let asked = read(RESOLVE, spec)?;
        let digest = match (exact(RESOLVE, spec)?, &asked) {
            (Some(digest), _) => digest,
            (None, Asked::Upload(upload)) => self.uploaded(RESOLVE, upload).await?,
            (None, Asked::Url(url)) => self.take(RESOLVE, cx, url).await?,
        };
        Ok(Revision { id: digest.to_string(), reference: None })
    }

    async fn fetch(
        &self,
        cx: &StepCx,
        spec: &SourceSpec,
        revision: &Revision,
        into: &Path,
    ) -> Result<()> {
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(FETCH));
        }
        let asked = read(FETCH, spec)?;
        let work = async {
            let stream = self.bytes(cx, &asked, &revision.id).await?;
            let place = Place::new(cx, into)?;
            let (pieces, hashed) = Hashed::channel();
            let unpacked = unpack::unpack(&self.config, place, hashed, &spec.subdir);
            let (sent, unpacked) = futures::join!(send(stream, pieces), unpacked);
            // What could not be read explains best why it could not be unpacked.
            sent?;
            let unpacked = unpacked?;
            unpacked.expect(&revision.id)?;
            unpacked.put()
        };
        // Whoever has to make room has to know where.
        let named = |e: Error| match e.kind() {
            ErrorKind::Exhausted => e.with("workspace", cx.workspace.display()),
            _ => e,
        };
        cx.cancel.race(work).await.map_err(|_| cx.cancelled(FETCH))?.map_err(named)
    }
}

/// Hands bytes on to the thread that unpacks them. Its end is no error of this side.
async fn send(mut from: ByteStream, to: tokio::sync::mpsc::Sender<Bytes>) -> Result<()> {
    while let Some(piece) = from.next().await {
        if to.send(piece?).await.is_err() {
            break;
        }
    }
    Ok(())
}
