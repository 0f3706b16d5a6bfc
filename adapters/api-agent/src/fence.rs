//! Who may touch a build: whoever holds a lease of it, and shows it.

use crate::{
    access::{Caller, Scope},
    routes::Shared,
};
use kiln::{
    BuildId, BuildState, Error, ErrorKind, Event, NodeId, Op, Owner, Result, SecretRef, Seq, Step,
    Timestamp,
    port::{Job, Lease, Node},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The header that shows a lease.
pub(crate) const HEADER: &str = "kiln-lease";
/// The label that says which token a node belongs to. Nobody but this server writes it.
pub(crate) const TOKEN_LABEL: &str = "kiln.token";
/// What labels begin with that say something of Kiln itself, and are not an agent's to say.
const OUR_LABELS: &str = "kiln.";
/// How long a lease may be asked for.
const TTL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// How long a lease that nobody renewed is remembered.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// A lease as it is shown: its number, the node that has it, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) token: u64,
    pub(crate) node: NodeId,
    pub(crate) ttl: Duration,
}

impl Claim {
    /// Reads `TOKEN NODE TTL_MS`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let token = words.next()?.parse().ok()?;
        let node = NodeId::new(words.next()?).ok()?;
        let ttl = ttl(words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self { token, node, ttl })
    }
}

/// The time a lease lasts that was asked for, within the bounds.
pub(crate) fn ttl(ms: u64) -> Duration {
    Duration::from_millis(ms).clamp(TTL.0, TTL.1)
}

/// The leases this process gave out or has checked.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<HashMap<(BuildId, u64), Holder>>);

#[derive(Clone, Debug)]
struct Holder {
    caller: String,
    node: NodeId,
    until: Timestamp,
    facts: Option<Facts>,
}

/// What the journal of a build says: for good, unless its plan can grow.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) owner: Owner,
    /// The secrets that its plan names, as far as it has grown.
    pub(crate) secrets: BTreeSet<SecretRef>,
    /// The uploads that its plan fetches; none of what grew, since nobody asked whose they are.
    pub(crate) uploads: BTreeSet<String>,
    /// The ids of the caches that its plan names, as far as it has grown.
    pub(crate) caches: BTreeSet<BuildId>,
    /// Whether its plan grows.
    grows: bool,
}

impl Facts {
    fn of(state: &BuildState) -> Self {
        let upload = |step: &Step| match &step.op {
            Op::Fetch { source, .. } => source.url.strip_prefix("upload:").map(str::to_owned),
            _ => None,
        };
        let cache = |step: &Step| match &step.op {
            Op::Restore { cache, .. } | Op::Save { cache, .. } => Some(cache.build(state.owner())),
            _ => None,
        };
        let asks = |step: &Step| matches!(step.op, Op::Plan { .. });
        Self {
            owner: state.owner().clone(),
            secrets: state.plan().secrets().into_iter().cloned().collect(),
            uploads: state.submitted().steps().iter().filter_map(upload).collect(),
            caches: state.plan().steps().iter().filter_map(cache).collect(),
            grows: state.submitted().steps().iter().any(asks),
        }
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, HashMap<(BuildId, u64), Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a lease that a caller has for a node.
    pub(crate) fn note(&self, caller: &Caller, node: &NodeId, lease: &Lease, now: Timestamp) {
        let mut held = self.lock();
        held.retain(|_, h| h.until.plus(FORGET_AFTER) > now);
        let key = (lease.job.build.clone(), lease.token);
        let facts = held.get(&key).and_then(|h| h.facts.clone());
        let (caller, node) = (caller.name.clone(), node.clone());
        held.insert(key, Holder { caller, node, until: lease.until, facts });
    }

    /// Forgets a lease that counts no more.
    pub(crate) fn drop(&self, build: &BuildId, token: u64) {
        self.lock().remove(&(build.clone(), token));
    }
}

fn conflict(build: &BuildId, message: &'static str) -> Error {
    Error::new(ErrorKind::Conflict, "agent", message).with("build", build)
}

/// Puts down whose a node is, in place of whatever it says of that itself.
pub(crate) fn mark(node: &mut Node, caller: &Caller) {
    node.labels.retain(|key, _| !key.starts_with(OUR_LABELS));
    node.labels.insert(TOKEN_LABEL.into(), caller.name.clone());
}

impl Shared {
    /// Lets a caller touch a build: one that holds a lease of it, or an admin.
    ///
    /// `Denied` without a lease; `Conflict` with one that is somebody else's or counts no more.
    pub(crate) async fn fence(
        &self,
        caller: &Caller,
        build: &BuildId,
        claim: Option<&Claim>,
    ) -> Result<()> {
        if caller.scope == Scope::Admin {
            return Ok(());
        }
        let claim = claim.ok_or_else(|| {
            let message = "an agent touches only builds that it has leased";
            Error::new(ErrorKind::Denied, "agent", message).with("build", build)
        })?;
        let known = self.held.lock().get(&(build.clone(), claim.token)).cloned();
        match known {
            Some(h) if h.caller != caller.name || h.node != claim.node => {
                return Err(conflict(build, "the lease is somebody else's"));
            }
            // As long as it lasts the queue gives the build to nobody else.
            Some(h) if self.now() < h.until => return Ok(()),
            Some(_) => {}
            None => self.vouch(caller, build, claim).await?,
        }
        // Whoever is late keeps its lease if nobody else has the build, as with `Queue::renew`.
        let lease = Lease {
            job: Job::new(build.clone(), Owner::local()),
            token: claim.token,
            until: Timestamp::default(),
        };
        match self.api.queue.renew(&lease, claim.ttl).await {
            Ok(lease) => {
                self.held.note(caller, &claim.node, &lease, self.now());
                Ok(())
            }
            Err(e) => {
                if e.kind() == ErrorKind::Conflict {
                    self.held.drop(build, claim.token);
                } else {
                    self.gate.shut();
                }
                Err(e)
            }
        }
    }

    /// Of a lease that another process gave out, or this one before it was started again, the number
    /// alone proves nothing: the node has to be the caller's, and the one that drove last.
    async fn vouch(&self, caller: &Caller, build: &BuildId, claim: &Claim) -> Result<()> {
        self.node_of(caller, &claim.node).await?;
        let journal = match self.tools().store.load(build, Seq::START).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            journal => journal?,
        };
        let adopted = journal.iter().rev().find_map(|r| match &r.event {
            Event::Adopted { node, .. } => Some(node),
            _ => None,
        });
        match adopted {
            Some(node) if *node != claim.node => {
                Err(conflict(build, "another node has the build now"))
            }
            _ => Ok(()),
        }
    }

    /// A node of the caller's; `NotFound` if it is not enrolled, `Denied` if it is another's.
    pub(crate) async fn node_of(&self, caller: &Caller, node: &NodeId) -> Result<Node> {
        let nodes = self.api.fleet.nodes().await?;
        let known = nodes.into_iter().find(|n| n.id == *node).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "agent", "there is no such node")
                .with("node", node)
                .hint("Enrol it again.")
        })?;
        if caller.scope != Scope::Admin && known.labels.get(TOKEN_LABEL) != Some(&caller.name) {
            let message = "there is a node of that name already, and it belongs to another token";
            return Err(Error::new(ErrorKind::Denied, "agent", message)
                .with("node", node)
                .hint("Choose another name with --name, or remove the node first."));
        }
        Ok(known)
    }

    /// What a build is, and what it may touch beside itself.
    pub(crate) async fn facts(&self, build: &BuildId, claim: Option<&Claim>) -> Result<Facts> {
        let key = claim.map(|c| (build.clone(), c.token));
        let known = key.as_ref().and_then(|key| self.held.lock().get(key)?.facts.clone());
        if let Some(facts) = known {
            return Ok(facts);
        }
        let journal = self.tools().store.load(build, Seq::START).await?;
        let state = BuildState::replay(journal.iter().map(|r| &r.event)).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "agent", e.to_string()).with("build", build)
        })?;
        let facts = Facts::of(&state);
        // What can grow is looked up each time.
        if let Some(key) = key.filter(|_| !facts.grows)
            && let Some(holder) = self.held.lock().get_mut(&key)
        {
            holder.facts = Some(facts.clone());
        }
        Ok(facts)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.tools().clock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_shown_in_three_words() {
        let claim = Claim::read("7 n-1 30000").unwrap();
        assert_eq!((claim.token, claim.node.as_str(), claim.ttl.as_secs()), (7, "n-1", 30));
        assert_eq!(Claim::read("7 n 1").unwrap().ttl, TTL.0);
        for bad in ["", "7", "7 n", "x n 1", "7 ../n 1", "7 n 1 1", "7 n -1", " 7 n 1"] {
            assert_eq!(Claim::read(bad), None, "{bad}");
        }
    }
}
