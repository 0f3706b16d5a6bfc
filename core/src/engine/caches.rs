//! Which caches are kept: those in use, and of the others the latest that there is room for.

use super::Engine;
use crate::{
    BuildId, CacheKey, Error, ErrorKind, Owner, RelPath, Result, Timestamp,
    port::{ArtifactKey, ByteStream},
    toolbox::Toolbox,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long after its last use a cache counts as one that is being read or written.
const IN_USE: Duration = Duration::from_secs(3600);
/// The artifact beside the archive that says when the cache was used.
const USE: &str = "used";
/// No note of a use is longer, in bytes.
const USE_MAX: usize = 4096;
/// The version of these notes.
const VERSION: u32 = 1;

/// How many caches are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// How long after its last use a cache is kept.
    pub unused_max: Duration,
    /// How many bytes all caches may have together; those that were not used for longest go first.
    pub bytes_max: u64,
}

impl Default for CacheLimits {
    /// 30 days and 10 GiB.
    fn default() -> Self {
        Self { unused_max: Duration::from_secs(30 * 86_400), bytes_max: 10 << 30 }
    }
}

/// A cache that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCache {
    /// Its id in the artifact store.
    pub id: BuildId,
    /// Whose it is and what it is called, where that was noted.
    pub named: Option<(Owner, CacheKey)>,
    /// How many bytes it has.
    pub bytes: u64,
    /// When a step last saved or restored it.
    pub used_at: Timestamp,
}

/// A use of a cache, as it is stored; see `docs/formats.md`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Used {
    version: u32,
    at: Timestamp,
    /// Whose cache it is, and its name: not known of one that was found without this note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    named: Option<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    owner: Owner,
    cache: CacheKey,
}

fn use_of(id: &BuildId) -> ArtifactKey {
    ArtifactKey { build: id.clone(), name: RelPath::new(USE).expect("a legal path") }
}

/// Notes that a cache is used now. A step that goes on without this note loses nothing by it.
pub(super) async fn note(tools: &Toolbox, owner: &Owner, cache: &CacheKey) {
    let id = cache.build(owner);
    let named = Some(Named { owner: owner.clone(), cache: cache.clone() });
    let used = Used { version: VERSION, at: tools.clock.now(), named };
    if let Err(e) = put(tools, &id, &used).await {
        tracing::warn!(cache = %id, error = ?e, "the use of a cache is not noted");
    }
}

async fn put(tools: &Toolbox, id: &BuildId, used: &Used) -> Result<()> {
    let text = serde_json::to_vec(used)
        .map_err(|e| Error::new(ErrorKind::Unexpected, "Engine::caches", e.to_string()))?;
    let body: ByteStream = stream::iter([Ok(Bytes::from(text))]).boxed();
    tools.artifacts.put(&use_of(id), body).await.map(drop)
}

/// The note of the last use of a cache; none if there is none, or none that can be read.
async fn used(tools: &Toolbox, id: &BuildId) -> Result<Option<Used>> {
    let mut body = match tools.artifacts.get(&use_of(id)).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        body => body?,
    };
    let mut text = Vec::new();
    while let Some(piece) = body.try_next().await? {
        if text.len() + piece.len() > USE_MAX {
            return Ok(None);
        }
        text.extend_from_slice(&piece);
    }
    // Whoever may write a cache may write anything here.
    let used = serde_json::from_slice::<Used>(&text).ok();
    Ok(used.filter(|u| {
        let named = u.named.as_ref();
        u.version == VERSION && named.is_none_or(|n| n.cache.build(&n.owner) == *id)
    }))
}

impl Engine {
    /// The caches that limits would leave out, the one first that was not used for longest. One that
    /// was used within the last hour may be in use still and is never among them, whatever the limits.
    ///
    /// Of a cache whose use nobody noted, or in the future, it is noted that it was used now.
    pub async fn surplus_caches(&self, limits: &CacheLimits) -> Result<Vec<KeptCache>> {
        let now = self.tools.clock.now();
        let mut caches = Vec::new();
        for id in self.tools.artifacts.caches().await? {
            match self.kept_cache(&id, now).await {
                Ok(cache) => caches.push(cache),
                Err(e) => tracing::warn!(cache = %id, error = ?e, "a cache cannot be judged"),
            }
        }
        Ok(surplus(caches, limits, now))
    }

    /// Forgets the caches that limits leave out, as [`surplus_caches`](Self::surplus_caches) says;
    /// returns those. What cannot be forgotten is tried at the next call.
    pub async fn prune_caches(&self, limits: &CacheLimits) -> Result<Vec<KeptCache>> {
        let mut forgotten = Vec::new();
        for cache in self.surplus_caches(limits).await? {
            // Somebody may have used it since.
            let done = match self.kept_cache(&cache.id, self.tools.clock.now()).await {
                Ok(now) if now.used_at > cache.used_at => continue,
                Ok(_) => self.tools.artifacts.forget(&cache.id).await,
                Err(e) => Err(e),
            };
            match done {
                Ok(()) => forgotten.push(cache),
                Err(e) => tracing::warn!(cache = %cache.id, error = ?e, "a cache is not forgotten"),
            }
        }
        Ok(forgotten)
    }

    /// A cache, and when it was used: now, where nobody noted it, or noted a time to come since a
    /// clock was wrong.
    async fn kept_cache(&self, id: &BuildId, now: Timestamp) -> Result<KeptCache> {
        let artifacts = self.tools.artifacts.list(id).await?;
        let bytes = artifacts.iter().fold(0_u64, |sum, a| sum.saturating_add(a.bytes));
        let noted = used(&self.tools, id).await?;
        let named = noted.as_ref().and_then(|u| u.named.clone());
        let used_at = match noted {
            Some(used) if used.at <= now.plus(IN_USE) => used.at,
            _ => {
                let used = Used { version: VERSION, at: now, named: named.clone() };
                put(&self.tools, id, &used).await?;
                now
            }
        };
        let named = named.map(|n| (n.owner, n.cache));
        Ok(KeptCache { id: id.clone(), named, bytes, used_at })
    }
}

/// The caches that go, the one first that was not used for longest.
fn surplus(mut caches: Vec<KeptCache>, limits: &CacheLimits, now: Timestamp) -> Vec<KeptCache> {
    caches.sort_by(|a, b| (a.used_at, &a.id).cmp(&(b.used_at, &b.id)));
    // Wider than any sum of them.
    let mut bytes: u128 = caches.iter().map(|c| u128::from(c.bytes)).sum();
    let mut gone = Vec::new();
    for cache in caches {
        let unused = now.since(cache.used_at);
        if unused >= IN_USE && (unused > limits.unused_max || bytes > limits.bytes_max.into()) {
            bytes -= u128::from(cache.bytes);
            gone.push(cache);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    /// Caches by name: how many hours ago each was used, and its bytes.
    fn gone(caches: &[(&str, u64, u64)], hours_max: u64, bytes_max: u64) -> String {
        let now = Timestamp(1_000 * HOUR);
        let cache = |&(name, hours, bytes): &(&str, u64, u64)| KeptCache {
            id: BuildId::new(name).unwrap(),
            named: None,
            bytes,
            used_at: Timestamp(now.0 - hours * HOUR),
        };
        let unused_max = Duration::from_secs(hours_max * 3600);
        let limits = CacheLimits { unused_max, bytes_max };
        let gone = surplus(caches.iter().map(cache).collect(), &limits, now);
        gone.iter().map(|c| c.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_oldest_go_first_and_what_is_in_use_never() {
        let caches = [("a", 0, 50), ("b", 9, 10), ("c", 5, 10), ("d", 20, 10)];
        assert_eq!(gone(&caches, 100, 80), "");
        assert_eq!(gone(&caches, 100, 79), "d");
        assert_eq!(gone(&caches, 100, 70), "d");
        assert_eq!(gone(&caches, 100, 69), "d b");
        assert_eq!(gone(&caches, 9, 80), "d");
        assert_eq!(gone(&caches, 8, 60), "d b");
        assert_eq!(gone(&caches, 0, 0), "d b c");
        assert_eq!(gone(&[("a", 2, u64::MAX), ("b", 1, u64::MAX)], 9, 0), "a b");
    }
}
