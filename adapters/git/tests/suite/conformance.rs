use super::{open, repo::Repo};
use async_trait::async_trait;
use kiln::{Result, Revision, SourceSpec, StepCx, port::Source};
use kiln_conformance::{Fresh, source::Upstream, source_suite};
use kiln_git::GitSource;
use std::path::Path;

/// A source and the repository it fetches.
#[derive(Debug)]
struct WithRepo(GitSource, Repo);

#[async_trait]
impl Source for WithRepo {
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

impl Upstream for WithRepo {
    fn there(&self) -> SourceSpec {
        SourceSpec::new(self.1.url())
    }

    fn not_there(&self) -> SourceSpec {
        SourceSpec::new("/no/such/repository")
    }

    fn strange(&self) -> SourceSpec {
        SourceSpec::new("memory:x")
    }

    fn moves(&self) {
        self.1.write("moved", "on").commit("moved on");
    }

    fn fetched(&self, into: &Path) -> Option<String> {
        into.exists().then(|| format!("{:?}", super::files(into)))
    }
}

source_suite!(Fresh::new(std::sync::Arc::new(WithRepo(GitSource::new(open()), Repo::small()))));
