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

    /// A file or directory of a container as a tar archive, in flat memory.
    ///
    /// # Promises
    ///
    /// - The first entry is what the path names, under the last part of its name; of a directory
    ///   that is named with `/.` behind it, all names begin with `./` and say nothing of it.
    /// - A path that is not there is `NotFound`.
    async fn read(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
    ) -> Result<ByteStream>;

    /// Puts the files of a tar archive into a directory of a container, in flat memory.
    ///
    /// # Promises
    ///
    /// - Modes, owners and symbolic links are as in the archive; files that are there already are
    ///   replaced, and others stay.
    /// - Nothing is written outside the directory by an entry whose name is absolute or leads up:
    ///   the call fails, or the file is inside.
    /// - A directory or a container that is not there is `NotFound`, and what is no archive is
    ///   `Invalid`. A call that fails may have written some of it.
    async fn write(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
        archive: ByteStream,
    ) -> Result<()>;
}
