use super::lock;
use crate::{
    BuildId, Outcome, Result,
    port::{BuildFilter, BuildSummary, Index, Page},
};
use async_trait::async_trait;
use std::{cmp::Reverse, collections::BTreeMap, sync::Mutex};

/// Lists of builds in memory. Gone with the process.
#[derive(Debug, Default)]
pub struct MemoryIndex(Mutex<BTreeMap<BuildId, BuildSummary>>);

fn passes(filter: &BuildFilter, build: &BuildSummary) -> bool {
    let word = build.outcome.as_ref().map(Outcome::word);
    filter.id_prefix.as_ref().is_none_or(|p| build.build.as_str().starts_with(p.as_str()))
        && filter.owner.as_ref().is_none_or(|o| *o == build.owner)
        && filter.phase.is_none_or(|p| p == build.phase)
        && filter.outcome.as_ref().is_none_or(|o| Some(o.as_str()) == word)
        && filter.labels.iter().all(|(k, v)| build.labels.get(k) == Some(v))
}

#[async_trait]
impl Index for MemoryIndex {
    async fn put(&self, summary: &BuildSummary) -> Result<()> {
        let mut builds = lock(&self.0);
        if builds.get(&summary.build).is_none_or(|old| old.seq <= summary.seq) {
            builds.insert(summary.build.clone(), summary.clone());
        }
        Ok(())
    }

    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        let after = page.after.as_ref().map(|t| Reverse((t.accepted_at, t.build.clone())));
        let place = |b: &BuildSummary| Reverse((b.accepted_at, b.build.clone()));
        let builds = lock(&self.0);
        let mut found: Vec<_> = builds
            .values()
            .filter(|b| passes(filter, b) && after.as_ref().is_none_or(|a| place(b) > *a))
            .cloned()
            .collect();
        drop(builds);
        found.sort_by_key(place);
        found.truncate(page.max);
        Ok(found)
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        lock(&self.0).remove(build);
        Ok(())
    }
}
