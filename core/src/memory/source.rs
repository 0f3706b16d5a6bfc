use super::{lock, sha256};
use crate::{Error, ErrorKind, Result, Revision, SourceSpec, StepCx, port::Source};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Sources whose URLs begin with `memory:`. What it fetches it only remembers: nothing is written
/// to the disk.
///
/// A source has the references that were set; the first one is its default. Where a reference
/// pointed before can still be fetched.
#[derive(Debug, Default)]
pub struct MemorySource(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sources: BTreeMap<String, Upstream>,
    fetched: BTreeMap<PathBuf, Revision>,
}

#[derive(Debug)]
struct Upstream {
    default: String,
    /// Every revision that a reference ever had, the latest last.
    revisions: Vec<Revision>,
}

impl MemorySource {
    /// Sets where a reference of a source points, and returns the revision it has from then on.
    pub fn set(&self, url: &str, reference: &str, content: &str) -> Revision {
        let id = sha256(content.as_bytes()).encoded()[..40].to_owned();
        let revision = Revision { id, reference: Some(reference.to_owned()) };
        let new = || Upstream { default: reference.to_owned(), revisions: Vec::new() };
        let mut state = lock(&self.0);
        let upstream = state.sources.entry(url.to_owned()).or_insert_with(new);
        upstream.revisions.retain(|r| *r != revision);
        upstream.revisions.push(revision.clone());
        revision
    }

    /// Whether there is a source of this URL.
    pub fn has(&self, url: &str) -> bool {
        lock(&self.0).sources.contains_key(url)
    }

    /// What was fetched into a directory last.
    pub fn fetched(&self, into: &Path) -> Option<Revision> {
        lock(&self.0).fetched.get(into).cloned()
    }
}

impl State {
    fn find(&self, spec: &SourceSpec, wanted: Option<&str>, op: &'static str) -> Result<Revision> {
        let find = |upstream: &Upstream| {
            let wanted = wanted.unwrap_or(&upstream.default);
            let is = |r: &&Revision| r.id == wanted || r.reference.as_deref() == Some(wanted);
            upstream.revisions.iter().rfind(is).cloned()
        };
        self.sources.get(&spec.url).and_then(find).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, op, "there is no such source or reference")
                .with("url", &spec.url)
                .with("reference", wanted.unwrap_or("the default"))
        })
    }
}

#[async_trait]
impl Source for MemorySource {
    fn accepts(&self, spec: &SourceSpec) -> bool {
        spec.url.starts_with("memory:")
    }

    async fn resolve(&self, cx: &StepCx, spec: &SourceSpec) -> Result<Revision> {
        const OP: &str = "Source::resolve";
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        lock(&self.0).find(spec, spec.reference.as_deref(), OP)
    }

    async fn fetch(
        &self,
        cx: &StepCx,
        spec: &SourceSpec,
        revision: &Revision,
        into: &Path,
    ) -> Result<()> {
        const OP: &str = "Source::fetch";
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        let mut state = lock(&self.0);
        state.find(spec, Some(&revision.id), OP)?;
        state.fetched.insert(into.to_owned(), revision.clone());
        drop(state);
        cx.log.line(format!("fetched {} at {}", spec.url, revision.id));
        Ok(())
    }
}
