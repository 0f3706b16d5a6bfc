//! The queue: one row a job. Whose turn it is, the function `lease` of the schema says.

use crate::{
    client::PgDb,
    error::{json, stored, told, unreadable},
    lines::Param,
    news::Topic,
    store::no_row,
};
use async_trait::async_trait;
use futures::future::select;
use kiln::{
    BuildId, Error, ErrorKind, Owner, Placement, Result, Timestamp,
    memory::SystemClock,
    port::{Clock, Job, Lease, Node, Queue, Settlement},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};
use tokio_postgres::Row;

const PUSH: &str = "WITH pushed AS (
        INSERT INTO job (build, owner, priority, not_before, asks, shape, node, labels, cpu_millis,
            memory_bytes, groups, maxima, wakes)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
            CASE WHEN $4 > coalesce($13::bigint, now_millis()) THEN $4 END)
        ON CONFLICT (build) DO NOTHING RETURNING 1
    ) SELECT tell('q') FROM pushed";
/// Once it is too late, a node has no slot.
pub(crate) const LEASE: &str = "SELECT leased, whose, rank, since, wants, number_, ends, again,
        now_millis()
    FROM lease($1, $2, CASE WHEN now_millis() > $8::bigint THEN 0 ELSE $3::bigint END, $4, $5, $6,
        $7)";
const RENEW: &str = "UPDATE job SET held = true,
        wakes = coalesce($4::bigint, now_millis()) + $3
    WHERE build = $1 AND token = $2 RETURNING wakes";
const DONE: &str = "WITH settled AS (
        DELETE FROM job WHERE build = $1 AND token = $2 RETURNING 1
    ) SELECT tell('q') FROM settled";
const AGAIN: &str = "WITH settled AS (
        UPDATE job SET token = 0, holder = NULL, held = false, not_before = $3,
            wakes = CASE WHEN $3 > coalesce($4::bigint, now_millis()) THEN $3 END
        WHERE build = $1 AND token = $2 RETURNING 1
    ) SELECT tell('q') FROM settled";
const REMOVE: &str = "WITH removed AS (
        DELETE FROM job WHERE build = $1 RETURNING 1
    ) SELECT tell('q') FROM removed";
const LEASE_OP: &str = "Queue::lease";
/// Times and durations are cut off here, so that their sum is a number too: 73 million years.
const FAR: i64 = 1 << 61;

/// A queue in a PostgreSQL database, for every process that connects to it.
#[derive(Clone, Debug)]
pub struct PgQueue {
    db: PgDb,
    clock: Arc<dyn Clock>,
    /// Whether leases expire by that clock, and not by the server's.
    given: bool,
}

/// What jobs of one lane have in common, as the column `asks` keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Shape {
    #[serde(flatten)]
    placement: Placement,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, u32>,
}

impl PgQueue {
    pub(crate) fn new(db: PgDb) -> Self {
        Self { db, clock: Arc::new(SystemClock::default()), given: false }
    }

    /// The queue in a database, with leases that expire by a clock and not by the server's. All who
    /// share the queue have to go by the same one.
    pub fn with_clock(db: &PgDb, clock: Arc<dyn Clock>) -> Self {
        Self { db: db.clone(), clock, given: true }
    }

    /// The time for a statement; none where the server's counts.
    fn now(&self) -> Option<i64> {
        self.given.then(|| stored(self.clock.now().0).min(FAR))
    }
}

/// A text in which PostgreSQL can keep any: NUL is `\0`, and `\` is `\\`.
fn kept(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\0', "\\0")
}

/// A label in one text. No `=` that belongs to the key is taken for the one between.
fn pair((key, value): (&String, &String)) -> String {
    format!("{}={}", kept(key).replace('=', "\\="), kept(value))
}

/// A limit that is none where there is 0 of it.
fn limit(number: u64) -> i64 {
    if number == 0 { i64::MAX } else { stored(number) }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(FAR).min(FAR)
}

/// The token of a lease as it is stored. 0 is stored where there is none, so no lease has it.
fn token(lease: &Lease) -> i64 {
    if lease.token == 0 { -1 } else { stored(lease.token) }
}

/// `Conflict` unless the lease still counts.
fn held(rows: Vec<Row>, build: &BuildId, op: &'static str) -> Result<Vec<Row>> {
    if rows.is_empty() {
        return Err(
            Error::new(ErrorKind::Conflict, op, "the lease is no longer held").with("build", build)
        );
    }
    Ok(rows)
}

/// The error for a lease that was asked for before the server stood still.
fn late() -> Error {
    let message = "PostgreSQL stood still, and those who hold leases come first";
    Error::new(ErrorKind::Timeout, LEASE_OP, message)
}

/// What `lease` gave: a lease, or in how many milliseconds to look again.
fn leased(row: &Row, op: &'static str) -> Result<Result<Lease, Option<u64>>> {
    let Some(build) = row.get::<_, Option<&str>>(0) else {
        return Ok(Err(row.get::<_, Option<i64>>(7).map(told)));
    };
    let wrong = "a job cannot be read";
    let shape: Shape = serde_json::from_str(row.get(4)).map_err(|e| unreadable(op, wrong, e))?;
    let job = Job {
        build: BuildId::new(build).map_err(|e| unreadable(op, wrong, e))?,
        owner: Owner::new(row.get::<_, &str>(1)).map_err(|e| unreadable(op, wrong, e))?,
        priority: row.get(2),
        placement: shape.placement,
        limits: shape.limits,
        not_before: Timestamp(told(row.get(3))),
    };
    Ok(Ok(Lease { job, token: told(row.get(5)), until: Timestamp(told(row.get(6))) }))
}

#[async_trait]
impl Queue for PgQueue {
    async fn push(&self, job: Job) -> Result<()> {
        const OP: &str = "Queue::push";
        let id = job.build.to_string();
        let (groups, maxima): (Vec<_>, Vec<_>) =
            job.limits.iter().map(|(group, most)| (kept(group), i64::from(*most))).unzip();
        let Placement { node, labels, resources } = job.placement.clone();
        let asks = json(OP, &Shape { placement: job.placement, limits: job.limits })?;
        let params: Vec<Param> = vec![
            Box::new(id.clone()),
            Box::new(job.owner.to_string()),
            Box::new(job.priority),
            Box::new(stored(job.not_before.0)),
            Box::new(asks.clone()),
            Box::new(Sha256::digest(&asks).to_vec()),
            Box::new(node.map(|n| n.to_string())),
            Box::new(labels.iter().map(pair).collect::<Vec<_>>()),
            Box::new(i64::from(resources.cpu_millis)),
            Box::new(stored(resources.memory_bytes)),
            Box::new(groups),
            Box::new(maxima),
            Box::new(self.now()),
        ];
        self.db.write(OP, &id, PUSH, params).await.map(drop)
    }

    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>> {
        const OP: &str = LEASE_OP;
        let deadline = self.clock.now().plus(patience);
        let slots = if node.drained { 0 } else { i64::from(node.slots) };
        let labels: Vec<_> = node.labels.iter().map(pair).collect();
        loop {
            // Before the look, so that nothing that comes after it is missed.
            let mut news = self.db.news(Topic::Queue);
            // A clock that was given does not go on by itself.
            let by = if self.given { None } else { self.db.due().by() };
            let params: Vec<Param> = vec![
                Box::new(node.id.to_string()),
                Box::new(labels.clone()),
                Box::new(slots),
                Box::new(limit(node.resources.cpu_millis.into())),
                Box::new(limit(node.resources.memory_bytes)),
                Box::new(millis(ttl)),
                Box::new(self.now()),
                Box::new(by),
            ];
            let rows = self.db.lease(OP, LEASE, params).await?;
            let row = rows.first().ok_or_else(|| no_row(OP))?;
            let is_late = self.db.due().is_over(by, row.get(8));
            let again = match leased(row, OP)? {
                Ok(lease) => return Ok(Some(lease)),
                Err(_) if is_late => return Err(late()),
                Err(again) => again.map_or(Duration::MAX, Duration::from_millis),
            };
            let now = self.clock.now();
            if now >= deadline {
                return Ok(None);
            }
            let pause = again.min(deadline.since(now));
            select(pin!(news.changed()), self.clock.sleep(pause)).await;
        }
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        const OP: &str = "Queue::renew";
        let id = lease.job.build.to_string();
        let params: Vec<Param> = vec![
            Box::new(id.clone()),
            Box::new(token(lease)),
            Box::new(millis(ttl)),
            Box::new(self.now()),
        ];
        let rows = self.db.write(OP, &id, RENEW, params).await?;
        let rows = held(rows, &lease.job.build, OP)?;
        let until = rows.first().map(|row| Timestamp(told(row.get(0)))).unwrap_or_default();
        Ok(Lease { until, ..lease.clone() })
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()> {
        const OP: &str = "Queue::settle";
        let id = lease.job.build.to_string();
        let mut params: Vec<Param> = vec![Box::new(id.clone()), Box::new(token(lease))];
        let sql = match how {
            Settlement::Done => DONE,
            Settlement::Again(not_before) => {
                params.push(Box::new(stored(not_before.0)));
                params.push(Box::new(self.now()));
                AGAIN
            }
        };
        let rows = self.db.write(OP, &id, sql, params).await?;
        held(rows, &lease.job.build, OP).map(drop)
    }

    async fn remove(&self, build: &BuildId) -> Result<bool> {
        let id = build.to_string();
        let params: Vec<Param> = vec![Box::new(id.clone())];
        Ok(!self.db.write("Queue::remove", &id, REMOVE, params).await?.is_empty())
    }
}
