use crate::{Plan, RelPath, Result, Revision, SourceSpec, StepCx};
use async_trait::async_trait;
use std::fmt::Debug;

/// Turns files of a build's workspace into what the build does next, such as a file of a pipeline.
#[async_trait]
pub trait Planner: Debug + Send + Sync + 'static {
    /// Whether this planner is the one that a plan step names.
    fn accepts(&self, planner: &str) -> bool;

    /// Reads what the build has fetched and says what follows: steps, and the boxes they run in.
    ///
    /// The answer is checked like a plan that was submitted, and becomes part of the build's own as
    /// [`Plan::extend`] says.
    ///
    /// # Promises
    ///
    /// - A file that is wrong is `Invalid`, with its place in the message; one that is not there is
    ///   `NotFound`.
    /// - It writes to the workspace only, and what an earlier attempt left there is replaced.
    /// - A cancelled call returns within a second with `Cancelled`.
    async fn plan(&self, cx: &StepCx, ask: &PlanAsk<'_>) -> Result<Plan>;
}

/// What a planner is asked.
#[derive(Debug)]
pub struct PlanAsk<'a> {
    /// Which planner the step names.
    pub planner: &'a str,
    /// Where in the workspace to read: a directory, or a file.
    pub path: &'a RelPath,
    /// What only the planner understands.
    pub settings: &'a serde_json::Value,
    /// The fetch that this step needs, directly or not, and what it brought; the nearest one that
    /// brought something, or none.
    pub fetched: Option<(&'a SourceSpec, &'a Revision)>,
    /// Brings further sources into the workspace.
    pub sources: &'a dyn PlanSources,
}

/// Brings sources into the workspace of a build for its planner.
#[async_trait]
pub trait PlanSources: Debug + Send + Sync {
    /// Resolves a source and puts it into a directory of the workspace, which it makes; returns what
    /// it was resolved to. Errors are those of [`Source`](super::Source); `Invalid` for the root of
    /// the workspace, where the files of the build are.
    async fn fetch(&self, source: &SourceSpec, into: &RelPath) -> Result<Revision>;
}
