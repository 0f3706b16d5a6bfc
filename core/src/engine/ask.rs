//! A plan step: what its planner is told, and what is asked of the answer.

use crate::{
    BuildState, Error, ErrorKind, Op, Output, Plan, RelPath, Result, Revision, SourceSpec, StepCx,
    StepId, StepPhase,
    port::{PlanAsk, PlanSources},
    toolbox::Toolbox,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
};

const OP: &str = "Planner::plan";

/// Asks the planner of a step what follows.
pub(super) async fn plan(
    tools: &Toolbox,
    state: &BuildState,
    cx: &StepCx,
    local_paths: bool,
) -> Result<Output> {
    let Op::Plan { planner, path, settings } = &state.plan().step(cx.key.step).op else {
        return Err(Error::new(ErrorKind::Unexpected, OP, "that is no plan step"));
    };
    let adapter = tools.planner(planner)?;
    let sources = Sources { tools, state, cx, filled: filled(state), own: Mutex::default() };
    let fetched = fetched(state, cx.key.step);
    let ask = PlanAsk { planner, path, settings, fetched, sources: &sources };
    let plan = adapter.plan(cx, &ask).await?;
    check(&plan, local_paths)?;
    for step in plan.steps() {
        if let Op::Fetch { source, .. } = &step.op {
            sources.allow(source)?;
        }
    }
    Ok(Output { plan: Some(plan), ..Output::default() })
}

/// What is asked of a plan that is submitted is asked of one that comes later.
fn check(plan: &Plan, local_paths: bool) -> Result<()> {
    let no = |what| {
        let message = format!("the new steps name {what}, and this engine does not allow that");
        Err(Error::new(ErrorKind::Denied, OP, message))
    };
    match local_paths {
        false if plan.uses_local_paths() => no("a path of the host"),
        false if plan.opens_ports() => no("a port that other machines may reach"),
        false if plan.uses_host_containers() => no("a container of the host"),
        _ => Ok(()),
    }
}

/// The nearest fetch among all that a step needs, and what it brought.
fn fetched(state: &BuildState, step: StepId) -> Option<(&SourceSpec, &Revision)> {
    let (mut todo, mut seen) = (VecDeque::from([step]), BTreeSet::from([step]));
    while let Some(id) = todo.pop_front() {
        let step = state.plan().step(id);
        if let (Op::Fetch { source, .. }, StepPhase::Succeeded(output)) = (&step.op, state.step(id))
            && let Some(revision) = &output.revision
        {
            return Some((source, revision));
        }
        todo.extend(step.needs.iter().filter(|need| seen.insert(**need)));
    }
    None
}

/// The directories of the workspace that sources of the plan fill.
fn filled(state: &BuildState) -> Vec<RelPath> {
    let fetches = state.plan().steps().iter().filter_map(|step| match &step.op {
        Op::Fetch { into, .. } => Some(into.clone()),
        _ => None,
    });
    fetches.collect()
}

/// What a planner brings into the workspace, through the engine's own sources.
#[derive(Debug)]
struct Sources<'a> {
    tools: &'a Toolbox,
    state: &'a BuildState,
    cx: &'a StepCx,
    /// Directories that hold what somebody else wrote: a link in them may lead anywhere.
    filled: Vec<RelPath>,
    /// The same, of sources that this planner brought.
    own: Mutex<Vec<RelPath>>,
}

/// What the address of an upload begins with. Whose it is was asked when the plan was submitted.
const UPLOAD: &str = "upload:";

impl Sources<'_> {
    /// Whether the build may have a source that came up only now: an upload has an owner, and only
    /// those of the plan that was submitted are known to be the build's.
    fn allow(&self, source: &SourceSpec) -> Result<()> {
        let known = |step: &crate::Step| match &step.op {
            Op::Fetch { source: known, .. } => known.url == source.url,
            _ => false,
        };
        if !source.url.starts_with(UPLOAD) || self.state.submitted().steps().iter().any(known) {
            return Ok(());
        }
        let message = "a planner cannot name an upload that the submitted plan does not fetch";
        Err(Error::new(ErrorKind::Denied, "PlanSources::fetch", message).with("url", &source.url))
    }

    /// Takes a directory that no other source is in, around or below.
    fn take(&self, into: &RelPath) -> Result<()> {
        let no = |message| Error::new(ErrorKind::Invalid, "PlanSources::fetch", message);
        if into.is_root() {
            return Err(no("a source of a planner cannot take the whole workspace")
                .hint("Name a directory for it."));
        }
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // A planner that is asked again brings the same again.
        if own.contains(into) {
            return Ok(());
        }
        if let Some(other) = self.filled.iter().chain(&*own).find(|other| overlap(into, other)) {
            return Err(no("a source needs a directory of the workspace for itself")
                .with("directory", into)
                .with("taken", other));
        }
        own.push(into.clone());
        Ok(())
    }
}

/// Whether one path is the other or leads to it.
fn overlap(a: &RelPath, b: &RelPath) -> bool {
    let below = |a: &RelPath, b: &RelPath| {
        let rest = a.as_str().strip_prefix(b.as_str());
        b.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(a, b) || below(b, a)
}

#[async_trait]
impl PlanSources for Sources<'_> {
    async fn fetch(&self, source: &SourceSpec, into: &RelPath) -> Result<Revision> {
        self.allow(source)?;
        let adapter = self.tools.source(source)?;
        self.take(into)?;
        let revision = adapter.resolve(self.cx, source).await?;
        adapter.fetch(self.cx, source, &revision, &into.below(&self.cx.workspace)).await?;
        Ok(revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_source_is_in_another_ones_directory() {
        let path = |p| RelPath::new(p).unwrap();
        for (a, b) in [("a", "a"), ("a/b", "a"), ("a", "a/b/c"), ("", "a")] {
            assert!(overlap(&path(a), &path(b)), "{a} {b}");
        }
        for (a, b) in [("a", "b"), ("a/b", "a/c"), ("ab", "a"), ("a", "ab/c")] {
            assert!(!overlap(&path(a), &path(b)), "{a} {b}");
        }
    }
}
