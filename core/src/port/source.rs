use crate::{Result, Revision, SourceSpec, StepCx};
use async_trait::async_trait;
use std::{fmt::Debug, path::Path};

/// Where source code comes from, such as git.
#[async_trait]
pub trait Source: Debug + Send + Sync + 'static {
    /// Whether this source understands the spec, judged by its form alone.
    fn accepts(&self, spec: &SourceSpec) -> bool;

    /// Pins a moving name to an exact revision.
    ///
    /// # Promises
    ///
    /// - What does not exist is `NotFound`, what needs other credentials is `Denied`, what policy
    ///   forbids is `Denied`, what cannot be reached is `Unavailable`.
    /// - An exact revision is resolved to itself.
    async fn resolve(&self, cx: &StepCx, spec: &SourceSpec) -> Result<Revision>;

    /// Puts an exact revision into a directory, which it makes.
    ///
    /// # Promises
    ///
    /// - Fetching twice gives the same files; what an earlier attempt left half done is replaced.
    /// - Nothing is written outside the directory, whatever the source holds.
    /// - A cancelled call returns within a second with `Cancelled`.
    async fn fetch(
        &self,
        cx: &StepCx,
        spec: &SourceSpec,
        revision: &Revision,
        into: &Path,
    ) -> Result<()>;
}
