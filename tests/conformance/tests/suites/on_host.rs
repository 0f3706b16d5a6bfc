//! Memory adapters with the host they work on.

use async_trait::async_trait;
use kiln::{
    BuildId, BuildSpec, CommitSpec, ContainerRef, Digest, Image, ImageRef, Recipe, Result, StepCx,
    memory::{MemoryBuilder, MemoryContainers, MemoryHost, MemoryRegistry},
    port::{Builder, ByteStream, Containers, PushSpec, Registry},
};
use kiln_conformance::{
    Fresh,
    images::{Boxed, Images, Recipes},
    sample::image,
};
use std::sync::Arc;

/// An adapter with the host it works on.
#[derive(Debug)]
pub(crate) struct OnHost<P>(P, MemoryHost);

impl<P> OnHost<P> {
    pub(crate) fn new(make: impl FnOnce(&MemoryHost) -> P) -> Self {
        let host = MemoryHost::default();
        Self(make(&host), host)
    }

    pub(crate) fn fresh(make: impl FnOnce(&MemoryHost) -> P) -> Fresh<Self> {
        Fresh::new(Arc::new(Self::new(make)))
    }
}

#[async_trait]
impl Builder for OnHost<MemoryBuilder> {
    fn accepts(&self, recipe: &Recipe) -> bool {
        self.0.accepts(recipe)
    }

    async fn build(&self, cx: &StepCx, spec: &BuildSpec) -> Result<Image> {
        self.0.build(cx, spec).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        self.0.sweep(build).await
    }
}

fn inline(text: &str) -> BuildSpec {
    BuildSpec::new(Recipe::Inline { text: text.into() })
}

impl Recipes for OnHost<MemoryBuilder> {
    fn good(&self) -> BuildSpec {
        inline("FROM scratch\nRUN true")
    }

    fn failing(&self) -> (BuildSpec, Option<i64>) {
        (inline("FROM scratch\nRUN exit 4"), Some(4))
    }

    fn unreadable(&self) -> BuildSpec {
        inline("FROM scratch\nrun true")
    }

    fn id_of(&self, name: &ImageRef) -> Option<String> {
        let has = |i: &Image| i.tags.iter().any(|t| t.canonical() == name.canonical());
        self.1.images().into_iter().find(has).map(|i| i.id)
    }
}

#[async_trait]
impl Registry for OnHost<MemoryRegistry> {
    async fn push(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest> {
        self.0.push(cx, spec).await
    }

    async fn digest(&self, cx: &StepCx, of: &ImageRef) -> Result<Option<Digest>> {
        self.0.digest(cx, of).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        self.0.sweep(build).await
    }
}

impl Images for OnHost<MemoryRegistry> {
    fn there(&self) -> String {
        self.1.add_image(image("app:1")).id
    }

    fn target(&self, repository: &str) -> ImageRef {
        image(&format!("hub.test/{repository}"))
    }
}

#[async_trait]
impl Containers for OnHost<MemoryContainers> {
    async fn commit(&self, cx: &StepCx, of: &ContainerRef, spec: &CommitSpec) -> Result<Image> {
        self.0.commit(cx, of, spec).await
    }

    async fn measure(&self, build: &BuildId, of: &ContainerRef) -> Result<u64> {
        self.0.measure(build, of).await
    }

    async fn read(&self, build: &BuildId, of: &ContainerRef, path: &str) -> Result<ByteStream> {
        self.0.read(build, of, path).await
    }

    async fn write(
        &self,
        build: &BuildId,
        of: &ContainerRef,
        path: &str,
        archive: ByteStream,
    ) -> Result<()> {
        self.0.write(build, of, path, archive).await
    }
}

impl Boxed for OnHost<MemoryContainers> {
    fn container(&self) -> ContainerRef {
        let (path, bytes) = self.file();
        self.1.add_file("web", &path, bytes);
        self.1.add_file("web", &format!("{}/.keep", self.directory()), "");
        ContainerRef::Container("web".into())
    }

    fn file(&self) -> (String, Vec<u8>) {
        ("/etc/motd".into(), vec![b'm'; 700])
    }

    fn directory(&self) -> String {
        "/var/in".into()
    }
}
