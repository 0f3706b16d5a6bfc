use crate::{BuildId, BuildSpec, Image, Recipe, Result, StepCx};
use async_trait::async_trait;
use std::fmt::Debug;

/// Turns recipes into images.
#[async_trait]
pub trait Builder: Debug + Send + Sync + 'static {
    /// Whether this builder understands the recipe, judged by its form alone.
    fn accepts(&self, recipe: &Recipe) -> bool;

    /// Builds.
    ///
    /// [`Context::Workspace`](crate::Context::Workspace) is below [`StepCx::workspace`].
    ///
    /// # Promises
    ///
    /// - The image has all the names that were asked for, or the call fails.
    /// - What the recipe itself did wrong is `Failed`, with the exit code where there is one; a
    ///   recipe that cannot be read is `Invalid` with file and line.
    /// - A cancelled call returns within a second with `Cancelled` and leaves nothing running.
    /// - Building twice under one [`StepKey`](crate::StepKey) is safe.
    async fn build(&self, cx: &StepCx, spec: &BuildSpec) -> Result<Image>;

    /// Removes what builds of this build left behind, but never an image that was asked for.
    ///
    /// # Promises
    ///
    /// - It is safe to call twice, or for a build nobody knows; nothing foreign is touched.
    async fn sweep(&self, build: &BuildId) -> Result<()>;
}
