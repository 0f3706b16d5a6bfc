use super::{
    MemoryHost,
    host::Container,
    tar::{self, Entry, Kind},
};
use crate::{
    BuildId, CommitSpec, ContainerRef, Error, ErrorKind, Image, Result, StepCx,
    port::{ByteStream, Containers},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

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
    let bytes = |entry: &Entry| match &entry.kind {
        Kind::File(bytes) => bytes.len() as u64,
        Kind::Directory | Kind::Link(_) => 0,
    };
    container.files.values().map(bytes).sum()
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
        let found = inner.container(build, container, OP)?;
        let (path, name) = match path.strip_suffix("/.") {
            Some(directory) => (directory, "."),
            None => (path, path.rsplit('/').next().unwrap_or(path)),
        };
        let missing =
            || Error::new(ErrorKind::NotFound, OP, "there is no such file").with("path", path);
        let below = format!("{path}/");
        let rest = found.files.range(below.clone()..).take_while(|(p, _)| p.starts_with(&below));
        let rest = rest.map(|(p, entry)| (format!("{name}/{}", &p[below.len()..]), entry));
        let implied = Entry::directory();
        let first = match found.files.get(path) {
            Some(entry) if entry.kind != Kind::Directory && name == "." => return Err(missing()),
            Some(entry) => entry,
            None if found.has_directory(path) => &implied,
            None => return Err(missing()),
        };
        let slash = if matches!(first.kind, Kind::Directory) { "/" } else { "" };
        let archive = tar::pack([(format!("{name}{slash}"), first)].into_iter().chain(rest));
        Ok(stream::iter(archive.into_iter().map(Ok)).boxed())
    }

    async fn write(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
        archive: ByteStream,
    ) -> Result<()> {
        const OP: &str = "Containers::write";
        let pieces: Vec<Bytes> = archive.try_collect().await?;
        let entries = tar::unpack(pieces.concat().into(), OP)?;
        let mut inner = self.host.lock();
        let found = inner.container_mut(build, container, OP)?;
        let path = path.trim_end_matches('/');
        if !found.has_directory(path) {
            let message = "there is no such directory";
            return Err(Error::new(ErrorKind::NotFound, OP, message).with("path", path));
        }
        for (name, entry) in entries.into_iter().filter(|(name, _)| !name.is_empty()) {
            found.files.insert(format!("{path}/{name}"), entry);
        }
        Ok(())
    }
}
