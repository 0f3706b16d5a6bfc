use super::{SystemClock, lock, signal::Signal};
use crate::{
    BuildId, Error, ErrorKind, NodeId, Owner, Resources, Result, Timestamp,
    port::{Clock, Job, Lease, Node, Queue, Settlement},
};
use async_trait::async_trait;
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A queue in memory, for one process. Gone with it.
#[derive(Debug)]
pub struct MemoryQueue {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    news: Signal,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<BuildId, Waiting>,
    /// Grows with every job and every lease, so that neither number ever comes again.
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    age: u64,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    by: NodeId,
    token: u64,
    until: Timestamp,
}

impl Waiting {
    fn holder(&self, now: Timestamp) -> Option<&Held> {
        self.held.as_ref().filter(|h| h.until > now)
    }

    /// When this may become free, if it is not.
    fn free_at(&self, now: Timestamp) -> Option<Timestamp> {
        let held = self.holder(now).map(|h| h.until);
        held.max(Some(self.job.not_before)).filter(|at| *at > now)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What the leases of a node leave free, if it has a slot left. A resource a node has 0 of is
    /// one it does not limit.
    fn free(&self, node: &Node, now: Timestamp) -> Option<Resources> {
        let has = node.resources;
        let mut cpu_millis = if has.cpu_millis == 0 { u32::MAX } else { has.cpu_millis };
        let mut memory_bytes = if has.memory_bytes == 0 { u64::MAX } else { has.memory_bytes };
        let mut slots = if node.drained { 0 } else { node.slots };
        let mine = |w: &&Waiting| w.holder(now).is_some_and(|h| h.by == node.id);
        for waiting in self.jobs.values().filter(mine) {
            let used = waiting.job.placement.resources;
            cpu_millis = cpu_millis.saturating_sub(used.cpu_millis);
            memory_bytes = memory_bytes.saturating_sub(used.memory_bytes);
            slots = slots.saturating_sub(1);
        }
        (slots > 0).then_some(Resources { cpu_millis, memory_bytes })
    }

    /// How many leases each group has.
    fn groups(&self, now: Timestamp) -> BTreeMap<&String, u32> {
        let mut groups = BTreeMap::new();
        for waiting in self.jobs.values().filter(|w| w.holder(now).is_some()) {
            for group in waiting.job.limits.keys() {
                *groups.entry(group).or_default() += 1;
            }
        }
        groups
    }

    /// The job that is this node's turn.
    fn pick(&self, node: &Node, now: Timestamp) -> Option<BuildId> {
        let free = self.free(node, now)?;
        let groups = self.groups(now);
        let within = |(group, max): (&String, &u32)| groups.get(group).unwrap_or(&0) < max;
        let can = |w: &&Waiting| {
            w.free_at(now).is_none()
                && w.job.placement.fits(&node.id, &node.labels, free)
                && w.job.limits.iter().all(within)
        };
        let mut best: BTreeMap<&Owner, &Waiting> = BTreeMap::new();
        for waiting in self.jobs.values().filter(can) {
            let rank = |w: &Waiting| (Reverse(w.job.priority), w.age);
            let first = best.entry(&waiting.job.owner).or_insert(waiting);
            if rank(waiting) < rank(first) {
                *first = waiting;
            }
        }
        let leases = |owner: &Owner| {
            let theirs = |w: &&Waiting| w.job.owner == *owner && w.holder(now).is_some();
            self.jobs.values().filter(theirs).count()
        };
        best.into_values()
            .min_by_key(|w| (leases(&w.job.owner), w.age))
            .map(|w| w.job.build.clone())
    }

    /// The next job of a node, or when to look again at the latest.
    fn lease(
        &mut self,
        node: &Node,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Lease, Option<Timestamp>> {
        let again = self.jobs.values().filter_map(|w| w.free_at(now)).min();
        let build = self.pick(node, now).ok_or(again)?;
        let token = self.number();
        let waiting = self.jobs.get_mut(&build).ok_or(again)?;
        waiting.held = Some(Held { by: node.id.clone(), token, until });
        Ok(Lease { job: waiting.job.clone(), token, until })
    }

    /// The job of a lease that still counts.
    fn held(&mut self, lease: &Lease, op: &'static str) -> Result<&mut Waiting> {
        self.jobs
            .get_mut(&lease.job.build)
            .filter(|w| w.held.as_ref().is_some_and(|h| h.token == lease.token))
            .ok_or_else(|| {
                Error::new(ErrorKind::Conflict, op, "the lease is no longer held")
                    .with("build", &lease.job.build)
            })
    }
}

impl MemoryQueue {
    /// An empty queue whose leases expire by a clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), news: Signal::default() }
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn push(&self, job: Job) -> Result<()> {
        let mut state = lock(&self.state);
        let age = state.number();
        state.jobs.entry(job.build.clone()).or_insert(Waiting { job, age, held: None });
        drop(state);
        self.news.tell();
        Ok(())
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        let deadline = self.clock.now().plus(patience);
        loop {
            let ticket = self.news.ticket();
            let now = self.clock.now();
            let leased = lock(&self.state).lease(node, now, now.plus(ttl));
            let again = match leased {
                Ok(lease) => return Ok(Some(lease)),
                Err(again) => again.unwrap_or(deadline).min(deadline),
            };
            if now >= deadline {
                return Ok(None);
            }
            self.news.news(ticket, &*self.clock, again.since(now)).await;
        }
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let until = self.clock.now().plus(ttl);
        let mut state = lock(&self.state);
        let waiting = state.held(lease, "Queue::renew")?;
        if let Some(held) = &mut waiting.held {
            held.until = until;
        }
        Ok(Lease { until, ..lease.clone() })
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        let mut state = lock(&self.state);
        let waiting = state.held(lease, "Queue::settle")?;
        match how {
            Settlement::Done => {
                state.jobs.remove(&lease.job.build);
            }
            Settlement::Again(not_before) => {
                waiting.job.not_before = not_before;
                waiting.held = None;
            }
        }
        drop(state);
        self.news.tell();
        Ok(())
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        let removed = lock(&self.state).jobs.remove(build).is_some();
        self.news.tell();
        Ok(removed)
    }
}
