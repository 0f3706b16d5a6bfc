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
/// A source has the references that were added; the first one is its default.
#[derive(Debug, Default)]
pub struct MemorySource(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sources: BTreeMap<String, Vec<Revision>>,
    fetched: BTreeMap<PathBuf, Revision>,
}

impl MemorySource {
    /// Sets where a reference of a source points, and returns the revision it has from then on.
    pub fn set(&self, url: &str, reference: &str, content: &str) -> Revision {
        let id = sha256(content.as_bytes()).encoded()[..40].to_owned();
        let revision = Revision { id, reference: Some(reference.to_owned()) };
        let mut state = lock(&self.0);
        let references = state.sources.entry(url.to_owned()).or_default();
        match references.iter_mut().find(|r| r.reference == revision.reference) {
            Some(old) => *old = revision.clone(),
            None => references.push(revision.clone()),
        }
        revision
    }

    /// What was fetched into a directory last.
    pub fn fetched(&self, into: &Path) -> Option<Revision> {
        lock(&self.0).fetched.get(into).cloned()
    }
}

impl State {
    fn find(&self, spec: &SourceSpec, wanted: Option<&str>, op: &'static str) -> Result<Revision> {
        let is =
            |r: &&Revision| wanted.is_none_or(|w| r.id == w || r.reference.as_deref() == Some(w));
        self.sources.get(&spec.url).and_then(|all| all.iter().find(is)).cloned().ok_or_else(|| {
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
