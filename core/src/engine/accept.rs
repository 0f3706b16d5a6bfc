//! How a build comes to be.

use super::Engine;
use crate::{
    Actor, BuildId, CacheKey, Error, ErrorKind, Event, Owner, Placement, Plan, Recorded, Result,
    Reuse, Seq, port::Entry, view::BuildView,
};
use std::collections::BTreeMap;

/// A build to be accepted.
#[derive(Clone, Debug)]
pub struct Submission {
    plan: Plan,
    id: Option<BuildId>,
    owner: Owner,
    labels: BTreeMap<String, String>,
    by: Option<Actor>,
    reuse: Option<(BuildId, Reuse)>,
}

impl Submission {
    /// A plan, of the local owner, under an id yet to be made.
    pub fn new(plan: Plan) -> Self {
        let (owner, labels) = (Owner::local(), BTreeMap::new());
        Self { plan, id: None, owner, labels, by: None, reuse: None }
    }

    /// Chooses the id, so that submitting twice makes one build.
    #[must_use]
    pub fn id(mut self, id: BuildId) -> Self {
        self.id = Some(id);
        self
    }

    /// Says whose it is.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Adds a label, for lists to filter by.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds labels.
    #[must_use]
    pub fn labels(mut self, labels: impl IntoIterator<Item = (String, String)>) -> Self {
        self.labels.extend(labels);
        self
    }

    /// What it will do.
    pub fn plan_of(&self) -> &Plan {
        &self.plan
    }

    /// Whose it is.
    pub fn owner_of(&self) -> &Owner {
        &self.owner
    }

    /// Where it may run, for its job in a queue.
    pub fn placement(&self) -> Placement {
        let node = self.reuse.as_ref().and_then(|(_, reuse)| reuse.node()).cloned();
        let plan = self.plan.placement();
        plan.and(&Placement { node, ..Placement::default() }).unwrap_or(plan)
    }

    /// Takes over what another build of the same plan did, as
    /// [`BuildState::reuse`](crate::BuildState::reuse) says.
    #[must_use]
    pub fn reuse(mut self, of: BuildId, reuse: Reuse) -> Self {
        self.reuse = Some((of, reuse));
        self
    }

    /// Says who asks for it.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.by = Some(actor);
        self
    }
}

impl Engine {
    /// Accepts a build. From here on it survives a crash of this process, if the store does.
    ///
    /// `AlreadyExists` if there is a build of that id; `Invalid` if a cache may have it; `Denied` if
    /// the plan names paths of the host, or opens ports to other machines, and this engine does not
    /// allow it.
    pub async fn accept(&self, submission: Submission) -> Result<BuildId> {
        let Submission { plan, id, owner, labels, by, reuse } = submission;
        if plan.uses_local_paths() && !self.policy.local_paths {
            return Err(Error::new(
                ErrorKind::Denied,
                "Engine::accept",
                "the plan names a path of the host, and this engine does not allow that",
            ));
        }
        if plan.opens_ports() && !self.policy.local_paths {
            let message =
                "the plan opens a port to other machines, and this engine does not allow that";
            return Err(Error::new(ErrorKind::Denied, "Engine::accept", message)
                .hint("Leave out the address of the port: then it is 127.0.0.1."));
        }
        let id = id.unwrap_or_else(BuildId::random);
        if CacheKey::is_reserved(&id) {
            let message = "no build can have the id of a cache";
            return Err(Error::new(ErrorKind::Invalid, "Engine::accept", message)
                .with("build", &id)
                .hint("Choose another id, or none."));
        }
        let at = self.tools.clock.now();
        let mut events = vec![Event::Accepted { plan, owner, labels, by }];
        if let Some((of, reuse)) = reuse {
            events.extend(reuse.events(&of));
        }
        let entries: Vec<_> = events.into_iter().map(|event| Entry { at, event }).collect();
        let journal = entries.iter().enumerate().map(|(i, entry)| {
            let event = entry.event.clone();
            Recorded { seq: Seq(i as u64 + 1), at, event }
        });
        let view = BuildView::of(&id, &journal.collect::<Vec<_>>())?;
        let stored = self.tools.store.append(&id, Seq::START, &entries).await;
        stored.map_err(|e| match e.kind() {
            ErrorKind::Conflict => {
                Error::new(ErrorKind::AlreadyExists, "Engine::accept", "the build exists already")
                    .with("build", &id)
            }
            _ => e,
        })?;
        if let Err(e) = self.tools.index.put(&view.summary).await {
            tracing::warn!(build = %id, error = ?e, "the index could not be told");
        }
        Ok(id)
    }
}
