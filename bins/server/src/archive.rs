//! Logs of builds that are over move to where artifacts are.

use kiln::{
    Engine, ErrorKind, Phase, Result,
    archive::ArchivedLogs,
    port::{BuildFilter, LogSink, Offset, Page, PageToken},
};
use std::{sync::Arc, time::Duration};

/// How often it is looked for logs to move.
const EVERY: Duration = Duration::from_secs(30);
/// How many builds are looked at together.
const PAGE: usize = 200;
/// After how many pages without a log to move those behind are taken to have moved: of the first
/// look after the start, and of the others.
const PAGES: (usize, usize) = (50, 2);

/// Moves logs for as long as it is polled.
pub(crate) async fn keep(engine: Engine, hot: Arc<dyn LogSink>, logs: Arc<ArchivedLogs>) {
    let mut patience = PAGES.0;
    loop {
        match look(&engine, &*hot, &logs, patience).await {
            Ok(moved) if moved > 0 => tracing::info!(moved, "logs are in the archive"),
            Ok(_) => patience = PAGES.1,
            Err(e) => tracing::warn!(error = ?e, "logs are moved later"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn look(
    engine: &Engine,
    hot: &dyn LogSink,
    logs: &ArchivedLogs,
    patience: usize,
) -> Result<usize> {
    let (mut moved, mut idle, mut after) = (0, 0, None);
    loop {
        let filter = BuildFilter { phase: Some(Phase::Finished), ..BuildFilter::default() };
        let builds = engine.list(&filter, &Page { max: PAGE, after }).await?;
        let before = moved;
        for build in &builds {
            if hot.end(&build.build).await? == Offset(0) {
                continue;
            }
            match logs.archive(&build.build).await {
                Ok(()) => moved += 1,
                // It is open for a moment after the end of its build.
                Err(e) if e.kind() == ErrorKind::Conflict => {
                    tracing::debug!(build = %build.build, error = ?e, "a log stays for now");
                }
                Err(e) => return Err(e.with("build", &build.build)),
            }
        }
        idle = if moved == before { idle + 1 } else { 0 };
        after = builds.last().map(PageToken::after);
        if builds.len() < PAGE || idle >= patience {
            return Ok(moved);
        }
    }
}
