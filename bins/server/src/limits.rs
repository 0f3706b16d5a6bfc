//! How many builds of a label are driven side by side.

use async_trait::async_trait;
use kiln::{
    BuildId, ErrorKind, Event, Result, Seq,
    port::{Job, Lease, Node, Queue, Settlement, Store},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A queue that gives each job the limits of its build's labels.
#[derive(Debug)]
pub(crate) struct Limited {
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    limits: BTreeMap<String, u32>,
}

impl Limited {
    /// The queue itself where nothing is limited.
    pub(crate) fn around(
        queue: Arc<dyn Queue>,
        store: Arc<dyn Store>,
        limits: &BTreeMap<String, u32>,
    ) -> Arc<dyn Queue> {
        match limits.is_empty() {
            true => queue,
            false => Arc::new(Self { queue, store, limits: limits.clone() }),
        }
    }

    /// The groups of a build: one for each label that is limited, with its value.
    async fn groups(&self, build: &BuildId) -> Result<BTreeMap<String, u32>> {
        let journal = match self.store.load(build, Seq::START).await {
            // Not every job is a build: errands of the courier are none.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            journal => journal?,
        };
        let Some(Event::Accepted { labels, .. }) = journal.first().map(|r| &r.event) else {
            return Ok(BTreeMap::new());
        };
        let limit = |(key, value)| {
            let max = self.limits.get::<String>(key)?;
            Some((format!("{key}={value}"), *max))
        };
        Ok(labels.iter().filter_map(limit).collect())
    }
}

#[async_trait]
impl Queue for Limited {
    async fn push(&self, mut job: Job) -> Result<()> {
        job.limits.extend(self.groups(&job.build).await?);
        self.queue.push(job).await
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        self.queue.lease(node, ttl, patience).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        self.queue.renew(lease, ttl).await
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        self.queue.settle(lease, how).await
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        self.queue.remove(build).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::{Engine, Owner, Plan, Submission, memory::MemoryQueue};

    #[tokio::test]
    async fn a_build_gets_the_limits_of_its_labels() {
        let engine = Engine::builder().build();
        let plan: Plan = serde_json::from_str(
            r#"{"version": 1, "steps": [{"name": "scan", "op": "scan",
                "image": {"reference": "x:1"}}]}"#,
        )
        .unwrap();
        let submission = Submission::new(plan).label("branch", "main").label("app", "x");
        let build = engine.accept(submission).await.unwrap();
        let errand = Job::new(BuildId::new("errand").unwrap(), Owner::local());
        let limits = BTreeMap::from([("branch".to_owned(), 1), ("team".to_owned(), 3)]);
        let store = engine.tools().store.clone();
        let queue = Limited::around(Arc::new(MemoryQueue::default()), store, &limits);
        queue.push(Job::new(build, Owner::local())).await.unwrap();
        let node: Node = serde_json::from_str(
            r#"{"id": "n", "slots": 1, "resources": {"cpu_millis": 0, "memory_bytes": 0}, "seen_at": 0}"#,
        )
        .unwrap();
        let lease = queue.lease(&node, Duration::from_secs(9), Duration::ZERO).await.unwrap();
        queue.push(errand).await.unwrap();
        let groups = lease.unwrap().job.limits;
        assert_eq!(groups, BTreeMap::from([("branch=main".to_owned(), 1)]));
    }
}
