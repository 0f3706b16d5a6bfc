use super::{SystemClock, lock, signal::Signal};
use crate::{
    BuildId, Error, ErrorKind, Event, Recorded, Result, Seq,
    port::{Clock, Entry, Store},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Journals in memory. Gone with the process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    journals: Mutex<BTreeMap<BuildId, Vec<Recorded>>>,
    news: Signal,
}

impl MemoryStore {
    /// An empty store that waits by a clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, journals: Mutex::default(), news: Signal::default() }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, build: &BuildId, after: Seq, entries: &[Entry]) -> Result<Seq> {
        let mut journals = lock(&self.journals);
        let end = Seq(journals.get(build).map_or(0, |j| j.len() as u64));
        if end != after {
            return Err(Error::new(ErrorKind::Conflict, "Store::append", "the journal moved on")
                .with("build", build)
                .with("after", after)
                .with("end", end));
        }
        if entries.is_empty() {
            return Ok(end);
        }
        let journal = journals.entry(build.clone()).or_default();
        journal.extend(entries.iter().enumerate().map(|(i, entry)| Recorded {
            seq: after.plus(i + 1),
            at: entry.at,
            event: entry.event.clone(),
        }));
        drop(journals);
        self.news.tell();
        Ok(after.plus(entries.len()))
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        let journals = lock(&self.journals);
        let journal = journals.get(build).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "Store::load", "there is no such build")
                .with("build", build)
        })?;
        Ok(journal.iter().filter(|r| r.seq > after).cloned().collect())
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        let look = || {
            let journals = lock(&self.journals);
            journals.get(build).and_then(|j| j.last()).filter(|r| r.seq > after).map(|_| ())
        };
        Ok(self.news.until(&*self.clock, patience, look).await.is_some())
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        let finished =
            |j: &[Recorded]| j.last().is_some_and(|r| matches!(r.event, Event::Finished { .. }));
        let journals = lock(&self.journals);
        Ok(journals.iter().filter(|(_, j)| !finished(j)).map(|(build, _)| build.clone()).collect())
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        lock(&self.journals).remove(build);
        Ok(())
    }
}
