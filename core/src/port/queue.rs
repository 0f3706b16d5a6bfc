use super::Node;
use crate::{BuildId, Owner, Placement, Result, Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Debug, time::Duration};

/// A build that waits for a driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The build.
    pub build: BuildId,
    /// Whose it is.
    pub owner: Owner,
    /// Of one owner's jobs the highest goes first; 0 is usual.
    pub priority: i32,
    /// Where it may run.
    pub placement: Placement,
    /// Groups it belongs to, such as `branch=main`, and for each how many leases of the group
    /// there may be for this job to get one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, u32>,
    /// Before this time it waits.
    pub not_before: Timestamp,
}

impl Job {
    /// A job with usual priority that may run anywhere at once.
    pub fn new(build: BuildId, owner: Owner) -> Self {
        Self {
            build,
            owner,
            priority: 0,
            placement: Placement::default(),
            limits: BTreeMap::new(),
            not_before: Timestamp::default(),
        }
    }
}

/// The right to drive one build until it expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What to drive.
    pub job: Job,
    /// Grows with every lease of this job: a late word of an earlier holder can be told.
    pub token: u64,
    /// When it expires unless renewed.
    pub until: Timestamp,
}

/// What becomes of a job whose lease is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It is over.
    Done,
    /// Somebody else is to drive it, not before this time.
    Again(Timestamp),
}

/// Hands each job to one node at a time. Delivery is at least once: the journal makes it safe.
///
/// Which job a node gets: of those it can run, one of the owner with the fewest leases that have
/// not expired; of that owner's the one of the highest priority; of those the oldest. A job that
/// nobody can run, or that a limit of one of its groups holds back, holds up nobody.
#[async_trait]
pub trait Queue: Debug + Send + Sync + 'static {
    /// Adds a job.
    ///
    /// # Promises
    ///
    /// - A build that is in the queue already stays as it is, leased or not.
    async fn push(&self, job: Job) -> Result<()>;

    /// Waits until patience is over for a job this node can run: its placement fits the node's
    /// name, labels and what its leases leave free, and the node has a slot left.
    ///
    /// # Promises
    ///
    /// - One job is leased to one node at a time. An expired lease makes its job free.
    /// - It returns as soon as there is a job; with no patience, at once.
    /// - A cancelled call has leased nothing, or what it leased expires.
    async fn lease(&self, node: &Node, ttl: Duration, patience: Duration) -> Result<Option<Lease>>;

    /// Prolongs a lease to `ttl` from now. `Conflict` if it expired and the job was leased anew,
    /// was settled, or was removed.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease>;

    /// Gives a lease back; `Conflict` as for [`Queue::renew`].
    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<()>;

    /// Takes a job out, leased or not, and says whether it was there. A holder learns by `renew`.
    async fn remove(&self, build: &BuildId) -> Result<bool>;
}
