//! The queue: one row a job. Whose turn it is, `turn.rs` says.

use crate::{
    client::SqliteDb,
    error::{Stop, json},
    news::Topic,
    turn::{self, Shape},
};
use async_trait::async_trait;
use futures::future::select;
use kiln::{
    BuildId, Error, ErrorKind, Result, Timestamp,
    port::{Clock, Job, Lease, Node, Queue, Settlement},
};
use rusqlite::{Connection, OptionalExtension, params};
use std::{pin::pin, sync::Arc, time::Duration};

/// A queue in a SQLite file, for every process that opens it.
#[derive(Clone, Debug)]
pub struct SqliteQueue {
    db: SqliteDb,
    clock: Arc<dyn Clock>,
}

impl SqliteQueue {
    /// The queue in a file, with leases that expire by a clock. All who share the file have to go
    /// by the same one.
    pub fn with_clock(db: &SqliteDb, clock: Arc<dyn Clock>) -> Self {
        Self { db: db.clone(), clock }
    }
}

/// A time as SQLite keeps it. What is later than it can say is 292 million years away.
pub(crate) fn stored(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// A number that no job and no lease had before.
pub(crate) fn number(c: &Connection) -> rusqlite::Result<u64> {
    c.prepare_cached("UPDATE number SET last = last + 1 RETURNING last")?
        .query_row([], |r| r.get(0))
}

fn push(c: &Connection, job: &Job, placement: &str, now: Timestamp) -> Result<(), Stop> {
    let build = job.build.as_str();
    let there = c.prepare_cached("SELECT 1 FROM job WHERE build = ?1")?.exists([build])?;
    if there {
        return Ok(());
    }
    c.prepare_cached("INSERT OR IGNORE INTO shape (placement) VALUES (?1)")?
        .execute([placement])?;
    let shape: i64 = c
        .prepare_cached("SELECT id FROM shape WHERE placement = ?1")?
        .query_row([placement], |r| r.get(0))?;
    let age = number(c)?;
    c.prepare_cached(
        "INSERT INTO job (build, owner, priority, age, shape, not_before, wakes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, CASE WHEN ?6 > ?7 THEN ?6 END)",
    )?
    .execute(params![
        build,
        job.owner.as_str(),
        job.priority,
        age,
        shape,
        stored(job.not_before),
        stored(now)
    ])?;
    Ok(())
}

/// Takes a job out, if it is there and has this lease where one is given.
fn take(c: &Connection, build: &BuildId, token: Option<i64>) -> rusqlite::Result<bool> {
    let shape: Option<i64> = c
        .prepare_cached(
            "DELETE FROM job WHERE build = ?1 AND (?2 IS NULL OR token = ?2 AND token > 0)
             RETURNING shape",
        )?
        .query_row(params![build.as_str(), token], |r| r.get(0))
        .optional()?;
    let Some(shape) = shape else { return Ok(false) };
    c.prepare_cached(
        "DELETE FROM shape WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM job WHERE shape = ?1)",
    )?
    .execute([shape])?;
    Ok(true)
}

/// The token of a lease; none that was ever given if it is one that SQLite cannot keep.
fn token(lease: &Lease) -> i64 {
    i64::try_from(lease.token).unwrap_or(0)
}

/// `Conflict` unless the lease still counts.
fn held(counts: bool, build: &BuildId, op: &'static str) -> Result<(), Stop> {
    if counts {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, op, "the lease is no longer held")
        .with("build", build)
        .into())
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn push(&self, job: Job) -> Result<()> {
        const OP: &str = "Queue::push";
        let shape = Shape { placement: job.placement.clone(), limits: job.limits.clone() };
        let shape = json(OP, &shape)?;
        let now = self.clock.now();
        self.db.write(OP, Topic::Queue, move |c| push(c, &job, &shape, now)).await
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        const OP: &str = "Queue::lease";
        let deadline = self.clock.now().plus(patience);
        loop {
            // Before the look, so that nothing that comes after it is missed.
            let mut news = self.db.news.of_queue();
            let (asks, clock) = (node.clone(), self.clock.clone());
            let look = move |c: &Connection| turn::lease(c, &asks, clock.now(), ttl);
            let again = match self.db.write(OP, Topic::Quiet, look).await? {
                Ok(lease) => return Ok(Some(lease)),
                Err(again) => again.unwrap_or(deadline).min(deadline),
            };
            let now = self.clock.now();
            if now >= deadline {
                return Ok(None);
            }
            select(pin!(news.changed()), self.clock.sleep(again.since(now))).await;
        }
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        const OP: &str = "Queue::renew";
        let until = self.clock.now().plus(ttl);
        let (build, token) = (lease.job.build.clone(), token(lease));
        self.db
            .write(OP, Topic::Quiet, move |c| {
                let counts = c
                    .prepare_cached(
                        "UPDATE job SET held = 1, wakes = ?3
                         WHERE build = ?1 AND token = ?2 AND token > 0",
                    )?
                    .execute(params![build.as_str(), token, stored(until)])?;
                held(counts > 0, &build, OP)
            })
            .await?;
        Ok(Lease { until, ..lease.clone() })
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        const OP: &str = "Queue::settle";
        let now = self.clock.now();
        let (build, token) = (lease.job.build.clone(), token(lease));
        self.db
            .write(OP, Topic::Queue, move |c| {
                let counts = match how {
                    Settlement::Done => take(c, &build, Some(token))?,
                    Settlement::Again(not_before) => {
                        let sql = "UPDATE job SET token = 0, holder = NULL, held = 0,
                                       not_before = ?3, wakes = CASE WHEN ?3 > ?4 THEN ?3 END
                                   WHERE build = ?1 AND token = ?2 AND token > 0";
                        let args = params![build.as_str(), token, stored(not_before), stored(now)];
                        c.prepare_cached(sql)?.execute(args)? > 0
                    }
                };
                held(counts, &build, OP)
            })
            .await
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        let id = build.clone();
        self.db.write("Queue::remove", Topic::Queue, move |c| Ok(take(c, &id, None)?)).await
    }
}
