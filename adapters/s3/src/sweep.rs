//! Removes what crashes and replaced artifacts left.

use crate::{artifacts::S3Artifacts, error::found, record::Note};
use futures::TryStreamExt;
use kiln::{BuildId, ErrorKind, Result};
use object_store::{ObjectMeta, multipart::MultipartStore, path::Path};
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const OP: &str = "S3Artifacts::sweep";

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that nobody ended.
    pub uploads: u64,
    /// Contents that no artifact has any more.
    pub contents: u64,
    /// The bytes of these.
    pub bytes: u64,
}

impl S3Artifacts {
    /// Ends uploads and removes contents that are older than an age and belong to no artifact.
    ///
    /// The age has to be longer than any upload takes, for one that goes on is ended too and then
    /// fails; a day is good. Any number of processes may sweep at once. It lists the whole prefix,
    /// in memory that grows with the largest build and not with the bucket, and goes on where
    /// something cannot be removed; the first such error is returned at the end.
    pub async fn sweep(&self, older_than: Duration) -> Result<Swept> {
        let mut sweep = Sweep { store: self, before: before(older_than), swept: Swept::default() };
        let uploads = sweep.uploads().await;
        let contents = sweep.contents().await;
        uploads.and(contents).map(|()| sweep.swept)
    }
}

/// Milliseconds since 1970 before which something is old.
fn before(older_than: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(older_than).as_millis().try_into().unwrap_or(i64::MAX)
}

struct Sweep<'a> {
    store: &'a S3Artifacts,
    before: i64,
    swept: Swept,
}

impl Sweep<'_> {
    fn is_old(&self, object: &ObjectMeta) -> bool {
        object.last_modified.timestamp_millis() <= self.before
    }

    async fn uploads(&mut self) -> Result<()> {
        let client = &self.store.client;
        let mut notes = client.list(OP, &client.keys.uploads());
        let mut ended = Ok(());
        while let Some(note) = notes.try_next().await? {
            if !self.is_old(&note) {
                continue;
            }
            match self.upload(&note.location).await {
                Ok(gone) => self.swept.uploads += u64::from(gone),
                Err(e) => ended = ended.and(Err(e)),
            }
        }
        ended
    }

    /// Ends the upload of a note; false if it was over.
    async fn upload(&self, path: &Path) -> Result<bool> {
        let client = &self.store.client;
        let Some(text) = client.small(OP, path).await? else { return Ok(false) };
        let note = Note::read(OP, path.filename().unwrap_or_default(), &text)?;
        // Whoever can write to the bucket could name anything: only contents of ours are ended.
        let key = Path::parse(&note.key).ok().filter(|key| client.keys.build_of(key).is_some());
        let mut gone = false;
        if let Some(key) = key {
            let aborted = client.streams.abort_multipart(&key, &note.upload).await;
            match found(aborted.map_err(|e| client.wrong(OP, &key, e))) {
                Ok(there) => gone = there.is_some(),
                // So some servers say that they do not know the upload.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                Err(e) if client.exists(OP, &key).await? => {
                    tracing::debug!(error = ?e, key = %key, "the upload was complete");
                }
                Err(e) => return Err(e),
            }
        }
        client.delete(OP, path).await?;
        Ok(gone)
    }

    /// Looks closer at every build that has more contents than artifacts.
    async fn contents(&mut self) -> Result<()> {
        let client = &self.store.client;
        let mut all = client.list(OP, client.keys.all());
        let mut seen: HashMap<BuildId, (u64, u64)> = HashMap::new();
        let mut ended = Ok(());
        while let Some(object) = all.try_next().await? {
            let Some(build) = client.keys.build_of(&object.location) else { continue };
            // Keys come in order, so the build before is over. Where they do not, one that comes
            // in pieces is looked at more than once.
            if !seen.contains_key(&build) {
                for (build, (records, contents)) in std::mem::take(&mut seen) {
                    if contents > records {
                        ended = ended.and(self.build(&build).await);
                    }
                }
            }
            let (records, contents) = seen.entry(build.clone()).or_default();
            match object.location.prefix_matches(&client.keys.records(&build)) {
                true => *records += 1,
                false => *contents += 1,
            }
        }
        for (build, (records, contents)) in seen {
            if contents > records {
                ended = ended.and(self.build(&build).await);
            }
        }
        ended
    }

    async fn build(&mut self, build: &BuildId) -> Result<()> {
        let client = &self.store.client;
        // The contents first: a content that gets its record meanwhile is seen to have it.
        let contents: Vec<ObjectMeta> =
            client.list(OP, &client.keys.contents(build)).try_collect().await?;
        let records: Vec<ObjectMeta> =
            client.list(OP, &client.keys.records(build)).try_collect().await?;
        let mut used = HashSet::new();
        for record in records {
            if let Some(record) = self.store.record_at(OP, &record.location).await? {
                used.insert(record.content);
            }
        }
        for content in contents {
            let id = content.location.filename().unwrap_or_default();
            // An upload that is noted is on its way still.
            if !self.is_old(&content)
                || used.contains(id)
                || client.exists(OP, &client.keys.upload(id)).await?
            {
                continue;
            }
            client.delete(OP, &content.location).await?;
            self.swept.contents += 1;
            self.swept.bytes += content.size;
        }
        Ok(())
    }
}
