//! The conformance suites.

use crate::parts::{Bench, bench};
use crate::pulls::refusing_registry;
use async_trait::async_trait;
use kiln::{
    BuildId, CommitSpec, ContainerRef, Image, ImageRef, Result, StepCx,
    port::{ByteStream, Containers},
};
use kiln_conformance::{Fresh, images::Boxed, runtime::Shell, step::TestStep};
use kiln_docker::DockerRuntime;
use std::sync::Arc;

/// As the suites' macros, but skipped where there is no engine.
macro_rules! or_skip {
    ($fresh:expr) => {
        match $fresh.await {
            Some(fresh) => fresh,
            None => return,
        }
    };
}

async fn fresh_runtime() -> Option<Fresh<Shell<DockerRuntime>>> {
    let bench = bench("the suite of the runtime").await?;
    let missing = format!("localhost:{}/none:1", refusing_registry(404).await);
    let shell = Shell {
        runtime: bench.runtime.clone(),
        image: bench.shell.clone(),
        missing: ImageRef::parse(&missing).unwrap(),
    };
    Some(Fresh::new(Arc::new(shell)).keep(bench))
}

mod runtime {
    use super::fresh_runtime;
    kiln_conformance::runtime_suite!(or_skip!(fresh_runtime()));
}

/// Containers, with one that runs.
#[derive(Debug)]
struct Running {
    bench: Bench,
    container: String,
}

#[async_trait]
impl Containers for Running {
    async fn commit(&self, cx: &StepCx, of: &ContainerRef, spec: &CommitSpec) -> Result<Image> {
        let made = self.bench.containers.commit(cx, of, spec).await?;
        self.bench.remove_later(&made.id);
        Ok(made)
    }

    async fn measure(&self, build: &BuildId, container: &ContainerRef) -> Result<u64> {
        self.bench.containers.measure(build, container).await
    }

    async fn read(&self, build: &BuildId, of: &ContainerRef, path: &str) -> Result<ByteStream> {
        self.bench.containers.read(build, of, path).await
    }

    async fn write(
        &self,
        build: &BuildId,
        of: &ContainerRef,
        path: &str,
        archive: ByteStream,
    ) -> Result<()> {
        self.bench.containers.write(build, of, path, archive).await
    }
}

impl Boxed for Running {
    fn container(&self) -> ContainerRef {
        ContainerRef::Container(self.container.clone())
    }

    fn file(&self) -> (String, Vec<u8>) {
        ("/hello".into(), b"hello\n".to_vec())
    }

    fn directory(&self) -> String {
        "/deep/in".into()
    }
}

async fn fresh_containers() -> Option<Fresh<Running>> {
    let bench = bench("the suite of containers").await?;
    let step = TestStep::new();
    let in_box = bench.start(&step, &bench.spec()).await;
    bench.says(&step, &in_box, "echo hello >/hello; mkdir -p /deep/in").await;
    let container = bench.container(&step).await;
    Some(Fresh::new(Arc::new(Running { bench, container })))
}

mod containers {
    use super::fresh_containers;
    kiln_conformance::containers_suite!(or_skip!(fresh_containers()));
}
