//! Which builds and caches are forgotten, and when.

mod judge;
mod room;

pub(crate) use room::Room;

use crate::config::Config;
use judge::{Judge, Kept};
use kiln::{
    BuildId, Engine, KeptCache, Phase, Result,
    port::{BuildFilter, BuildSummary, Page, PageToken},
};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// How many builds are looked at together.
const PAGE: usize = 500;
/// How often caches are looked at, at most: each costs a few requests.
const CACHES_EVERY: Duration = Duration::from_secs(600);

/// Looks again and again, and forgets what is no longer to be kept.
pub(crate) async fn keep(config: Config, engine: Engine, room: Room) {
    let mut sizes = BTreeMap::new();
    loop {
        match look(&config, &engine, &room, &mut sizes).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "builds that were kept long enough"),
            Err(e) => tracing::warn!(error = ?e, "old builds are looked for again"),
        }
        tokio::time::sleep(Duration::from_secs(config.retention.every_seconds.0)).await;
    }
}

/// Looks again and again, and forgets caches that nobody uses or that there is no room for.
pub(crate) async fn keep_caches(config: Config, engine: Engine) {
    let limits = config.retention.caches.limits();
    let every = Duration::from_secs(config.retention.every_seconds.0).max(CACHES_EVERY);
    loop {
        match engine.prune_caches(&limits).await {
            Ok(caches) => {
                for KeptCache { id, named, bytes, .. } in caches {
                    let owner = named.map(|(owner, _)| owner.to_string()).unwrap_or_default();
                    tracing::info!(target: "kiln::audit", cache = %id, owner, bytes, "forgotten");
                }
            }
            Err(e) => tracing::warn!(error = ?e, "old caches are looked for again"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Forgets what the limits say; says how many builds that were.
async fn look(
    config: &Config,
    engine: &Engine,
    room: &Room,
    sizes: &mut BTreeMap<BuildId, u64>,
) -> Result<usize> {
    let mut judge = Judge::new(&config.retention, engine.tools().clock.now());
    let (mut forgotten, mut known) = (0, BTreeMap::new());
    // The latest first, so that what is over a limit is the oldest.
    let mut after = None;
    let mut oldest = Vec::new();
    loop {
        let filter = BuildFilter { phase: Some(Phase::Finished), ..BuildFilter::default() };
        let page = Page { max: PAGE, after };
        let builds = engine.list(&filter, &page).await?;
        for build in &builds {
            let bytes = match (judge.counts_bytes(), sizes.get(&build.build)) {
                (false, _) => 0,
                (true, Some(bytes)) => *bytes,
                (true, None) => size(engine, build).await?,
            };
            match judge.of(build, bytes) {
                Kept::Yes => {
                    known.insert(build.build.clone(), bytes);
                    oldest.push(build.build.clone());
                }
                Kept::No(why) => {
                    tracing::info!(target: "kiln::audit", build = %build.build, why, "forgotten");
                    engine.forget(&build.build).await?;
                    forgotten += 1;
                }
            }
        }
        after = builds.last().map(PageToken::after);
        if builds.len() < PAGE {
            break;
        }
    }
    *sizes = known;
    forgotten += make_room(config, engine, room, oldest).await?;
    Ok(forgotten)
}

/// What a finished build takes: its output and its artifacts.
async fn size(engine: &Engine, build: &BuildSummary) -> Result<u64> {
    let tools = engine.tools();
    let log = tools.log_sink.end(&build.build).await?.0;
    let artifacts = tools.artifacts.list(&build.build).await?;
    Ok(log + artifacts.iter().map(|a| a.bytes).sum::<u64>())
}

/// Forgets the oldest builds until the data directory is small enough; says so to the room if
/// that is not enough.
async fn make_room(
    config: &Config,
    engine: &Engine,
    room: &Room,
    mut oldest: Vec<BuildId>,
) -> Result<usize> {
    let Some(max) = config.retention.disk_bytes else { return Ok(0) };
    // Some space is left for what comes until the next look.
    let wanted = max - max / 10;
    let mut forgotten = 0;
    loop {
        let used = used(&config.data).await;
        if used <= wanted || oldest.is_empty() {
            room.set(used < max);
            if used >= max {
                tracing::error!(used, max, "no room is left, and no finished build to forget");
            }
            return Ok(forgotten);
        }
        // A few at a time: to measure costs more than to forget.
        let some = oldest.len().saturating_sub(oldest.len().div_ceil(20).max(4));
        for build in oldest.split_off(some).into_iter().rev() {
            let why = "no room";
            tracing::info!(target: "kiln::audit", build = %build, why, "forgotten");
            engine.forget(&build).await?;
            forgotten += 1;
        }
    }
}

/// The bytes of all files below a directory, as the disk counts them. What goes away meanwhile
/// does not count.
async fn used(path: &Path) -> u64 {
    let path = path.to_owned();
    let walk = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut todo) = (0, vec![path]);
        while let Some(directory) = todo.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    todo.push(entry.path());
                } else {
                    bytes += std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
                }
            }
        }
        bytes
    });
    // A walk that panicked measured nothing; the next look measures again.
    walk.await.unwrap_or(0)
}
