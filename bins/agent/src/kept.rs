//! The leases this node has, kept in a file: after a crash they are asked for again at once, so that
//! nobody else gets a build whose commands run here still.

use async_trait::async_trait;
use kiln::{
    BuildId, ErrorKind, Result,
    port::{Job, Lease, Node, Queue, Settlement},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The version of the file.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    leases: Vec<Lease>,
}

/// A queue that remembers what was leased from it.
#[derive(Debug)]
pub(crate) struct Kept {
    inner: Arc<dyn Queue>,
    file: PathBuf,
    held: Mutex<BTreeMap<BuildId, Had>>,
    /// Whoever sweeps a build has this, and a lease is told only when nobody does: a build is never
    /// swept while it is driven.
    pub(crate) sweeping: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Had {
    lease: Lease,
    /// What is to become of it, if nobody drives it any more and the server was not told yet.
    over: Option<Settlement>,
}

impl Kept {
    pub(crate) fn new(inner: Arc<dyn Queue>, file: PathBuf) -> Self {
        Self { inner, file, held: Mutex::default(), sweeping: tokio::sync::Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BuildId, Had>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the leases that the process before this one had, whether they count or not: that
    /// is for the server to say. A file that cannot be read costs no more than what runs here.
    pub(crate) fn take_over(&self) -> Vec<Lease> {
        let leases = self.read();
        let had =
            |lease: &Lease| (lease.job.build.clone(), Had { lease: lease.clone(), over: None });
        self.lock().extend(leases.iter().map(had));
        leases
    }

    fn read(&self) -> Vec<Lease> {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "the leases of the process before cannot be read");
                return Vec::new();
            }
        };
        match serde_json::from_slice::<Stored>(&text) {
            Ok(stored) if stored.version == VERSION => stored.leases,
            _ => {
                tracing::warn!("the leases of the process before are of another version");
                Vec::new()
            }
        }
    }

    /// Whether a build is leased here.
    pub(crate) fn has(&self, build: &BuildId) -> bool {
        self.lock().contains_key(build)
    }

    /// The leases that somebody drives, and those the server has yet to be told of.
    pub(crate) fn all(&self) -> Vec<Lease> {
        self.lock().values().map(|had| had.lease.clone()).collect()
    }

    /// Tells the server once more what it could not be told.
    pub(crate) async fn settle_late(&self) {
        let late = |had: &Had| Some((had.lease.clone(), had.over?));
        let late: Vec<_> = self.lock().values().filter_map(late).collect();
        for (lease, how) in late {
            if let Err(e) = self.settle(&lease, how).await {
                tracing::debug!(build = %lease.job.build, error = ?e, "not given back yet");
            }
        }
    }

    fn change(&self, f: impl FnOnce(&mut BTreeMap<BuildId, Had>)) {
        let mut held = self.lock();
        f(&mut held);
        let leases = held.values().map(|had| had.lease.clone()).collect();
        // Under the lock, so that an older state never replaces a newer one.
        if let Err(error) = self.store(&Stored { version: VERSION, leases }) {
            tracing::warn!(%error, "a crash would cost what runs: the leases cannot be kept");
        }
    }

    fn store(&self, stored: &Stored) -> std::io::Result<()> {
        let dir = self.file.parent().unwrap_or(std::path::Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        serde_json::to_writer(&mut file, stored)?;
        file.flush()?;
        file.as_file().sync_data()?;
        file.persist(&self.file)?;
        Ok(())
    }

    /// Forgets a lease that counts no more.
    pub(crate) fn forget(&self, lease: &Lease) {
        let build = &lease.job.build;
        if self.lock().get(build).is_some_and(|had| had.lease.token == lease.token) {
            self.change(|held| drop(held.remove(build)));
        }
    }
}

#[async_trait]
impl Queue for Kept {
    async fn push(&self, job: Job) -> Result<()> {
        self.inner.push(job).await
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        let leased = self.inner.lease(node, ttl, patience).await?;
        if let Some(lease) = &leased {
            let _nobody_sweeps = self.sweeping.lock().await;
            let had = Had { lease: lease.clone(), over: None };
            self.change(|held| drop(held.insert(lease.job.build.clone(), had)));
        }
        Ok(leased)
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        match self.inner.renew(lease, ttl).await {
            Ok(renewed) => {
                if !self.has(&lease.job.build) {
                    let _nobody_sweeps = self.sweeping.lock().await;
                    let had = Had { lease: renewed.clone(), over: None };
                    self.change(|held| drop(held.insert(lease.job.build.clone(), had)));
                }
                Ok(renewed)
            }
            Err(e) => {
                if e.kind() == ErrorKind::Conflict {
                    self.forget(lease);
                }
                Err(e)
            }
        }
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        let settled = self.inner.settle(lease, how).await;
        match &settled {
            Err(e) if e.kind() != ErrorKind::Conflict => {
                if let Some(had) = self.lock().get_mut(&lease.job.build)
                    && had.lease.token == lease.token
                {
                    had.over = Some(how);
                }
            }
            _ => self.forget(lease),
        }
        settled
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        self.inner.remove(build).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::{Owner, memory::MemoryQueue};
    use kiln_conformance::sample::{job, node};

    const TTL: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_was_leased_is_known_to_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, file) = (Arc::new(MemoryQueue::default()), dir.path().join("leases.json"));
        let kept = Kept::new(queue.clone(), file.clone());
        assert_eq!(kept.take_over(), []);
        for name in ["a", "b"] {
            kept.push(Job::new(job(name, "o").build, Owner::local())).await.unwrap();
        }
        let n = node("n", 9);
        let a = kept.lease(&n, TTL, Duration::ZERO).await.unwrap().unwrap();
        let b = kept.lease(&n, TTL, Duration::ZERO).await.unwrap().unwrap();
        kept.settle(&b, Settlement::Done).await.unwrap();
        let next = Kept::new(queue.clone(), file.clone());
        assert_eq!(next.take_over(), std::slice::from_ref(&a));
        assert!(next.has(&a.job.build), "it would be swept before it is asked for");
        next.renew(&a, TTL).await.unwrap();
        queue.remove(&a.job.build).await.unwrap();
        assert!(next.renew(&a, TTL).await.is_err());
        assert!(!next.has(&a.job.build));
        assert_eq!(Kept::new(queue, file.clone()).take_over(), []);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(next.take_over(), []);
    }
}
