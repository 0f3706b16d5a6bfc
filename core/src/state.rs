//! The pure heart: `apply` folds the journal, `decide` answers commands, `advance` says what
//! follows by itself.
//!
//! Nothing here waits, reads a clock, makes an id or touches the world.

mod advance;
mod apply;
mod decide;
mod fact;
mod reuse;

pub use apply::IllegalEvent;
pub use decide::{Command, Refusal};
pub use reuse::Reuse;

use crate::{
    DriverId, Event, Failure, NodeId, Outcome, Output, Owner, Plan, Revision, StepId,
    event::CancelCause,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Where a build stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Accepted, and no driver had it yet.
    Queued,
    /// A driver had it; steps start as their needs are met.
    Running,
    /// Running steps are asked to stop; only after-steps start.
    Stopping,
    /// Over.
    Finished,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepPhase {
    /// It has not run, or is to run again.
    Waiting {
        /// How many attempts there were.
        attempts: u8,
    },
    /// An attempt failed; the next one comes after a wait.
    Delayed {
        /// How many attempts there were.
        attempts: u8,
    },
    /// It runs.
    Running {
        /// Which attempt.
        attempt: u8,
        /// Whether its time is over and it is asked to stop.
        timed_out: bool,
    },
    /// It did what it should.
    Succeeded(Arc<Output>),
    /// It failed for good.
    Failed(Failure),
    /// It will never run.
    Skipped,
}

impl StepPhase {
    /// Whether nothing more will happen to the step.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Succeeded(_) | Self::Failed(_) | Self::Skipped)
    }
}

/// The state of one build: its journal, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildState {
    plan: Arc<Plan>,
    /// The plan as it was submitted, before any step of it asked for more.
    submitted: Arc<Plan>,
    owner: Owner,
    labels: BTreeMap<String, String>,
    steps: Vec<StepPhase>,
    pins: BTreeMap<StepId, Revision>,
    images: BTreeMap<StepId, NodeId>,
    reused: BTreeSet<StepId>,
    driver: Option<(DriverId, NodeId)>,
    stop: Option<Stop>,
    outcome: Option<Outcome>,
}

/// Why and how firmly a build is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stop {
    cause: CancelCause,
    force: bool,
}

impl BuildState {
    /// Folds a whole journal.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, IllegalEvent> {
        let mut events = events.into_iter();
        let mut state = match events.next() {
            Some(Event::Accepted { plan, owner, labels, .. }) => {
                Self::accepted(plan.clone(), owner.clone(), labels.clone())
            }
            other => return Err(IllegalEvent::new(other, "a journal begins with `accepted`")),
        };
        events.try_for_each(|e| state.apply(e))?;
        Ok(state)
    }

    /// The state of a build that was just accepted.
    pub fn accepted(plan: Plan, owner: Owner, labels: BTreeMap<String, String>) -> Self {
        let steps = vec![StepPhase::Waiting { attempts: 0 }; plan.steps().len()];
        let plan = Arc::new(plan);
        Self {
            submitted: plan.clone(),
            plan,
            owner,
            labels,
            steps,
            pins: BTreeMap::new(),
            images: BTreeMap::new(),
            reused: BTreeSet::new(),
            driver: None,
            stop: None,
            outcome: None,
        }
    }

    /// What the build does. It grows when a plan step succeeds; what was there keeps its place.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan as it was submitted: what a retry begins with.
    pub fn submitted(&self) -> &Plan {
        &self.submitted
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match (&self.outcome, self.stop, &self.driver) {
            (Some(_), _, _) => Phase::Finished,
            (None, Some(_), _) => Phase::Stopping,
            (None, None, Some(_)) => Phase::Running,
            (None, None, None) => Phase::Queued,
        }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Where a step stands. Panics if the plan has no such step.
    pub fn step(&self, id: StepId) -> &StepPhase {
        &self.steps[id.index()]
    }

    /// What a step was pinned to.
    pub fn pin(&self, id: StepId) -> Option<&Revision> {
        self.pins.get(&id)
    }

    /// Who drives the build, and where.
    pub fn driver(&self) -> Option<(&DriverId, &NodeId)> {
        self.driver.as_ref().map(|(d, n)| (d, n))
    }

    /// The steps that run, with their attempts.
    pub fn running(&self) -> impl Iterator<Item = (StepId, u8)> + '_ {
        self.plan.ids().filter_map(|id| match self.step(id) {
            StepPhase::Running { attempt, .. } => Some((id, *attempt)),
            _ => None,
        })
    }

    /// Whether the build is to stop, and its after-steps too.
    pub fn is_forced(&self) -> bool {
        self.stop.is_some_and(|s| s.force)
    }

    /// Why the build is to stop, if it is.
    pub fn stop_cause(&self) -> Option<CancelCause> {
        self.stop.map(|s| s.cause)
    }

    /// Whether a running step is to be told to stop.
    pub fn must_stop(&self, id: StepId) -> bool {
        let StepPhase::Running { timed_out, .. } = self.step(id) else { return false };
        let spared = self.plan.step(id).when == crate::When::Always && !self.is_forced();
        *timed_out || (self.stop.is_some() && !spared)
    }
}
