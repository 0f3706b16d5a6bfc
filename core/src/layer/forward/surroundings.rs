#![deny(clippy::missing_trait_methods)]

use crate::layer::{Again, Around, Call, Layered};
use crate::{
    BuildId, Event, Owner, RelPath, Result, Secret, SecretRef,
    port::{ByteStream, Notice, Notifier, Secrets, Workspaces},
};
use async_trait::async_trait;
use std::path::PathBuf;

#[async_trait]
impl<P: Notifier + ?Sized, A: Around> Notifier for Layered<P, A> {
    async fn notify(&self, notice: &Notice) -> Result<()> {
        let call = Call::new("Notifier::notify", Again::Safe).build(&notice.build.build);
        self.around.around(call, || self.inner.notify(notice)).await
    }

    fn wants(&self, event: &Event) -> bool {
        self.inner.wants(event)
    }
}

#[async_trait]
impl<P: Secrets + ?Sized, A: Around> Secrets for Layered<P, A> {
    async fn reveal(&self, owner: &Owner, secret: &SecretRef) -> Result<Secret> {
        let call = Call::new("Secrets::reveal", Again::Safe);
        self.around.around(call, || self.inner.reveal(owner, secret)).await
    }
}

#[async_trait]
impl<P: Workspaces + ?Sized, A: Around> Workspaces for Layered<P, A> {
    async fn prepare(&self, build: &BuildId) -> Result<PathBuf> {
        let call = Call::new("Workspaces::prepare", Again::Safe).build(build);
        self.around.around(call, || self.inner.prepare(build)).await
    }

    async fn read(&self, build: &BuildId, path: &RelPath) -> Result<ByteStream> {
        let call = Call::new("Workspaces::read", Again::Safe).build(build);
        self.around.around(call, || self.inner.read(build, path)).await
    }

    async fn remove(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("Workspaces::remove", Again::Safe).build(build);
        self.around.around(call, || self.inner.remove(build)).await
    }

    async fn list(&self) -> Result<Vec<BuildId>> {
        let call = Call::new("Workspaces::list", Again::Safe);
        self.around.around(call, || self.inner.list()).await
    }
}
