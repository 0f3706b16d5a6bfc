use crate::{Artifact, BuildId, RelPath, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::fmt::{self, Debug};

/// Bytes that come piece by piece.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// The name of an artifact: the build it belongs to and a path below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactKey {
    /// The build.
    pub build: BuildId,
    /// The name, never the root.
    pub name: RelPath,
}

impl fmt::Display for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.build, self.name)
    }
}

/// Keeps files of builds.
#[async_trait]
pub trait ArtifactStore: Debug + Send + Sync + 'static {
    /// Keeps bytes under a key, in flat memory whatever their number.
    ///
    /// # Promises
    ///
    /// - No reader sees a part: the artifact is there whole, or not at all, also if the stream
    ///   fails or the call is cancelled.
    /// - Putting under a key that exists replaces it whole.
    /// - The digest is SHA-256 of the bytes.
    async fn put(&self, key: &ArtifactKey, body: ByteStream) -> Result<Artifact>;

    /// The bytes of an artifact; `NotFound` if there is none.
    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream>;

    /// The artifacts of a build, by name.
    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>>;

    /// Removes all artifacts of a build; of one nobody knows too.
    async fn forget(&self, build: &BuildId) -> Result<()>;

    /// The ids of caches ([`CacheKey::is_reserved`](crate::CacheKey::is_reserved)) of which anything
    /// is kept, in order; never those of builds.
    async fn caches(&self) -> Result<Vec<BuildId>>;
}
