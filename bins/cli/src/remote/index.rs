//! Lists of the builds that a server has.

use super::Client;
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Result,
    port::{BuildFilter, BuildSummary, Index, Page},
};
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};

/// How many builds are asked for at once.
const PAGE_MAX: usize = 500;

/// Lists builds. Where a list goes on only the server can say, so its words for that are kept with
/// the build that came last.
#[derive(Debug)]
pub(crate) struct ServerIndex {
    client: Client,
    next: Mutex<Option<(BuildId, Option<String>)>>,
}

#[derive(Deserialize)]
struct Listed {
    builds: Vec<BuildSummary>,
    #[serde(default)]
    next: Option<String>,
}

impl ServerIndex {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, next: Mutex::default() }
    }

    fn next(&self) -> std::sync::MutexGuard<'_, Option<(BuildId, Option<String>)>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, filter: &BuildFilter, max: usize, cursor: Option<&str>) -> Result<Listed> {
        let limit = max.clamp(1, PAGE_MAX).to_string();
        // The server looks for one label; the others are looked at here.
        let label = filter.labels.iter().next().map(|(key, value)| format!("{key}={value}"));
        let phase = filter.phase.map(serde_json::to_value).and_then(|word| word.ok());
        let query = [
            ("limit", Some(limit.as_str())),
            ("prefix", filter.id_prefix.as_deref()),
            ("owner", filter.owner.as_ref().map(|owner| owner.as_str())),
            ("phase", phase.as_ref().and_then(|word| word.as_str())),
            ("outcome", filter.outcome.as_deref()),
            ("label", label.as_deref()),
            ("cursor", cursor),
        ];
        let query: Vec<_> = query.into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
        self.client.get("Index::list", &["builds"], &query).await
    }
}

#[async_trait]
impl Index for ServerIndex {
    async fn put(&self, _: &BuildSummary) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "Index::put", "a server lists its builds itself"))
    }

    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        let wanted = |build: &BuildSummary| {
            filter.labels.iter().all(|(key, value)| build.labels.get(key) == Some(value))
        };
        let mut cursor = match &page.after {
            None => None,
            Some(after) => match &*self.next() {
                Some((last, Some(cursor))) if *last == after.build => Some(cursor.clone()),
                Some((last, None)) if *last == after.build => return Ok(Vec::new()),
                _ => {
                    let message = "a list of a server goes on only from where it was";
                    return Err(Error::new(ErrorKind::Invalid, "Index::list", message));
                }
            },
        };
        let mut all = Vec::new();
        loop {
            let listed = self.ask(filter, page.max - all.len(), cursor.as_deref()).await?;
            all.extend(listed.builds.into_iter().filter(wanted));
            cursor = listed.next;
            if all.len() >= page.max || cursor.is_none() {
                break;
            }
        }
        if let Some(last) = all.last() {
            *self.next() = Some((last.build.clone(), cursor));
        }
        Ok(all)
    }

    async fn forget(&self, _: &BuildId) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "Index::forget", "a server forgets by itself"))
    }
}
