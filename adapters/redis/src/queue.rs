//! The queue. Whose turn it is, `scripts/lease.lua` says, within the server.

use crate::{
    client::RedisDb,
    error::{json, unreadable},
    script,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Owner, Placement, Result, Timestamp,
    port::{Clock, Job, Lease, Node, Queue, Settlement},
};
use redis::{Script, ScriptInvocation};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};
use tokio::time::Instant;

/// A queue in Redis, for every process that uses it.
#[derive(Clone, Debug)]
pub struct RedisQueue {
    db: RedisDb,
    clock: Option<Arc<dyn Clock>>,
}

/// What jobs of one lane have in common, as the server keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Shape {
    #[serde(flatten)]
    placement: Placement,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, u32>,
}

/// How long the server may take to say what time it is; longer, and it stood still.
const SLOW: Duration = Duration::from_secs(10);
/// What `lease.lua` says when it is too late to give a lease.
const LATE: &str = "late";

/// When to give up.
enum Deadline<'a> {
    /// By a clock that was given.
    Given(&'a dyn Clock, Timestamp),
    /// By the time that passes here; never, if it is farther than can be counted.
    Here(Option<Instant>),
}

impl RedisQueue {
    /// The queue, whose leases expire by the server's clock.
    pub(crate) fn new(db: RedisDb) -> Self {
        Self { db, clock: None }
    }

    /// The queue with leases that expire by a clock other than the server's. All who share it have to
    /// go by the same one.
    pub fn with_clock(db: &RedisDb, clock: Arc<dyn Clock>) -> Self {
        Self { db: db.clone(), clock: Some(clock) }
    }

    /// A script with the arguments that all of the queue have.
    fn call(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let mut call = self.db.call(script);
        call.arg(self.db.channel());
        match &self.clock {
            Some(clock) => call.arg(clock.now().0),
            None => call.arg(""),
        };
        call
    }

    /// The time of the server by which a lease may be given; any, by a clock that was given.
    async fn by(&self, op: &'static str) -> Result<String> {
        if self.clock.is_some() {
            return Ok(String::new());
        }
        let due = self.db.due();
        if due.by().is_none() {
            let asked = Instant::now();
            let (seconds, micros): (u64, u64) = self.db.link().ask(op, &redis::cmd("TIME")).await?;
            if asked.elapsed() > SLOW {
                return Err(late(op));
            }
            due.note(seconds.saturating_mul(1000).saturating_add(micros / 1000));
        }
        Ok(due.by().map(|by| by.to_string()).unwrap_or_default())
    }

    fn deadline(&self, patience: Duration) -> Deadline<'_> {
        match &self.clock {
            Some(clock) => Deadline::Given(&**clock, clock.now().plus(patience)),
            None => Deadline::Here(Instant::now().checked_add(patience)),
        }
    }
}

impl Deadline<'_> {
    fn is_over(&self) -> bool {
        match self {
            Self::Given(clock, at) => clock.now() >= *at,
            Self::Here(at) => at.is_some_and(|at| Instant::now() >= at),
        }
    }

    /// Waits until then, or for a time if that is shorter.
    async fn sleep(&self, most: Option<Duration>) {
        let most = most.unwrap_or(Duration::MAX);
        match self {
            Self::Given(clock, at) => clock.sleep(at.since(clock.now()).min(most)).await,
            Self::Here(at) => {
                let soonest = [*at, Instant::now().checked_add(most)].into_iter().flatten().min();
                match soonest {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            }
        }
    }
}

/// Milliseconds, for a script that counts in doubles: at most 285,000 years.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(1 << 53)
}

/// A number the script told.
fn number(op: &'static str, text: &str) -> Result<u64> {
    text.parse().map_err(|e| unreadable(op, "a number of the queue cannot be read", e))
}

/// The error for a lease that was asked for before the server stood still.
fn late(op: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, op, "Redis stood still, and those who hold leases come first")
}

/// A lease, as `lease.lua` tells it.
fn read(op: &'static str, told: &[String]) -> Result<Lease> {
    let [build, owner, priority, shape, not_before, token, until] = told else {
        return Err(unreadable(op, "a job cannot be read", "it has too few fields"));
    };
    let wrong = |e: &dyn std::fmt::Display| unreadable(op, "a job cannot be read", e);
    let shape: Shape = serde_json::from_str(shape).map_err(|e| wrong(&e))?;
    let job = Job {
        build: BuildId::new(build).map_err(|e| wrong(&e))?,
        owner: Owner::new(owner).map_err(|e| wrong(&e))?,
        priority: priority.parse().map_err(|e| wrong(&e))?,
        placement: shape.placement,
        limits: shape.limits,
        not_before: Timestamp(number(op, not_before)?),
    };
    Ok(Lease { job, token: number(op, token)?, until: Timestamp(number(op, until)?) })
}

/// `Conflict`: the lease no longer counts.
fn lost(op: &'static str, build: &BuildId) -> Error {
    Error::new(ErrorKind::Conflict, op, "the lease is no longer held").with("build", build)
}

#[async_trait]
impl Queue for RedisQueue {
    async fn push(&self, job: Job) -> Result<()> {
        const OP: &str = "Queue::push";
        let shape = Shape { placement: job.placement, limits: job.limits };
        let mut call = self.call(&script::PUSH);
        call.arg(job.build.as_str())
            .arg(job.owner.as_str())
            .arg(job.priority)
            .arg(json(OP, &shape)?)
            .arg(job.not_before.0);
        self.db.link().run(OP, &call).await
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        const OP: &str = "Queue::lease";
        let labels = json(OP, &node.labels)?;
        let slots = if node.drained { 0 } else { node.slots };
        let deadline = self.deadline(patience);
        loop {
            // Before the look, so that nothing that comes after it is missed.
            let mut news = self.db.news().of_queue();
            let mut call = self.call(&script::LEASE);
            call.arg(node.id.as_str())
                .arg(&labels)
                .arg(slots)
                .arg(node.resources.cpu_millis)
                .arg(node.resources.memory_bytes)
                .arg(millis(ttl))
                .arg(self.by(OP).await?);
            let told: Vec<String> = self.db.link().run(OP, &call).await?;
            let again = match &told[..] {
                [] => None,
                [word] if word == LATE => {
                    self.db.due().forget();
                    return Err(late(OP));
                }
                [again] => Some(Duration::from_millis(number(OP, again)?)),
                lease => return read(OP, lease).map(Some),
            };
            if deadline.is_over() {
                return Ok(None);
            }
            let sleep = pin!(deadline.sleep(again));
            futures::future::select(pin!(news.changed()), sleep).await;
        }
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        const OP: &str = "Queue::renew";
        let mut call = self.call(&script::RENEW);
        call.arg(lease.job.build.as_str()).arg(token(lease)).arg(millis(ttl));
        let until: Option<String> = self.db.link().run(OP, &call).await?;
        let until = until.ok_or_else(|| lost(OP, &lease.job.build))?;
        Ok(Lease { until: Timestamp(number(OP, &until)?), ..lease.clone() })
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        const OP: &str = "Queue::settle";
        let mut call = self.call(&script::SETTLE);
        call.arg(lease.job.build.as_str()).arg(token(lease));
        match how {
            Settlement::Done => call.arg(""),
            Settlement::Again(not_before) => call.arg(not_before.0),
        };
        match self.db.link().run(OP, &call).await? {
            true => Ok(()),
            false => Err(lost(OP, &lease.job.build)),
        }
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        let mut call = self.call(&script::REMOVE);
        call.arg(build.as_str());
        self.db.link().run("Queue::remove", &call).await
    }
}

/// A token as the scripts write numbers.
fn token(lease: &Lease) -> String {
    format!("{:016}", lease.token)
}
