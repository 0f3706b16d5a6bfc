//! The index: one hash a build with its summary (JSON), and sorted sets of builds, those accepted
//! first in front: one of all, and one for each owner, phase, outcome and label.

use crate::{
    client::RedisDb,
    error::{json, unreadable},
    script,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Result, Timestamp,
    port::{BuildFilter, BuildSummary, Index, Page},
};

const OP: &str = "Index::list";
/// The set of all builds.
const ALL: &str = "all";
/// How many summaries are read together.
const SOME: usize = 256;
/// Up to how many builds whose ids begin alike are sorted here; more are looked for by time.
const ALIKE: usize = 2048;

/// The index of builds in Redis.
#[derive(Clone, Debug)]
pub struct RedisIndex {
    db: RedisDb,
}

/// The stored word of a serialisable word.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Where a build stands in every set: the sets sort by bytes, and an id is the rest.
fn place(at: Timestamp, build: &BuildId) -> String {
    format!("{:016x}{build}", at.0)
}

/// The set of a label. A key has no end of its own, so that its length comes first.
fn labelled(key: &str, value: &str) -> String {
    format!("label:{}:{key}={value}", key.len())
}

/// The sets that a build belongs to.
fn sets(s: &BuildSummary) -> impl Iterator<Item = String> {
    let outcome = s.outcome.as_ref().map(|o| format!("outcome:{}", o.word()));
    let named = [format!("owner:{}", s.owner), format!("phase:{}", word(&s.phase)), ALL.to_owned()];
    named.into_iter().chain(outcome).chain(s.labels.iter().map(|(k, v)| labelled(k, v)))
}

/// The sets in which all builds are that pass a filter, apart from the beginning of their ids.
fn wanted(filter: &BuildFilter) -> Vec<String> {
    let mut sets: Vec<_> = filter.labels.iter().map(|(k, v)| labelled(k, v)).collect();
    sets.extend(filter.owner.as_ref().map(|owner| format!("owner:{owner}")));
    sets.extend(filter.outcome.as_ref().map(|outcome| format!("outcome:{outcome}")));
    sets.extend(filter.phase.as_ref().map(|phase| format!("phase:{}", word(phase))));
    sets
}

/// Whether a build passes a filter. What a set says may be older than the summary.
fn passes(s: &BuildSummary, filter: &BuildFilter) -> bool {
    filter.id_prefix.as_ref().is_none_or(|p| s.build.as_str().starts_with(p.as_str()))
        && filter.owner.as_ref().is_none_or(|o| s.owner == *o)
        && filter.phase.as_ref().is_none_or(|p| s.phase == *p)
        && filter.outcome.as_ref().is_none_or(|o| s.outcome.as_ref().is_some_and(|s| s.word() == o))
        && filter.labels.iter().all(|(k, v)| s.labels.get(k) == Some(v))
}

impl RedisIndex {
    pub(crate) fn new(db: RedisDb) -> Self {
        Self { db }
    }

    fn key(&self, name: &str) -> String {
        self.db.key(&format!("index:{name}"))
    }

    /// The summaries of builds that are still there.
    async fn read(&self, builds: impl Iterator<Item = &str>) -> Result<Vec<BuildSummary>> {
        let mut call = self.db.call(&script::SUMMARIES);
        for build in builds {
            call.arg(build);
        }
        let texts: Vec<Option<String>> = self.db.link().run(OP, &call).await?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|e| unreadable(OP, "a summary cannot be read", e))
        };
        texts.into_iter().flatten().map(read).collect()
    }

    /// The smallest of the sets in which all builds of a filter are.
    async fn smallest(&self, filter: &BuildFilter) -> Result<String> {
        let mut sets = wanted(filter);
        if sets.len() < 2 {
            return Ok(sets.pop().unwrap_or_else(|| ALL.to_owned()));
        }
        let mut call = self.db.call(&script::SIZES);
        call.arg(&sets);
        let sizes: Vec<u64> = self.db.link().run(OP, &call).await?;
        let smallest = sets.into_iter().zip(sizes).min_by_key(|(_, size)| *size);
        Ok(smallest.map_or_else(|| ALL.to_owned(), |(set, _)| set))
    }

    /// Walks a set from where the page begins, latest first, until the page is full.
    async fn by_time(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        let set = self.key(&self.smallest(filter).await?);
        let narrow = filter.id_prefix.is_some() || wanted(filter).len() > 1;
        let mut found = Vec::new();
        let mut from = match &page.after {
            Some(after) => format!("({}", place(after.accepted_at, &after.build)),
            None => "+".to_owned(),
        };
        while found.len() < page.max {
            let some = if narrow { SOME } else { SOME.min(page.max - found.len()) };
            let mut range = redis::cmd("ZRANGE");
            range.arg(&set).arg(&from).arg("-").arg("BYLEX").arg("REV").arg("LIMIT");
            let places: Vec<String> = self.db.link().ask(OP, range.arg(0).arg(some)).await?;
            let Some(last) = places.last() else { break };
            from = format!("({last}");
            let builds = places.iter().filter_map(|place| place.get(16..));
            let summaries = self.read(builds).await?;
            found.extend(summaries.into_iter().filter(|s| passes(s, filter)));
        }
        found.truncate(page.max);
        Ok(found)
    }

    /// Sorts the builds whose ids begin with a text; nothing if they are too many.
    async fn by_id(
        &self,
        prefix: &str,
        filter: &BuildFilter,
        page: &Page,
    ) -> Result<Option<Vec<BuildSummary>>> {
        let mut range = redis::cmd("ZRANGE");
        // Ids are ASCII, so that this follows everything that begins with the prefix.
        range.arg(self.key("ids")).arg(format!("[{prefix}")).arg(format!("({prefix}\u{7f}"));
        range.arg("BYLEX").arg("LIMIT").arg(0).arg(ALIKE + 1);
        let ids: Vec<String> = self.db.link().ask(OP, &range).await?;
        if ids.len() > ALIKE {
            return Ok(None);
        }
        let mut found = Vec::new();
        for some in ids.chunks(SOME) {
            found.extend(self.read(some.iter().map(String::as_str)).await?);
        }
        let at = |s: &BuildSummary| (s.accepted_at, s.build.clone());
        found.retain(|s| passes(s, filter));
        if let Some(after) = &page.after {
            found.retain(|s| at(s) < (after.accepted_at, after.build.clone()));
        }
        found.sort_by_key(|s| std::cmp::Reverse(at(s)));
        found.truncate(page.max);
        Ok(Some(found))
    }
}

#[async_trait]
impl Index for RedisIndex {
    async fn put(&self, summary: &BuildSummary) -> Result<()> {
        const OP: &str = "Index::put";
        let mut call = self.db.call(&script::PUT);
        call.arg(summary.build.as_str())
            .arg(summary.seq.0)
            .arg(json(OP, summary)?)
            .arg(place(summary.accepted_at, &summary.build));
        call.arg(sets(summary).collect::<Vec<_>>());
        self.db.link().run(OP, &call).await
    }

    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        if let Some(prefix) = filter.id_prefix.as_ref().filter(|p| !p.is_empty())
            && let Some(found) = self.by_id(prefix, filter, page).await?
        {
            return Ok(found);
        }
        self.by_time(filter, page).await
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let mut call = self.db.call(&script::UNLIST);
        call.arg(build.as_str());
        self.db.link().run("Index::forget", &call).await
    }
}
