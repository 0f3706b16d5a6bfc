use super::{MemoryHost, host::Container};
use crate::{
    BuildId, CommitSpec, ContainerRef, Error, ErrorKind, Image, Result, StepCx,
    port::{ByteStream, Containers},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};

/// The boxes and containers of a pretended host.
#[derive(Debug, Default)]
pub struct MemoryContainers {
    host: MemoryHost,
}

impl MemoryContainers {
    /// The containers of a host.
    pub fn new(host: &MemoryHost) -> Self {
        Self { host: host.clone() }
    }
}

fn size(container: &Container) -> u64 {
    container.files.values().map(|b| b.len() as u64).sum()
}

#[async_trait]
impl Containers for MemoryContainers {
    async fn commit(
        &self,
        cx: &StepCx,
        container: &ContainerRef,
        spec: &CommitSpec,
    ) -> Result<Image> {
        const OP: &str = "Containers::commit";
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        let mut inner = self.host.lock();
        let found = inner.container(&cx.key.build, container, OP)?;
        let content = format!("{:?} {:?}", found.files, spec.changes);
        let bytes = size(found);
        Ok(inner.tag(content.as_bytes(), bytes, &spec.tags))
    }

    async fn measure(&self, build: &BuildId, container: &ContainerRef) -> Result<u64> {
        Ok(size(self.host.lock().container(build, container, "Containers::measure")?))
    }

    async fn read(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
    ) -> Result<ByteStream> {
        const OP: &str = "Containers::read";
        let inner = self.host.lock();
        let files = &inner.container(build, container, OP)?.files;
        let bytes = files.get(path).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, OP, "there is no such file").with("path", path)
        })?;
        let name = path.rsplit('/').next().unwrap_or(path);
        Ok(stream::iter(tar(name, bytes).map(Ok)).boxed())
    }
}

/// A tar archive of one file: a ustar header, the bytes, and zeros up to the end mark.
fn tar(name: &str, bytes: Bytes) -> [Bytes; 3] {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{:011o}\x0000000000000\0", bytes.len()).as_bytes());
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let end = bytes.len().next_multiple_of(512) - bytes.len() + 1024;
    [Bytes::copy_from_slice(&header), bytes, BytesMut::zeroed(end).freeze()]
}
