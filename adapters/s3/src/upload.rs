//! Uploads of any size, of which a few parts are in memory.

use crate::{
    client::Client,
    error::found,
    keys::unique,
    record::{self, Note},
};
use futures::TryStreamExt;
use kiln::{BuildId, Digest, Error, ErrorKind, Result, port::ByteStream};
use object_store::{
    PutPayload, PutPayloadMut,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use sha2::{Digest as _, Sha256};
use std::{mem, sync::Arc};
use tokio::{runtime::Handle, task::JoinSet};

/// How many parts are on their way while the next one fills.
const AT_ONCE: usize = 3;
/// S3 takes no more parts of one upload.
const PARTS_MAX: usize = 10_000;
/// After so many parts they are twice as long.
const PARTS_ALIKE: usize = 1_000;
/// S3 takes no longer part.
const PART_MAX: usize = 5 << 30;
/// What comes in small pieces is kept in blocks of this many bytes.
const BLOCK: usize = 256 * 1024;

/// A content that is in the bucket as a whole.
pub(crate) struct Uploaded {
    pub(crate) id: String,
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
    /// To be told when the content has its record.
    pub(crate) note: Option<Done>,
}

/// Uploads a content of a build under a new key. If it fails, or is cancelled, nothing is left but,
/// where the server cannot be asked any more, a note by which a sweep finds the rest.
pub(crate) async fn upload(
    op: &'static str,
    client: &Arc<Client>,
    build: &BuildId,
    mut body: ByteStream,
) -> Result<Uploaded> {
    let id = unique();
    let path = client.keys.content(build, &id);
    let mut upload = Upload {
        op,
        client: client.clone(),
        path,
        part: empty(),
        bytes: 0,
        hash: Sha256::new(),
        begun: None,
        sent: Vec::new(),
        flying: JoinSet::new(),
    };
    let ended = async {
        while let Some(piece) = body.try_next().await? {
            upload.add(&piece, &id).await?;
        }
        upload.finish().await
    };
    if let Err(e) = ended.await {
        upload.flying.shutdown().await;
        if let Some(begun) = upload.begun.take() {
            begun.give_up().await;
        }
        return Err(e);
    }
    let digest = Digest::sha256(upload.hash.finalize().into());
    let note = upload.begun.map(Begun::whole);
    Ok(Uploaded { id, bytes: upload.bytes, digest, note })
}

struct Upload {
    op: &'static str,
    client: Arc<Client>,
    path: Path,
    part: PutPayloadMut,
    bytes: u64,
    hash: Sha256,
    /// The parts by number; none for those on their way.
    sent: Vec<Option<PartId>>,
    /// Dropped before the upload is given up, so that no part arrives behind its end.
    flying: JoinSet<Result<(usize, PartId)>>,
    begun: Option<Begun>,
}

fn empty() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK)
}

/// How many bytes a part has, and how many of them may be on their way.
fn size(part_bytes: usize, number: usize) -> (usize, usize) {
    let doubled = number / PARTS_ALIKE;
    ((part_bytes << doubled).min(PART_MAX), (AT_ONCE >> doubled).max(1))
}

impl Upload {
    async fn add(&mut self, mut piece: &[u8], id: &str) -> Result<()> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        while !piece.is_empty() {
            let (size, _) = size(self.client.part_bytes, self.sent.len());
            let room = size - self.part.content_length();
            // Only when there is more: the last part may be full.
            if room == 0 {
                if self.begun.is_none() {
                    self.begun = Some(Begun::new(self.op, &self.client, &self.path, id).await?);
                }
                self.send().await?;
                continue;
            }
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.part.extend_from_slice(now);
            piece = later;
        }
        Ok(())
    }

    /// Sends the part that is full, once there is room for it on the way.
    async fn send(&mut self) -> Result<()> {
        let Some(begun) = &self.begun else { return Ok(()) };
        let number = self.sent.len();
        if number >= PARTS_MAX {
            return Err(Error::new(ErrorKind::Exhausted, self.op, "the artifact is too large")
                .with("bytes", self.bytes)
                .hint("Set `part_mib` higher."));
        }
        let upload = begun.upload.clone();
        while self.flying.len() >= size(self.client.part_bytes, number).1 {
            self.arrive().await?;
        }
        let part = mem::replace(&mut self.part, empty()).freeze();
        self.sent.push(None);
        let (op, client, path) = (self.op, self.client.clone(), self.path.clone());
        self.flying.spawn(async move {
            let put = client.streams.put_part(&path, &upload, number, part).await;
            Ok((number, put.map_err(|e| client.wrong(op, &path, e))?))
        });
        Ok(())
    }

    /// Waits for a part that is on its way.
    async fn arrive(&mut self) -> Result<()> {
        let broken = |e| {
            Error::new(ErrorKind::Unexpected, self.op, "an upload broke").source(format!("{e}"))
        };
        if let Some(arrived) = self.flying.join_next().await {
            let (number, part) = arrived.map_err(broken)??;
            self.sent[number] = Some(part);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        if self.begun.is_none() {
            let whole: PutPayload = mem::replace(&mut self.part, empty()).freeze();
            return self.client.put(self.op, &self.path, whole).await;
        }
        self.send().await?;
        while !self.flying.is_empty() {
            self.arrive().await?;
        }
        let Some(begun) = &self.begun else { return Ok(()) };
        let parts = self.sent.drain(..).flatten().collect();
        let complete =
            self.client.streams.complete_multipart(&self.path, &begun.upload, parts).await;
        complete.map(drop).map_err(|e| self.client.wrong(self.op, &self.path, e))
    }
}

/// An upload in parts that has begun, and is given up when this is dropped.
struct Begun {
    op: &'static str,
    client: Arc<Client>,
    path: Path,
    note: Path,
    upload: String,
    armed: bool,
}

impl Begun {
    async fn new(op: &'static str, client: &Arc<Client>, path: &Path, id: &str) -> Result<Self> {
        let upload = client.streams.create_multipart(path).await;
        let upload = upload.map_err(|e| client.wrong(op, path, e))?;
        let note = client.keys.upload(id);
        let (client, path) = (client.clone(), path.clone());
        let begun = Self { op, client, path, note, upload, armed: true };
        let text = Note::new(begun.path.to_string(), begun.upload.clone());
        // Before the first part, so that there is never a part of which nobody knows.
        begun.client.put(op, &begun.note, record::write(op, &text)?).await?;
        Ok(begun)
    }

    /// Removes what has arrived so far.
    async fn give_up(mut self) {
        self.armed = false;
        clear(self.op, &self.client, &self.path, &self.note, &self.upload).await;
    }

    /// The content is there as a whole.
    fn whole(mut self) -> Done {
        self.armed = false;
        Done { op: self.op, client: self.client.clone(), note: self.note.clone() }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (op, client) = (self.op, self.client.clone());
        let (path, note, upload) = (self.path.clone(), self.note.clone(), self.upload.clone());
        // Without a runtime nobody can ask the server; then a sweep does.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { clear(op, &client, &path, &note, &upload).await });
        }
    }
}

/// The note of an upload that is over.
pub(crate) struct Done {
    op: &'static str,
    client: Arc<Client>,
    note: Path,
}

impl Done {
    /// Removes the note. A sweep removes one that stays.
    pub(crate) async fn done(self) {
        if let Err(e) = self.client.delete(self.op, &self.note).await {
            tracing::debug!(error = ?e, note = %self.note, "the note of an upload stays");
        }
    }
}

/// Ends an upload and removes what it left. What cannot be removed, a sweep finds by its note.
async fn clear(op: &'static str, client: &Client, path: &Path, note: &Path, upload: &str) {
    let ended = async {
        let aborted = client.streams.abort_multipart(path, &upload.to_owned()).await;
        found(aborted.map_err(|e| client.wrong(op, path, e)))?;
        client.delete(op, path).await?;
        client.delete(op, note).await
    };
    if let Err(e) = ended.await {
        tracing::warn!(error = ?e, key = %path, "an upload that was given up waits for a sweep");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_so_that_the_largest_object_has_few_enough() {
        let sizes = (0..PARTS_MAX).map(|number| size(8 << 20, number).0 as u64);
        assert!(sizes.clone().sum::<u64>() > 5 << 40);
        assert!(sizes.take(PARTS_ALIKE).all(|bytes| bytes == 8 << 20));
        for number in 0..3 * PARTS_ALIKE {
            let (bytes, at_once) = size(8 << 20, number);
            assert!(bytes * (at_once + 1) <= 64 << 20, "part {number}");
        }
    }
}
