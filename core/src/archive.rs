//! Logs that move into an artifact store once they are over.
//!
//! A log that is written stays where writing is cheap: a directory, a database. One that is over is
//! copied as a few immutable artifacts and forgotten there, so that logs of years cost what a bucket
//! costs, and every server that reaches the bucket can show them.

mod manifest;
mod segment;
mod shelf;
mod waiting;

use crate::{
    BuildId, Error, ErrorKind, Result,
    port::{ArtifactStore, LogPage, LogReader, LogRecord, LogSink, Offset},
};
use async_trait::async_trait;
use futures::future::{Either, select};
use manifest::Manifest;
use shelf::Shelf;
use std::{pin::pin, sync::Arc, time::Duration};
use waiting::Waiting;

/// How many bytes of a log are read at a time while it is archived.
const PAGE_BYTES: usize = 1 << 20;

/// Logs that are written to one place and kept, once archived, in another. It is a sink and a
/// reader like any other, and nobody who reads can tell where a log is.
///
/// Whoever ends builds calls [`archive`](Self::archive) after the log of one is closed, and calls it
/// again for those that failed or were never reached. Until then a log is whole where it was
/// written; a log that moves is shown from there until all of it is in the archive.
///
/// While the archive is out of reach, logs that have a record already are written, read and closed
/// as ever, and new ones begin; what has to be looked up there fails with the archive's own error.
///
/// The archive may be the store of the builds' own artifacts: it is written under build ids made of
/// `log.` and a hash, so that nothing of it shows among the artifacts of any build.
#[derive(Debug)]
pub struct ArchivedLogs {
    sink: Arc<dyn LogSink>,
    reader: Arc<dyn LogReader>,
    shelf: Shelf,
    waiting: Waiting,
}

impl ArchivedLogs {
    /// Logs that are written to a sink, of which the reader reads, and archived in a store.
    pub fn new(
        sink: Arc<dyn LogSink>,
        reader: Arc<dyn LogReader>,
        archive: Arc<dyn ArtifactStore>,
    ) -> Self {
        Self { sink, reader, shelf: Shelf::new(archive), waiting: Waiting::default() }
    }

    /// Moves the log of a build, which is closed, into the archive.
    ///
    /// # Promises
    ///
    /// - It may fail, be cancelled or crash at any moment: the log is shown whole, and the next
    ///   call goes on. Two calls for one build do no harm, nor does one for a log that moved.
    /// - It needs about 10 MiB of memory, whatever the length of the log.
    /// - A log that is still open stays, and this is a `Conflict`.
    pub async fn archive(&self, build: &BuildId) -> Result<()> {
        let manifest = match self.shelf.look(build).await? {
            Some(manifest) => manifest,
            None => {
                let manifest = self.copy(build).await?;
                self.shelf.finish(build, manifest).await?
            }
        };
        // What was written after the log moved, while nobody could know that it had, stays.
        let end = self.sink.end(build).await?;
        if end != manifest.end && end != Offset(0) {
            return Err(self.refuse(build, "another log is in the archive").with("end", end.0));
        }
        self.sink.forget(build).await?;
        self.waiting.tell(build);
        Ok(())
    }

    fn refuse(&self, build: &BuildId, why: &str) -> Error {
        Error::new(ErrorKind::Conflict, "ArchivedLogs::archive", why).with("build", build)
    }

    /// Copies a log, segment by segment.
    async fn copy(&self, build: &BuildId) -> Result<Manifest> {
        let mut copy = self.shelf.begin(build);
        let mut at = Offset(0);
        loop {
            let page = self.reader.read(build, at, PAGE_BYTES, Duration::ZERO).await?;
            for record in &page.records {
                copy.add(record).await?;
            }
            at = page.next;
            if page.closed {
                return copy.end().await;
            }
            if page.records.is_empty() {
                return Err(self.refuse(build, "the log is open").hint("Close the log first."));
            }
        }
    }

    /// Waits for what is written, or for the log to move.
    async fn wait(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
        moved: waiting::Moved,
    ) -> Result<LogPage> {
        let read = self.reader.read(build, from, bytes_max, patience);
        match select(pin!(moved), pin!(read)).await {
            Either::Left(_) => self.archived(build, from, bytes_max, None).await,
            Either::Right((Err(e), _)) if e.kind() == ErrorKind::Invalid => {
                self.archived(build, from, bytes_max, Some(e)).await
            }
            Either::Right((page, _)) => page,
        }
    }

    /// A page of a log that is not where it was written; the error, or an empty page, if it is not
    /// in the archive either.
    async fn archived(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        otherwise: Option<Error>,
    ) -> Result<LogPage> {
        match (self.shelf.page(build, from, bytes_max).await?, otherwise) {
            (Some(page), _) => Ok(page),
            (None, Some(e)) => Err(e),
            (None, None) => Ok(LogPage { records: Vec::new(), next: from, closed: false }),
        }
    }

    /// The manifest of a log that is not where it is written, if it is in the archive; none where
    /// that cannot be known, so that new logs go on.
    async fn moved(&self, build: &BuildId) -> Option<Arc<Manifest>> {
        self.shelf.find(build).await.unwrap_or_else(|e| {
            tracing::warn!(%build, error = ?e, "the archive of logs cannot be reached");
            None
        })
    }
}

#[async_trait]
impl LogSink for ArchivedLogs {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        // Elsewhere the log below knows better: it does not end there if it was forgotten.
        if at == Offset(0)
            && self.sink.end(build).await? == Offset(0)
            && self.moved(build).await.is_some()
        {
            return Err(Error::new(ErrorKind::Conflict, "LogSink::append", "the log is closed")
                .with("build", build)
                .with("at", at.0));
        }
        self.sink.append(build, at, records).await
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        match self.sink.end(build).await? {
            Offset(0) => Ok(self.moved(build).await.map_or(Offset(0), |manifest| manifest.end)),
            end => Ok(end),
        }
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        if self.sink.end(build).await? == Offset(0) && self.moved(build).await.is_some() {
            return Ok(());
        }
        self.sink.close(build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.shelf.forget(build).await?;
        self.sink.forget(build).await
    }
}

#[async_trait]
impl LogReader for ArchivedLogs {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        // Before the first look, so that a log that moves meanwhile is not missed.
        let moved = self.waiting.join(build);
        let page = match self.reader.read(build, from, bytes_max, Duration::ZERO).await {
            Err(e) if e.kind() == ErrorKind::Invalid => {
                return self.archived(build, from, bytes_max, Some(e)).await;
            }
            page => page?,
        };
        if !page.records.is_empty() || (page.closed && from > Offset(0)) {
            return Ok(page);
        }
        if from > Offset(0) {
            return self.wait(build, from, bytes_max, patience, moved).await;
        }
        // Nothing is here: the log begins, or is in the archive.
        match self.shelf.page(build, from, bytes_max).await {
            Ok(Some(page)) => Ok(page),
            Ok(None) if page.closed => Ok(page),
            Ok(None) => self.wait(build, from, bytes_max, patience, moved).await,
            Err(e) if page.closed => Err(e),
            Err(e) => match self.wait(build, from, bytes_max, patience, moved).await {
                Ok(page) if page.records.is_empty() && !page.closed => Err(e),
                page => page,
            },
        }
    }
}
