//! Builds that nobody would drive: interrupted ones, and those that were accepted and, since their
//! server died in between, never queued.

use kiln::{
    BuildId, CancelToken, Engine, Phase, Result,
    port::{Job, Queue},
};
use std::{collections::BTreeSet, time::Duration};

/// How often it is looked for builds that another server left behind.
const EVERY: Duration = Duration::from_secs(120);

/// Gives every build that is not finished its turn, again and again: one that has it keeps it.
pub(crate) async fn keep(engine: Engine, queue: std::sync::Arc<dyn Queue>, stop: CancelToken) {
    let mut before = BTreeSet::new();
    let mut first = true;
    loop {
        match look(&engine, &*queue, &before, first).await {
            Ok(now) => {
                before = now;
                first = false;
            }
            Err(e) => tracing::warn!(error = ?e, "unfinished builds are looked for again"),
        }
        let pause = if first { Duration::from_secs(2) } else { EVERY };
        tokio::select! {
            _ = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Pushes what was unfinished at the look before too: what is new has its server to push it.
async fn look(
    engine: &Engine,
    queue: &dyn Queue,
    before: &BTreeSet<BuildId>,
    all: bool,
) -> Result<BTreeSet<BuildId>> {
    let unfinished: BTreeSet<_> = engine.unfinished().await?.into_iter().collect();
    for build in unfinished.iter().filter(|b| all || before.contains(*b)) {
        let state = match engine.state(build).await {
            Ok(state) if state.phase() != Phase::Finished => state,
            Ok(_) => continue,
            Err(e) => {
                // One that cannot be read must not stand in the way of the others.
                tracing::warn!(%build, error = ?e, "left as it is");
                continue;
            }
        };
        let placement = state.placement();
        let job = Job { placement, ..Job::new(build.clone(), state.owner().clone()) };
        queue.push(job).await?;
    }
    Ok(unfinished)
}
