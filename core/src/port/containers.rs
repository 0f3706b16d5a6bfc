use super::ByteStream;
use crate::{BuildId, CommitSpec, ContainerRef, Image, Result, StepCx};
use async_trait::async_trait;
use std::fmt::Debug;

/// Works on containers that exist, made by Kiln or not.
#[async_trait]
pub trait Containers: Debug + Send + Sync + 'static {
    /// Turns a container into an image.
    ///
    /// # Promises
    ///
    /// - The image has all the names that were asked for, or the call fails.
    /// - The container runs on as before, also after a failure or a cancelled call.
    /// - A container nobody knows is `NotFound`.
    async fn commit(
        &self,
        cx: &StepCx,
        container: &ContainerRef,
        spec: &CommitSpec,
    ) -> Result<Image>;

    /// The size in bytes that the image of a commit would have, without making it.
    async fn measure(&self, build: &BuildId, container: &ContainerRef) -> Result<u64>;

    /// A file or directory of a container as a tar archive.
    async fn read(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
    ) -> Result<ByteStream>;
}
