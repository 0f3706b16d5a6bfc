use super::{BuildState, Phase, Refusal, StepPhase};
use crate::{
    BuildId, ContainerRef, Context, Event, ImageFrom, NodeId, Op, Outcome, Output, Placement,
    Recipe, Revision, StepId, When,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a build that repeats another one need not do again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reuse {
    outputs: BTreeMap<StepId, Arc<Output>>,
    pins: BTreeMap<StepId, Revision>,
    images: BTreeMap<StepId, NodeId>,
    node: Option<NodeId>,
}

impl Reuse {
    /// The steps that need not run.
    pub fn steps(&self) -> impl Iterator<Item = StepId> + '_ {
        self.outputs.keys().copied()
    }

    /// The node with the images that steps which have to run work on.
    pub fn node(&self) -> Option<&NodeId> {
        self.node.as_ref()
    }

    /// What the journal of the new build says of it, right after that it was accepted.
    pub fn events(&self, of: &BuildId) -> Vec<Event> {
        let reused = self.outputs.iter().map(|(step, output)| Event::StepReused {
            step: *step,
            of: of.clone(),
            output: Box::new((**output).clone()),
            node: self.images.get(step).cloned(),
        });
        let pinned = self.pins.iter().map(|(step, revision)| Event::StepPinned {
            step: *step,
            attempt: 0,
            revision: revision.clone(),
        });
        reused.chain(pinned).collect()
    }
}

/// Whether a step works with the files of the build or in its boxes, which are gone with it.
fn uses_workspace(op: &Op) -> bool {
    match op {
        Op::Exec { .. }
        | Op::Upload { .. }
        | Op::Plan { .. }
        | Op::Collect { .. }
        | Op::Restore { .. }
        | Op::Save { .. } => true,
        Op::Commit { container, .. } => matches!(container, ContainerRef::Box(_)),
        Op::Build(spec) => {
            matches!(spec.context, Context::Workspace { .. })
                || matches!(spec.recipe, Recipe::Custom { .. })
        }
        Op::Fetch { .. } | Op::Push { .. } | Op::Scan { .. } | Op::Publish { .. } => false,
    }
}

/// Whether a step leaves something in the files of the build or in its boxes.
fn fills_workspace(op: &Op) -> bool {
    matches!(op, Op::Fetch { .. } | Op::Exec { .. } | Op::Plan { .. } | Op::Restore { .. })
}

impl BuildState {
    /// What a new build of this plan need not do again, if it is to go on from what failed here.
    ///
    /// - It begins with the plan that was submitted: a plan step runs and asks again, so what it
    ///   brought here is not taken over.
    /// - A step that did not succeed runs, and one that does not wait for success.
    /// - What needs a step that runs, runs; but a fetch that succeeded is pinned to its revision,
    ///   so what came of it stays.
    /// - What a step that runs finds in the files of the build or in its boxes is made again: all
    ///   fetches and commands among what it needs, directly or not.
    /// - All else is reused. An image that a step which runs works on is on one node, and there the
    ///   new build has to run; an image on another node is built again.
    ///
    /// `Refusal::Unfinished` if this build is not over, `Refusal::Succeeded` if nothing failed.
    pub fn reuse(&self) -> Result<Reuse, Refusal> {
        match self.outcome() {
            None => return Err(Refusal::Unfinished),
            Some(Outcome::Succeeded) => return Err(Refusal::Succeeded),
            Some(_) => {}
        }
        let mut again = Again::new(self);
        for id in self.submitted.ids() {
            let done = matches!(self.step(id), StepPhase::Succeeded(_));
            let step = self.submitted.step(id);
            if !done || step.when != When::Success || matches!(step.op, Op::Plan { .. }) {
                again.run(id);
            }
        }
        let node = loop {
            let (node, elsewhere) = again.images();
            if elsewhere.is_empty() {
                break node;
            }
            elsewhere.into_iter().for_each(|id| again.run(id));
        };
        let asked = |id: &StepId| self.submitted.get(*id).is_some();
        let kept = |id: &StepId| asked(id) && !again.runs.contains(id);
        let pins = self.pins.iter();
        let pins = pins.filter(|(id, _)| asked(id) && !kept(id) && again.is_pinned(**id));
        Ok(Reuse {
            pins: pins.map(|(id, revision)| (*id, revision.clone())).collect(),
            outputs: self.submitted.ids().filter(kept).filter_map(|id| self.output(id)).collect(),
            images: self.images.iter().filter(|(id, _)| kept(id)).map(pair).collect(),
            node,
        })
    }

    fn output(&self, id: StepId) -> Option<(StepId, Arc<Output>)> {
        match self.step(id) {
            StepPhase::Succeeded(output) => Some((id, output.clone())),
            _ => None,
        }
    }

    /// Where the build may run: as its plan says, and where the images are that it took over from
    /// another build and that a step yet to run works on.
    pub fn placement(&self) -> Placement {
        let plan = self.plan.placement();
        let wanted = self.plan.ids().filter(|id| !self.step(*id).is_over()).find_map(|id| {
            let from = image_of(&self.plan.step(id).op)?;
            self.reused.contains(&from).then(|| self.images.get(&from)).flatten()
        });
        let node = Placement { node: wanted.cloned(), ..Placement::default() };
        plan.and(&node).unwrap_or(plan)
    }

    /// Whether a reused step may still be put into the journal.
    pub(super) fn is_untouched(&self) -> bool {
        self.phase() == Phase::Queued
    }
}

fn pair((id, node): (&StepId, &NodeId)) -> (StepId, NodeId) {
    (*id, node.clone())
}

fn image_of(op: &Op) -> Option<StepId> {
    match op.image() {
        Some(ImageFrom::Step(from)) => Some(*from),
        _ => None,
    }
}

/// Which steps run again. Every step and every need is looked at once for each of two reasons, so
/// that a large plan costs no more than its size.
struct Again<'a> {
    state: &'a BuildState,
    runs: BTreeSet<StepId>,
    /// Steps whose needs were looked through for what fills the workspace.
    searched: BTreeSet<StepId>,
    needed_by: BTreeMap<StepId, Vec<StepId>>,
}

impl<'a> Again<'a> {
    fn new(state: &'a BuildState) -> Self {
        let mut needed_by: BTreeMap<StepId, Vec<StepId>> = BTreeMap::new();
        for id in state.submitted.ids() {
            for need in &state.submitted.step(id).needs {
                needed_by.entry(*need).or_default().push(id);
            }
        }
        Self { state, runs: BTreeSet::new(), searched: BTreeSet::new(), needed_by }
    }

    /// Whether a fetch will bring just what it brought before.
    fn is_pinned(&self, id: StepId) -> bool {
        let succeeded = matches!(self.state.step(id), StepPhase::Succeeded(_));
        succeeded && self.state.pin(id).is_some()
    }

    /// Lets a step run, with all that follows.
    fn run(&mut self, id: StepId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            if !self.runs.insert(id) {
                continue;
            }
            if !self.is_pinned(id) {
                todo.extend(self.needed_by.get(&id).into_iter().flatten());
            }
            if uses_workspace(&self.state.submitted.step(id).op) {
                self.search(id, &mut todo);
            }
        }
    }

    /// What fills the workspace among all that a step needs.
    fn search(&mut self, id: StepId, found: &mut Vec<StepId>) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            if !self.searched.insert(id) {
                continue;
            }
            for need in &self.state.submitted.step(id).needs {
                if fills_workspace(&self.state.submitted.step(*need).op) {
                    found.push(*need);
                }
                todo.push(*need);
            }
        }
    }

    /// The node of the images that steps which run work on, and those of them that are not there.
    fn images(&self) -> (Option<NodeId>, Vec<StepId>) {
        let plan = &self.state.submitted;
        let wanted = self.runs.iter().filter_map(|id| image_of(&plan.step(*id).op));
        let wanted: BTreeSet<_> = wanted.filter(|from| !self.runs.contains(from)).collect();
        let mut node = None;
        let mut elsewhere = Vec::new();
        for from in wanted {
            let here = self.state.images.get(&from);
            match (here, &node) {
                (None, _) => elsewhere.push(from),
                (Some(here), None) => node = Some(here.clone()),
                (Some(here), Some(node)) if here == node => {}
                (Some(_), Some(_)) => elsewhere.push(from),
            }
        }
        (node, elsewhere)
    }
}
