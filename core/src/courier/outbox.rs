use super::{Notifiers, errand::Errand};
use crate::{
    BuildId, ErrorKind, Recorded, Result, Seq,
    port::{Entry, Queue, Store},
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};

/// A store that notes, before it appends what somebody wants to be told of, that it is to be told.
///
/// Whatever appends to journals goes through it: an engine that accepts and drives, and what takes
/// the appends of agents. If the note cannot be made, nothing is appended, and the error is the
/// queue's.
#[derive(Clone, Debug)]
pub struct Outbox {
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    notifiers: Notifiers,
}

impl Outbox {
    /// A store around another one, which notes in a queue what the notifiers want. Not the queue
    /// of the builds: the courier would be given builds that ask for no node.
    pub fn new(store: Arc<dyn Store>, queue: Arc<dyn Queue>, notifiers: Notifiers) -> Self {
        Self { store, queue, notifiers }
    }
}

impl Outbox {
    /// Whether the journal went on from a place already, so that an append there is refused. A
    /// note of it would tell again of what is there, and perhaps long after it was told.
    async fn is_past(&self, build: &BuildId, after: Seq) -> Result<bool> {
        match self.store.load(build, after).await {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            there => there.map(|events| !events.is_empty()),
        }
    }
}

#[async_trait]
impl Store for Outbox {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        let wanted = |entry: &Entry| self.notifiers.values().any(|n| n.wants(&entry.event));
        if !entries.iter().any(wanted) || self.is_past(build, after).await? {
            return self.store.append(build, after, entries).await;
        }
        for (name, notifier) in self.notifiers.iter() {
            if entries.iter().any(|entry| notifier.wants(&entry.event)) {
                let (notifier, build, count) = (name.clone(), build.clone(), entries.len());
                Errand { notifier, build, after, count }.send(&*self.queue).await?;
            }
        }
        self.store.append(build, after, entries).await
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        self.store.load(build, after).await
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        self.store.wait(build, after, patience).await
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        self.store.unfinished().await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        self.store.forget(build).await
    }
}
