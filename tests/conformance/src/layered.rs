//! What a suite has to know of an adapter, it knows of the adapter with a layer around it too.

use crate::{
    images::{Boxed, Images, Recipes},
    notifier::Told,
    runtime::{Boxes, Does, Shares},
    source::Upstream,
    workspaces::PutFile,
};
use async_trait::async_trait;
use kiln::{
    BoxSpec, BuildId, BuildSpec, Command, ContainerRef, ImageRef, RelPath, Seq, SourceSpec,
    layer::{Around, Layered},
};
use std::path::Path;

impl<P: Boxes, A: Around> Boxes for Layered<P, A> {
    fn spec(&self) -> BoxSpec {
        self.inner().spec()
    }

    fn missing(&self) -> BoxSpec {
        self.inner().missing()
    }

    fn command(&self, does: Does) -> Command {
        self.inner().command(does)
    }

    fn text(&self, shares: Shares) -> String {
        self.inner().text(shares)
    }
}

impl<P: Recipes, A: Around> Recipes for Layered<P, A> {
    fn good(&self) -> BuildSpec {
        self.inner().good()
    }

    fn failing(&self) -> (BuildSpec, Option<i64>) {
        self.inner().failing()
    }

    fn unreadable(&self) -> BuildSpec {
        self.inner().unreadable()
    }

    fn id_of(&self, name: &ImageRef) -> Option<String> {
        self.inner().id_of(name)
    }
}

impl<P: Images, A: Around> Images for Layered<P, A> {
    fn there(&self) -> String {
        self.inner().there()
    }

    fn target(&self, repository: &str) -> ImageRef {
        self.inner().target(repository)
    }
}

impl<P: Boxed, A: Around> Boxed for Layered<P, A> {
    fn container(&self) -> ContainerRef {
        self.inner().container()
    }

    fn file(&self) -> (String, Vec<u8>) {
        self.inner().file()
    }

    fn directory(&self) -> String {
        self.inner().directory()
    }
}

impl<P: Upstream, A: Around> Upstream for Layered<P, A> {
    fn there(&self) -> SourceSpec {
        self.inner().there()
    }

    fn not_there(&self) -> SourceSpec {
        self.inner().not_there()
    }

    fn strange(&self) -> SourceSpec {
        self.inner().strange()
    }

    fn moves(&self) {
        self.inner().moves();
    }

    fn fetched(&self, into: &Path) -> Option<String> {
        self.inner().fetched(into)
    }
}

impl<P: Told, A: Around> Told for Layered<P, A> {
    fn told(&self) -> Vec<(BuildId, Seq)> {
        self.inner().told()
    }
}

#[async_trait]
impl<P: PutFile + Send + Sync, A: Around> PutFile for Layered<P, A> {
    async fn put(&self, build: &BuildId, path: &RelPath, bytes: &[u8]) {
        self.inner().put(build, path, bytes).await;
    }

    async fn link(&self, build: &BuildId, path: &RelPath, to: &Path) -> bool {
        self.inner().link(build, path, to).await
    }
}
