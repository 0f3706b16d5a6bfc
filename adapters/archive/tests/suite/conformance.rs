//! Every promise of a source, kept for uploads and for URLs.

use super::{Pack, files, open, server::Server, source, upload};
use async_trait::async_trait;
use futures::FutureExt;
use kiln::{
    Result, Revision, SourceSpec, StepCx,
    memory::MemoryArtifacts,
    port::{ArtifactKey, ArtifactStore, Source},
};
use kiln_archive::ArchiveSource;
use kiln_conformance::{Fresh, source::Upstream, source_suite};
use std::{path::Path, sync::Arc};

fn pack(text: &str) -> Vec<u8> {
    Pack::new().dir("d/", 0o755).file("d/f", text).link("l", "d/f").done()
}

/// A source and where its archives come from.
#[derive(Debug)]
struct With<U>(ArchiveSource, U);

macro_rules! forward {
    ($of:ty) => {
        #[async_trait]
        impl Source for With<$of> {
            fn accepts(&self, spec: &SourceSpec) -> bool {
                self.0.accepts(spec)
            }

            async fn resolve(&self, cx: &StepCx, spec: &SourceSpec) -> Result<Revision> {
                self.0.resolve(cx, spec).await
            }

            async fn fetch(
                &self,
                cx: &StepCx,
                spec: &SourceSpec,
                revision: &Revision,
                into: &Path,
            ) -> Result<()> {
                self.0.fetch(cx, spec, revision, into).await
            }
        }
    };
}

fn strange() -> SourceSpec {
    SourceSpec::new("https://example.test/x.git")
}

/// What is kept in memory is never waited for.
fn at_once(work: impl Future<Output = ()>) {
    work.now_or_never().unwrap();
}

fn fetched(into: &Path) -> Option<String> {
    into.exists().then(|| format!("{:?}", files(into)))
}

mod uploads {
    use super::*;

    forward!(Arc<MemoryArtifacts>);

    impl Upstream for With<Arc<MemoryArtifacts>> {
        fn there(&self) -> SourceSpec {
            let build = kiln::BuildId::new(crate::UPLOAD).unwrap();
            at_once(async {
                if self.1.list(&build).await.unwrap().is_empty() {
                    upload(&*self.1, "context.tar", pack("one")).await;
                }
            });
            SourceSpec::new(format!("upload:{build}"))
        }

        fn not_there(&self) -> SourceSpec {
            SourceSpec::new("upload:upload-0-1-2")
        }

        fn strange(&self) -> SourceSpec {
            strange()
        }

        /// Another archive takes its place, and the first one stays under another name.
        fn moves(&self) {
            at_once(async {
                upload(&*self.1, "before.tar", pack("one")).await;
                upload(&*self.1, "context.tar", pack("two")).await;
            });
        }

        fn fetched(&self, into: &Path) -> Option<String> {
            fetched(into)
        }
    }

    source_suite!({
        let (artifacts, source) = source(open());
        Fresh::new(Arc::new(With(source, artifacts)))
    });
}

mod urls {
    use super::*;

    forward!(Server);

    impl Upstream for With<Server> {
        fn there(&self) -> SourceSpec {
            SourceSpec::new(self.1.url("/x.tar"))
        }

        fn not_there(&self) -> SourceSpec {
            SourceSpec::new(self.1.url("/none.tar"))
        }

        fn strange(&self) -> SourceSpec {
            strange()
        }

        fn moves(&self) {
            self.1.serve("/x.tar", pack("two"));
        }

        fn fetched(&self, into: &Path) -> Option<String> {
            fetched(into)
        }
    }

    source_suite!({
        let server = Server::start();
        server.serve("/x.tar", pack("one"));
        Fresh::new(Arc::new(With(source(open()).1, server)))
    });
}

#[test]
fn what_was_kept_and_is_damaged_since_is_not_unpacked() {
    super::run("what_was_kept_and_is_damaged_since", async {
        let (artifacts, source) = source(open());
        let spec = upload(&*artifacts, "context.tar", pack("one")).await;
        let step = kiln_conformance::step::TestStep::new();
        let into = tempfile::tempdir().unwrap();
        // A store that gives other bytes than it says.
        let lying = Arc::new(Lying(artifacts));
        let liar = ArchiveSource::new(lying, open());
        let revision = source.resolve(&step, &spec).await.unwrap();
        let e = liar.fetch(&step, &spec, &revision, &into.path().join("a")).await.unwrap_err();
        assert_eq!(e.kind(), kiln::ErrorKind::Corrupt, "{e:?}");
        assert_eq!(std::fs::read_dir(into.path()).unwrap().count(), 0);
    });
}

#[derive(Debug)]
struct Lying(Arc<MemoryArtifacts>);

#[async_trait]
impl ArtifactStore for Lying {
    async fn put(&self, key: &ArtifactKey, body: kiln::port::ByteStream) -> Result<kiln::Artifact> {
        self.0.put(key, body).await
    }

    async fn get(&self, _: &ArtifactKey) -> Result<kiln::port::ByteStream> {
        Ok(Box::pin(futures::stream::iter([Ok(pack("two").into())])))
    }

    async fn list(&self, build: &kiln::BuildId) -> Result<Vec<kiln::Artifact>> {
        self.0.list(build).await
    }

    async fn forget(&self, build: &kiln::BuildId) -> Result<()> {
        self.0.forget(build).await
    }

    async fn caches(&self) -> Result<Vec<kiln::BuildId>> {
        self.0.caches().await
    }
}
