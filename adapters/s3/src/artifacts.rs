//! Artifacts: a content that never changes, under a key of its own, and a record that names it.
//!
//! Whatever a server makes of requests that race, writing a small object happens as a whole; that is
//! all this relies on. Requests with conditions are not used: some servers ignore the condition and
//! say nothing.

use crate::{
    client::Client,
    config::S3Config,
    credentials::Credentials,
    download,
    keys::Keys,
    record::{self, Record},
    upload::{self, Uploaded},
};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use kiln::{
    Artifact, BuildId, CacheKey, Error, ErrorKind, Result,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use object_store::path::Path;
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

/// How many small requests of one call are on their way at once.
const AT_ONCE: usize = 16;
/// How often a record is read again whose content was replaced meanwhile.
const TRIES_MAX: usize = 10;

/// Artifacts in a bucket, which any number of processes may share.
///
/// An upload of any size keeps up to four of its parts in memory. The server is given a SHA-256 of
/// every request and refuses what did not arrive; what is read is compared to the digest it had.
///
/// The bytes of an artifact that is replaced stay in the bucket, since somebody may be reading them,
/// until [`sweep`](Self::sweep) or until the build is forgotten.
#[derive(Clone, Debug)]
pub struct S3Artifacts {
    pub(crate) client: Arc<Client>,
}

impl S3Artifacts {
    /// A store in a bucket. Asks nothing of the server.
    ///
    /// `Invalid` if the configuration cannot be meant, or the file of certificates not be read.
    pub fn new(config: &S3Config, credentials: &Credentials) -> Result<Self> {
        Ok(Self { client: Arc::new(Client::new(config, credentials)?) })
    }

    /// Asks the server whether the bucket is there and may be used, for example at start.
    pub async fn check(&self) -> Result<()> {
        const OP: &str = "S3Artifacts::check";
        let mut uploads = self.client.list(OP, &self.client.keys.uploads());
        uploads.try_next().await.map(drop)
    }

    /// The record of an artifact, if there is one.
    pub(crate) async fn record(
        &self,
        op: &'static str,
        key: &ArtifactKey,
    ) -> Result<Option<Record>> {
        self.record_at(op, &self.client.keys.record(key)).await
    }

    pub(crate) async fn record_at(&self, op: &'static str, path: &Path) -> Result<Option<Record>> {
        let Some(text) = self.client.small(op, path).await? else { return Ok(None) };
        Record::read(op, path.filename().unwrap_or_default(), &text).map(Some)
    }

    /// The keys below a key.
    async fn keys(&self, op: &'static str, above: &Path) -> Result<Vec<Path>> {
        self.client.list(op, above).map_ok(|object| object.location).try_collect().await
    }

    async fn remove(&self, op: &'static str, keys: Vec<Path>) -> Result<()> {
        let client = &self.client;
        stream::iter(keys.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |key| async move { client.delete(op, &key).await })
            .await
    }

    /// An artifact of a list. None if it was forgotten meanwhile.
    async fn listed(
        &self,
        build: &BuildId,
        path: Path,
        contents: &HashSet<Path>,
    ) -> Result<Option<Artifact>> {
        const OP: &str = "ArtifactStore::list";
        let Some(record) = self.record_at(OP, &path).await? else { return Ok(None) };
        let content = self.client.keys.content(build, &record.content);
        // It may be newer than the list of contents.
        if !contents.contains(&content) && !self.client.exists(OP, &content).await? {
            return Ok(None);
        }
        let Record { name, bytes, digest, .. } = record;
        let key = ArtifactKey { build: build.clone(), name }.to_string();
        Ok(Some(Artifact { key, bytes, digest }))
    }
}

#[async_trait]
impl ArtifactStore for S3Artifacts {
    async fn put(&self, key: &ArtifactKey, body: ByteStream) -> Result<Artifact> {
        const OP: &str = "ArtifactStore::put";
        if key.name.is_root() {
            return Err(Error::new(ErrorKind::Invalid, OP, "an artifact has a name")
                .with("build", &key.build)
                .hint("Name the artifact."));
        }
        let Uploaded { id, bytes, digest, note } =
            upload::upload(OP, &self.client, &key.build, body).await?;
        let record = Record::new(key.name.clone(), bytes, digest.clone(), id);
        let text = record::write(OP, &record)?;
        // From here on the record may arrive whatever is heard of it, so the content stays.
        self.client.put(OP, &self.client.keys.record(key), text).await?;
        if let Some(note) = note {
            note.done().await;
        }
        Ok(Artifact { key: key.to_string(), bytes, digest })
    }

    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream> {
        const OP: &str = "ArtifactStore::get";
        let missing =
            |message: &str| Error::new(ErrorKind::NotFound, OP, message).with("artifact", key);
        let mut before = None;
        for _ in 0..TRIES_MAX {
            let Some(record) = self.record(OP, key).await? else {
                return Err(missing("there is no such artifact"));
            };
            if before.as_ref() == Some(&record) {
                return Err(missing("there is no such artifact any more").hint(
                    "Somebody forgot the build while it was put, or removed objects of the bucket.",
                ));
            }
            let content = self.client.keys.content(&key.build, &record.content);
            if let Some(got) = self.client.large(OP, &content).await? {
                return download::verified(OP, key, &record, got, self.client.patience);
            }
            before = Some(record);
        }
        Err(Error::new(ErrorKind::Conflict, OP, "the artifact is replaced again and again")
            .with("artifact", key))
    }

    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>> {
        const OP: &str = "ArtifactStore::list";
        let records = self.keys(OP, &self.client.keys.records(build)).await?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let contents = self.keys(OP, &self.client.keys.contents(build)).await?;
        let contents: HashSet<Path> = contents.into_iter().collect();
        let contents = &contents;
        let mut artifacts: Vec<Artifact> = stream::iter(records)
            .map(|path| self.listed(build, path, contents))
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|artifact| async move { Ok(artifact) })
            .try_collect()
            .await?;
        artifacts.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(artifacts)
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "ArtifactStore::forget";
        // A content is written before its record: what the second list lacks has no record yet.
        let records = self.keys(OP, &self.client.keys.records(build)).await?;
        self.remove(OP, records).await?;
        let contents = self.keys(OP, &self.client.keys.contents(build)).await?;
        self.remove(OP, contents).await
    }

    async fn caches(&self) -> Result<Vec<BuildId>> {
        const OP: &str = "ArtifactStore::caches";
        let keys = &self.client.keys;
        let mut objects = self.client.list_after(OP, keys.all(), &keys.before_caches());
        let mut caches = BTreeSet::new();
        while let Some(object) = objects.try_next().await? {
            let Some(build) = keys.build_of(&object.location) else { continue };
            if CacheKey::is_reserved(&build) {
                // A content alone is what an upload left, or is about to give a record.
                if object.location.prefix_matches(&keys.records(&build)) {
                    caches.insert(build);
                }
            } else if Keys::is_after_caches(&build) {
                break;
            }
        }
        Ok(caches.into_iter().collect())
    }
}
