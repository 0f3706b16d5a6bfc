//! Archived logs in their store: writing one, and reading pages of one.

use super::{
    manifest::{MANIFEST_MAX, Manifest, OP, Part, corrupt, key, segment_key, shelf_of},
    segment::{Records, Writing},
};
use crate::{
    BuildId, Digest, Error, ErrorKind, Result,
    port::{ArtifactKey, ArtifactStore, LogPage, LogRecord, Offset},
};
use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt, TryStreamExt,
    lock::{Mutex, MutexGuard},
    stream,
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex as StdMutex, PoisonError},
};

/// How many segments are kept, so that readers who read on need not fetch them for every page. No
/// more are fetched at once, so this bounds the memory of any number of readers.
const KEPT: usize = 4;
/// How many manifests are kept.
const MANIFESTS_KEPT: usize = 64;

/// Archived logs.
#[derive(Debug)]
pub(super) struct Shelf {
    store: Arc<dyn ArtifactStore>,
    manifests: StdMutex<HashMap<BuildId, Arc<Manifest>>>,
    segments: [Mutex<Option<(Digest, Bytes)>>; KEPT],
}

impl Shelf {
    pub(super) fn new(store: Arc<dyn ArtifactStore>) -> Self {
        let segments = std::array::from_fn(|_| Mutex::default());
        Self { store, manifests: StdMutex::default(), segments }
    }

    fn manifests(&self) -> std::sync::MutexGuard<'_, HashMap<BuildId, Arc<Manifest>>> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manifest of a build's log, if it was archived.
    pub(super) async fn find(&self, build: &BuildId) -> Result<Option<Arc<Manifest>>> {
        if let Some(manifest) = self.manifests().get(build) {
            return Ok(Some(manifest.clone()));
        }
        self.look(build).await
    }

    /// As [`find`](Self::find), but asks the store in any case.
    pub(super) async fn look(&self, build: &BuildId) -> Result<Option<Arc<Manifest>>> {
        let key = key(build, "manifest")?;
        let Some(text) = self.fetch(build, &key, MANIFEST_MAX).await? else { return Ok(None) };
        Ok(Some(self.keep(build, Manifest::read(build, &text)?)))
    }

    fn keep(&self, build: &BuildId, manifest: Manifest) -> Arc<Manifest> {
        let mut manifests = self.manifests();
        if manifests.len() >= MANIFESTS_KEPT {
            manifests.clear();
        }
        let manifest = Arc::new(manifest);
        manifests.insert(build.clone(), manifest.clone());
        manifest
    }

    /// The bytes of an artifact of the archive, if it is there, and no more than it may have.
    async fn fetch(&self, build: &BuildId, key: &ArtifactKey, max: u64) -> Result<Option<Bytes>> {
        let mut stream = match self.store.get(key).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            stream => stream?,
        };
        let mut bytes = BytesMut::new();
        while let Some(piece) = stream.try_next().await? {
            if (bytes.len() + piece.len()) as u64 > max {
                return Err(corrupt(build));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes.freeze()))
    }

    /// Begins to copy a log.
    pub(super) fn begin<'a>(&'a self, build: &'a BuildId) -> Copy<'a> {
        let at = Offset(0);
        Copy { shelf: self, build, start: at, end: at, writing: Writing::new(), parts: Vec::new() }
    }

    /// Says that a log has moved: from here on it is shown.
    pub(super) async fn finish(
        &self,
        build: &BuildId,
        manifest: Manifest,
    ) -> Result<Arc<Manifest>> {
        let text = Bytes::from(manifest.write()?);
        let key = key(build, "manifest")?;
        self.store.put(&key, stream::iter([Ok(text)]).boxed()).await?;
        Ok(self.keep(build, manifest))
    }

    /// Removes the archive of a log.
    pub(super) async fn forget(&self, build: &BuildId) -> Result<()> {
        let forgotten = self.store.forget(&shelf_of(build)?).await;
        // Also if it failed: nobody knows how far it came.
        self.manifests().remove(build);
        forgotten
    }

    /// A page of an archived log; none if the log was not archived.
    pub(super) async fn page(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<LogPage>> {
        // Twice: the log may have been forgotten since its manifest was kept.
        for _ in 0..2 {
            let Some(manifest) = self.find(build).await? else { return Ok(None) };
            if let Some(page) = self.read(build, &manifest, from, bytes_max).await? {
                return Ok(Some(page));
            }
            self.manifests().remove(build);
        }
        Err(corrupt(build).with("from", from.0))
    }

    /// A page; none if a segment is not there.
    async fn read(
        &self,
        build: &BuildId,
        manifest: &Manifest,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<LogPage>> {
        if from > manifest.end {
            let message = "the log does not reach that far";
            return Err(Error::new(ErrorKind::Invalid, OP, message)
                .with("build", build)
                .with("from", from.0)
                .with("end", manifest.end.0));
        }
        let mut page = LogPage { records: Vec::new(), next: from, closed: from == manifest.end };
        // One segment, and the one behind it where the page has hardly begun.
        while let Some(number) = manifest.segment_at(page.next) {
            let part = &manifest.segments[number];
            let ends = manifest.segments.get(number + 1).map_or(manifest.end, |next| next.start);
            let Some(bytes) = self.segment(build, part).await? else { return Ok(None) };
            let before = page.next;
            let full = fill(&mut page, bytes, part.start, bytes_max, from)
                .filter(|full| (*full || page.next > before) && page.next <= ends)
                .ok_or_else(|| corrupt(build).with("segment", part.start.0))?;
            if full || page.next < ends {
                break;
            }
        }
        page.closed = page.next == manifest.end;
        Ok(Some(page))
    }

    /// The bytes of a segment, if it is there.
    async fn segment(&self, build: &BuildId, part: &Part) -> Result<Option<Bytes>> {
        let mut kept = self.slot(part).await;
        if let Some((digest, bytes)) = kept.as_ref()
            && *digest == part.digest
        {
            return Ok(Some(bytes.clone()));
        }
        // Its bytes are given back before others are fetched.
        *kept = None;
        let key = segment_key(build, part.start)?;
        let Some(bytes) = self.fetch(build, &key, part.bytes).await? else { return Ok(None) };
        if Digest::sha256(Sha256::digest(&bytes).into()) != part.digest {
            return Err(corrupt(build).with("segment", part.start.0));
        }
        *kept = Some((part.digest.clone(), bytes.clone()));
        Ok(Some(bytes))
    }

    async fn slot(&self, part: &Part) -> MutexGuard<'_, Option<(Digest, Bytes)>> {
        let mut hasher = DefaultHasher::new();
        part.digest.hash(&mut hasher);
        self.segments[hasher.finish() as usize % KEPT].lock().await
    }
}

/// Adds records of a segment to a page; whether it is full then, and none if the segment is damaged.
fn fill(
    page: &mut LogPage,
    segment: Bytes,
    start: Offset,
    bytes_max: usize,
    from: Offset,
) -> Option<bool> {
    let mut records = Records::new(segment, start)?;
    while let Some(record) = records.next().ok()? {
        if record.end() <= page.next {
            continue;
        }
        let read = page.next.0 - from.0;
        let width = record.end().0 - page.next.0;
        if !page.records.is_empty() && read.saturating_add(width) > bytes_max as u64 {
            return Some(true);
        }
        page.next = records.at();
        // A copy, so that a page does not hold the whole segment in memory.
        page.records.push(own(record.tail(from)));
    }
    Some(false)
}

/// A record whose bytes are its own.
fn own(mut record: LogRecord) -> LogRecord {
    if let crate::port::LogBody::Bytes { data, .. } = &mut record.body {
        *data = Bytes::copy_from_slice(data);
    }
    record
}

/// A log that is being copied.
pub(super) struct Copy<'a> {
    shelf: &'a Shelf,
    build: &'a BuildId,
    start: Offset,
    end: Offset,
    writing: Writing,
    parts: Vec<Part>,
}

impl Copy<'_> {
    pub(super) async fn add(&mut self, record: &LogRecord) -> Result<()> {
        self.writing.add(record);
        self.end = record.end();
        if self.writing.is_full() { self.put().await } else { Ok(()) }
    }

    /// Puts the segment that was written so far.
    async fn put(&mut self) -> Result<()> {
        let bytes = std::mem::replace(&mut self.writing, Writing::new()).finish();
        let length = bytes.len() as u64;
        let key = segment_key(self.build, self.start)?;
        let put = self.shelf.store.put(&key, stream::iter([Ok(bytes)]).boxed()).await?;
        self.parts.push(Part { start: self.start, bytes: length, digest: put.digest });
        self.start = self.end;
        Ok(())
    }

    pub(super) async fn end(mut self) -> Result<Manifest> {
        if !self.writing.is_empty() {
            self.put().await?;
        }
        Ok(Manifest::new(self.build.clone(), self.end, self.parts))
    }
}
