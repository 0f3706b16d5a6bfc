#![deny(clippy::missing_trait_methods)]

use crate::layer::{Again, Around, Call, Layered};
use crate::{
    Artifact, BuildId, Error, ErrorKind, NodeId, Recorded, Result, Seq, Timestamp,
    port::{
        ArtifactKey, ArtifactStore, BuildFilter, BuildSummary, ByteStream, Entry, Fleet, Index,
        Job, Lease, LogPage, LogReader, LogRecord, LogSink, Node, Offset, Page, Queue, Settlement,
        Store,
    },
};
use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture, stream};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

#[async_trait]
impl<P: Store + ?Sized, A: Around> Store for Layered<P, A> {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        let call = Call::new("Store::append", Again::Unsure).build(build);
        self.around.around(call, || self.inner.append(build, after, entries)).await
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        let call = Call::new("Store::load", Again::Safe).build(build);
        self.around.around(call, || self.inner.load(build, after)).await
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        let call = Call::new("Store::wait", Again::Safe).build(build).patience(patience);
        self.around.around(call, || self.inner.wait(build, after, patience)).await
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        let call = Call::new("Store::unfinished", Again::Safe);
        self.around.around(call, || self.inner.unfinished()).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("Store::forget", Again::Safe).build(build);
        self.around.around(call, || self.inner.forget(build)).await
    }
}

#[async_trait]
impl<P: Index + ?Sized, A: Around> Index for Layered<P, A> {
    async fn put(&self, summary: &BuildSummary) -> Result<()> {
        let call = Call::new("Index::put", Again::Safe).build(&summary.build);
        self.around.around(call, || self.inner.put(summary)).await
    }

    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        let call = Call::new("Index::list", Again::Safe);
        self.around.around(call, || self.inner.list(filter, page)).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("Index::forget", Again::Safe).build(build);
        self.around.around(call, || self.inner.forget(build)).await
    }
}

#[async_trait]
impl<P: Queue + ?Sized, A: Around> Queue for Layered<P, A> {
    async fn push(&self, job: Job) -> Result<()> {
        let call = Call::new("Queue::push", Again::Safe);
        self.around.around(call, || self.inner.push(job.clone())).await
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        let call = Call::new("Queue::lease", Again::Unsure).patience(patience);
        self.around.around(call, || self.inner.lease(node, ttl, patience)).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let call = Call::new("Queue::renew", Again::Safe).build(&lease.job.build);
        self.around.around(call, || self.inner.renew(lease, ttl)).await
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        let call = Call::new("Queue::settle", Again::Unsure).build(&lease.job.build);
        self.around.around(call, || self.inner.settle(lease, how)).await
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        let call = Call::new("Queue::remove", Again::Unsure).build(build);
        self.around.around(call, || self.inner.remove(build)).await
    }
}

#[async_trait]
impl<P: LogSink + ?Sized, A: Around> LogSink for Layered<P, A> {
    async fn append(&self, build: &BuildId, at: Offset, records: &[LogRecord]) -> Result<Offset> {
        let call = Call::new("LogSink::append", Again::Unsure).build(build);
        self.around.around(call, || self.inner.append(build, at, records)).await
    }

    async fn end(&self, build: &BuildId) -> Result<Offset> {
        let call = Call::new("LogSink::end", Again::Safe).build(build);
        self.around.around(call, || self.inner.end(build)).await
    }

    async fn close(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("LogSink::close", Again::Safe).build(build);
        self.around.around(call, || self.inner.close(build)).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("LogSink::forget", Again::Safe).build(build);
        self.around.around(call, || self.inner.forget(build)).await
    }
}

#[async_trait]
impl<P: LogReader + ?Sized, A: Around> LogReader for Layered<P, A> {
    async fn read(
        &self,
        build: &BuildId,
        from: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<LogPage> {
        let call = Call::new("LogReader::read", Again::Safe).build(build).patience(patience);
        self.around.around(call, || self.inner.read(build, from, bytes_max, patience)).await
    }
}

#[async_trait]
impl<P: Fleet + ?Sized, A: Around> Fleet for Layered<P, A> {
    async fn enrol(&self, node: &Node) -> Result<()> {
        let call = Call::new("Fleet::enrol", Again::Safe);
        self.around.around(call, || self.inner.enrol(node)).await
    }

    async fn beat(&self, node: &NodeId, at: Timestamp) -> Result<()> {
        let call = Call::new("Fleet::beat", Again::Safe);
        self.around.around(call, || self.inner.beat(node, at)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        let call = Call::new("Fleet::nodes", Again::Safe);
        self.around.around(call, || self.inner.nodes()).await
    }

    async fn remove(&self, node: &NodeId) -> Result<()> {
        let call = Call::new("Fleet::remove", Again::Safe);
        self.around.around(call, || self.inner.remove(node)).await
    }
}

#[async_trait]
impl<P: ArtifactStore + ?Sized, A: Around> ArtifactStore for Layered<P, A> {
    async fn put(&self, key: &ArtifactKey, body: ByteStream) -> Result<Artifact> {
        let call = Call::new("ArtifactStore::put", Again::Never).build(&key.build);
        let body = Mutex::new(Some(body));
        let work = || -> BoxFuture<'_, _> {
            let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
            let body = body.unwrap_or_else(|| stream::once(async { Err(used_up()) }).boxed());
            self.inner.put(key, body)
        };
        self.around.around(call, work).await
    }

    async fn get(&self, key: &ArtifactKey) -> Result<ByteStream> {
        let call = Call::new("ArtifactStore::get", Again::Safe).build(&key.build);
        self.around.around(call, || self.inner.get(key)).await
    }

    async fn list(&self, build: &BuildId) -> Result<Vec<Artifact>> {
        let call = Call::new("ArtifactStore::list", Again::Safe).build(build);
        self.around.around(call, || self.inner.list(build)).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("ArtifactStore::forget", Again::Safe).build(build);
        self.around.around(call, || self.inner.forget(build)).await
    }

    async fn caches(&self) -> Result<Vec<BuildId>> {
        let call = Call::new("ArtifactStore::caches", Again::Safe);
        self.around.around(call, || self.inner.caches()).await
    }
}

/// A layer that made a call again which is [`Again::Never`] gets this instead of half a body.
pub(super) fn used_up() -> Error {
    Error::new(ErrorKind::Unexpected, "Layered", "the body was sent before")
}
