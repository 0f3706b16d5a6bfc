//! What there is to tell of a build: its journal, read for people and for frontends.

use crate::{
    Actor, BuildId, BuildState, Error, ErrorKind, Event, Failure, NodeId, Output, Phase, Recorded,
    Result, Revision, StepId, StepPhase, Timestamp, event::CancelCause, port::BuildSummary,
};
use serde::{Deserialize, Serialize};

/// A build as frontends show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildView {
    /// What lists show of it.
    #[serde(flatten)]
    pub summary: BuildSummary,
    /// Who asked for it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// When a driver first had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The node that drives it, or drove it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// How often a driver took it over from another.
    pub takeovers: u32,
    /// Why it is, or was, asked to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopView>,
    /// Its steps, in the order of the plan.
    pub step_views: Vec<StepView>,
}

/// Why a build is to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopView {
    /// Who or what asked.
    pub cause: CancelCause,
    /// For people.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Who asked, where somebody did and is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

/// A step as frontends show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Its place.
    pub id: StepId,
    /// Its name.
    pub name: String,
    /// What it does, in a word: the name of its [`Op`](crate::Op).
    pub verb: String,
    /// Where it stands.
    pub status: StepStatus,
    /// How many attempts there were or are.
    pub attempts: u8,
    /// When its first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When its last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What it is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Revision>,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// The build that did it, if this one need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_of: Option<BuildId>,
    /// Why its last attempt failed, also if there is another to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Where a step stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum StepStatus {
    Waiting,
    Running,
    Succeeded,
    Failed,
    Skipped,
}

impl BuildView {
    /// Reads a whole journal.
    pub fn of(build: &BuildId, journal: &[Recorded]) -> Result<Self> {
        let state = BuildState::replay(journal.iter().map(|r| &r.event)).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "BuildView::of", e.to_string()).with("build", build)
        })?;
        let mut view = Self::blank(build, &state, journal);
        for recorded in journal {
            view.read(recorded);
        }
        for step in &mut view.step_views {
            let phase = state.step(step.id);
            step.status = status(phase);
            step.pin = state.pin(step.id).cloned();
            if let StepPhase::Failed(failure) = phase {
                step.failure = Some(failure.clone());
            }
        }
        let over = |s: &&StepView| {
            matches!(s.status, StepStatus::Succeeded | StepStatus::Failed | StepStatus::Skipped)
        };
        view.summary.steps_over = view.step_views.iter().filter(over).count() as u32;
        Ok(view)
    }

    fn blank(build: &BuildId, state: &BuildState, journal: &[Recorded]) -> Self {
        let step_views = state.plan().ids().map(|id| {
            let step = state.plan().step(id);
            StepView {
                id,
                name: step.name.clone(),
                verb: step.op.verb().into(),
                status: StepStatus::Waiting,
                attempts: 0,
                started_at: None,
                ended_at: None,
                pin: None,
                output: None,
                reused_of: None,
                failure: None,
            }
        });
        let step_views: Vec<_> = step_views.collect();
        let summary = BuildSummary {
            build: build.clone(),
            seq: journal.last().map(|r| r.seq).unwrap_or_default(),
            owner: state.owner().clone(),
            labels: state.labels().clone(),
            phase: state.phase(),
            outcome: state.outcome().cloned(),
            accepted_at: journal.first().map(|r| r.at).unwrap_or_default(),
            finished_at: (state.phase() == Phase::Finished)
                .then(|| journal.last().map(|r| r.at))
                .flatten(),
            steps: step_views.len() as u32,
            steps_over: 0,
        };
        let (by, stop) = (None, None);
        Self { summary, by, started_at: None, node: None, takeovers: 0, stop, step_views }
    }

    fn read(&mut self, recorded: &Recorded) {
        let at = recorded.at;
        match &recorded.event {
            Event::Adopted { node, kept, .. } => {
                self.takeovers += u32::from(self.started_at.is_some());
                self.started_at.get_or_insert(at);
                self.node = Some(node.clone());
                for step in &mut self.step_views {
                    if step.status == StepStatus::Running && !kept.contains(&step.id) {
                        step.status = StepStatus::Waiting;
                        step.ended_at = Some(at);
                    }
                }
            }
            Event::Accepted { by, .. } => self.by.clone_from(by),
            Event::CancelRequested { cause, reason, by, .. } => {
                let (reason, by) = (reason.clone(), by.clone());
                let stop = StopView { cause: *cause, reason, at, by };
                self.stop.get_or_insert(stop);
            }
            Event::StepReused { step, of, output, .. } => {
                let step = &mut self.step_views[step.index()];
                step.output = Some((**output).clone());
                step.reused_of = Some(of.clone());
            }
            Event::StepStarted { step, attempt } => {
                let step = &mut self.step_views[step.index()];
                step.status = StepStatus::Running;
                step.attempts = *attempt;
                step.started_at.get_or_insert(at);
                step.ended_at = None;
            }
            Event::StepSucceeded { step, output, .. } => {
                let step = &mut self.step_views[step.index()];
                step.ended_at = Some(at);
                step.output = Some((**output).clone());
                step.failure = None;
            }
            Event::StepFailed { step, failure, .. } => {
                let step = &mut self.step_views[step.index()];
                step.ended_at = Some(at);
                step.failure = Some(failure.clone());
            }
            _ => {}
        }
    }

    /// The step of a name.
    pub fn step(&self, name: &str) -> Option<&StepView> {
        self.step_views.iter().find(|s| s.name == name)
    }
}

fn status(phase: &StepPhase) -> StepStatus {
    match phase {
        StepPhase::Waiting { .. } | StepPhase::Delayed { .. } => StepStatus::Waiting,
        StepPhase::Running { .. } => StepStatus::Running,
        StepPhase::Succeeded(_) => StepStatus::Succeeded,
        StepPhase::Failed(_) => StepStatus::Failed,
        StepPhase::Skipped => StepStatus::Skipped,
    }
}
