#![deny(clippy::missing_trait_methods)]

use super::memory::used_up;
use crate::layer::{Again, Around, Call, Layered};
use crate::{
    BoxName, BoxSpec, BuildId, BuildSpec, Command, CommitSpec, ContainerRef, Digest, Image,
    ImageRef, Plan, Recipe, Report, Result, Revision, SourceSpec, StepCx, StepKey, Target,
    port::{
        BoxHandle, Builder, ByteStream, Containers, Exit, PlanAsk, Planner, Publisher, PushSpec,
        Registry, Runtime, Scanner, Source,
    },
};
use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture, stream};
use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

#[async_trait]
impl<P: Source + ?Sized, A: Around> Source for Layered<P, A> {
    fn accepts(&self, spec: &SourceSpec) -> bool {
        self.inner.accepts(spec)
    }

    async fn resolve(&self, cx: &StepCx, spec: &SourceSpec) -> Result<Revision> {
        let call = Call::new("Source::resolve", Again::Safe).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.resolve(&cx, spec).await })
        };
        self.around.around_step(call, cx, work).await
    }

    async fn fetch(
        &self,
        cx: &StepCx,
        spec: &SourceSpec,
        revision: &Revision,
        into: &Path,
    ) -> Result<()> {
        let call = Call::new("Source::fetch", Again::Safe).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.fetch(&cx, spec, revision, into).await })
        };
        self.around.around_step(call, cx, work).await
    }
}

#[async_trait]
impl<P: Builder + ?Sized, A: Around> Builder for Layered<P, A> {
    fn accepts(&self, recipe: &Recipe) -> bool {
        self.inner.accepts(recipe)
    }

    async fn build(&self, cx: &StepCx, spec: &BuildSpec) -> Result<Image> {
        let call = Call::new("Builder::build", Again::Never).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.build(&cx, spec).await })
        };
        self.around.around_step(call, cx, work).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("Builder::sweep", Again::Safe).build(build);
        self.around.around(call, || self.inner.sweep(build)).await
    }
}

#[async_trait]
impl<P: Runtime + ?Sized, A: Around> Runtime for Layered<P, A> {
    async fn start(&self, cx: &StepCx, name: &BoxName, spec: &BoxSpec) -> Result<BoxHandle> {
        let call = Call::new("Runtime::start", Again::Safe).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.start(&cx, name, spec).await })
        };
        self.around.around_step(call, cx, work).await
    }

    async fn exec(&self, cx: &StepCx, in_box: &BoxHandle, command: &Command) -> Result<Exit> {
        let call = Call::new("Runtime::exec", Again::Never).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.exec(&cx, in_box, command).await })
        };
        self.around.around_step(call, cx, work).await
    }

    async fn has(&self, key: &StepKey) -> Result<bool> {
        let call = Call::new("Runtime::has", Again::Safe).build(&key.build);
        self.around.around(call, || self.inner.has(key)).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("Runtime::sweep", Again::Safe).build(build);
        self.around.around(call, || self.inner.sweep(build)).await
    }
}

#[async_trait]
impl<P: Containers + ?Sized, A: Around> Containers for Layered<P, A> {
    async fn commit(
        &self,
        cx: &StepCx,
        container: &ContainerRef,
        spec: &CommitSpec,
    ) -> Result<Image> {
        let call = Call::new("Containers::commit", Again::Unsure).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.commit(&cx, container, spec).await })
        };
        self.around.around_step(call, cx, work).await
    }

    async fn measure(&self, build: &BuildId, container: &ContainerRef) -> Result<u64> {
        let call = Call::new("Containers::measure", Again::Safe).build(build);
        self.around.around(call, || self.inner.measure(build, container)).await
    }

    async fn read(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
    ) -> Result<ByteStream> {
        let call = Call::new("Containers::read", Again::Safe).build(build);
        self.around.around(call, || self.inner.read(build, container, path)).await
    }

    async fn write(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
        archive: ByteStream,
    ) -> Result<()> {
        let call = Call::new("Containers::write", Again::Never).build(build);
        let archive = Mutex::new(Some(archive));
        let work = || -> BoxFuture<'_, _> {
            let archive = archive.lock().unwrap_or_else(PoisonError::into_inner).take();
            let archive = archive.unwrap_or_else(|| stream::once(async { Err(used_up()) }).boxed());
            self.inner.write(build, container, path, archive)
        };
        self.around.around(call, work).await
    }
}

#[async_trait]
impl<P: Registry + ?Sized, A: Around> Registry for Layered<P, A> {
    async fn push(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest> {
        let call = Call::new("Registry::push", Again::Safe).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.push(&cx, spec).await })
        };
        self.around.around_step(call, cx, work).await
    }

    async fn digest(&self, cx: &StepCx, of: &ImageRef) -> Result<Option<Digest>> {
        let call = Call::new("Registry::digest", Again::Safe).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.digest(&cx, of).await })
        };
        self.around.around_step(call, cx, work).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        let call = Call::new("Registry::sweep", Again::Safe).build(build);
        self.around.around(call, || self.inner.sweep(build)).await
    }
}

#[async_trait]
impl<P: Scanner + ?Sized, A: Around> Scanner for Layered<P, A> {
    async fn scan(&self, cx: &StepCx, image: &str) -> Result<Report> {
        let call = Call::new("Scanner::scan", Again::Safe).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.scan(&cx, image).await })
        };
        self.around.around_step(call, cx, work).await
    }
}

#[async_trait]
impl<P: Planner + ?Sized, A: Around> Planner for Layered<P, A> {
    fn accepts(&self, planner: &str) -> bool {
        self.inner.accepts(planner)
    }

    async fn plan(&self, cx: &StepCx, ask: &PlanAsk<'_>) -> Result<Plan> {
        let call = Call::new("Planner::plan", Again::Safe).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.plan(&cx, ask).await })
        };
        self.around.around_step(call, cx, work).await
    }
}

#[async_trait]
impl<P: Publisher + ?Sized, A: Around> Publisher for Layered<P, A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn publish(&self, cx: &StepCx, image: &str, target: &Target) -> Result<Digest> {
        let call = Call::new("Publisher::publish", Again::Safe).cx(cx);
        let work = move |cx: StepCx| -> BoxFuture<'_, _> {
            Box::pin(async move { self.inner.publish(&cx, image, target).await })
        };
        self.around.around_step(call, cx, work).await
    }
}
