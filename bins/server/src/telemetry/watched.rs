//! Ports whose contents are counted as they pass, and refused while there is no room for them.

use super::metrics::{Ended, Metrics};
use crate::retention::Room;
use async_trait::async_trait;
use kiln::{
    Artifact, BuildId, Event, Recorded, Result, Seq,
    port::{
        ArtifactKey, ArtifactStore, ByteStream, Entry, LogBody, LogRecord, LogSink, Offset, Store,
    },
};
use std::{sync::Arc, time::Duration};

/// A port that is watched.
#[derive(Debug)]
pub(crate) struct Watched<P: ?Sized> {
    port: Arc<P>,
    metrics: Metrics,
    room: Room,
}

impl<P: ?Sized> Watched<P> {
    pub(crate) fn new(port: Arc<P>, metrics: Metrics, room: Room) -> Self {
        Self { port, metrics, room }
    }
}

#[async_trait]
impl Store for Watched<dyn Store> {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        // Builds that run may go on: their journals are small, and bounded by their plans.
        if after == Seq::START {
            self.room.expect("Store::append")?;
        }
        let end = self.port.append(build, after, entries).await?;
        let metrics = self.metrics.inner();
        for entry in entries {
            match &entry.event {
                Event::Accepted { .. } => drop(metrics.accepted.inc()),
                Event::Finished { outcome } => {
                    let outcome = outcome.word();
                    metrics.finished.get_or_create(&Ended { outcome }).inc();
                }
                _ => {}
            }
        }
        Ok(end)
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        self.port.load(build, after).await
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        self.port.wait(build, after, patience).await
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        self.port.unfinished().await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.port.forget(build).await
    }
}

#[async_trait]
impl LogSink for Watched<dyn LogSink> {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        let bytes = |record: &LogRecord| match &record.body {
            LogBody::Bytes { data, .. } => data.len() as u64,
            _ => 0,
        };
        let bytes = records.iter().map(bytes).sum();
        // The word that something is missing has to be kept.
        if bytes > 0 {
            self.room.expect("LogSink::append")?;
        }
        let end = self.port.append(build, at, records).await?;
        self.metrics.inner().log_bytes.inc_by(bytes);
        Ok(end)
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        self.port.end(build).await
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        self.port.close(build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.port.forget(build).await
    }
}

#[async_trait]
impl ArtifactStore for Watched<dyn ArtifactStore> {
    async fn put(&self, key: &ArtifactKey, body: ByteStream) -> Result<Artifact> {
        self.room.expect("ArtifactStore::put")?;
        self.port.put(key, body).await
    }

    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream> {
        self.port.get(key).await
    }

    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>> {
        self.port.list(build).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.port.forget(build).await
    }

    async fn caches(&self) -> Result<Vec<BuildId>> {
        self.port.caches().await
    }
}
