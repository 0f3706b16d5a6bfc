use super::{lock, sha256};
use crate::{
    Artifact, BuildId, CacheKey, Error, ErrorKind, RelPath, Result,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeMap, sync::Mutex};

/// Files of builds in memory, as many as fit there. Gone with the process.
#[derive(Debug, Default)]
pub struct MemoryArtifacts(Mutex<BTreeMap<BuildId, Files>>);

type Files = BTreeMap<RelPath, (Artifact, Bytes)>;

#[async_trait]
impl ArtifactStore for MemoryArtifacts {
    async fn put(&self, key: &ArtifactKey, mut body: ByteStream) -> Result<Artifact> {
        if key.name.is_root() {
            let message = "an artifact has a name";
            return Err(Error::new(ErrorKind::Invalid, "ArtifactStore::put", message)
                .with("build", &key.build)
                .hint("Name the artifact."));
        }
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        let bytes = bytes.freeze();
        let artifact =
            Artifact { key: key.to_string(), bytes: bytes.len() as u64, digest: sha256(&bytes) };
        let mut builds = lock(&self.0);
        let build = builds.entry(key.build.clone()).or_default();
        build.insert(key.name.clone(), (artifact.clone(), bytes));
        Ok(artifact)
    }

    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream> {
        let builds = lock(&self.0);
        let (_, bytes) =
            builds.get(&key.build).and_then(|b| b.get(&key.name)).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "ArtifactStore::get", "there is no such artifact")
                    .with("artifact", key)
            })?;
        Ok(stream::iter([Ok(bytes.clone())]).boxed())
    }

    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>> {
        let builds = lock(&self.0);
        let artifacts = builds.get(build).into_iter().flat_map(BTreeMap::values);
        Ok(artifacts.map(|(artifact, _)| artifact.clone()).collect())
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        lock(&self.0).remove(build);
        Ok(())
    }

    async fn caches(&self) -> Result<Vec<BuildId>> {
        Ok(lock(&self.0).keys().filter(|build| CacheKey::is_reserved(build)).cloned().collect())
    }
}
