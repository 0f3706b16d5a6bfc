//! The engine: accepts builds, drives them, and tells of them.

mod accept;
mod ask;
mod attach;
mod build;
mod caches;
mod cancel;
mod drive;
mod keep;
mod perform;
mod resolve;
mod step;
mod work;

pub use accept::Submission;
pub use build::EngineBuilder;
pub use caches::{CacheLimits, KeptCache};
pub use work::Worker;

use crate::{
    BuildId, BuildState, Error, ErrorKind, Event, Outcome, Plan, Recorded, Result, Seq,
    port::{BuildFilter, BuildSummary, Entry, LogRecord, Offset, Page},
    state::Phase,
    toolbox::Toolbox,
    view::BuildView,
};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use std::{sync::Arc, time::Duration};

/// Accepts builds, drives them, and tells of them. Clones share everything; it holds no state of
/// its own, so any number of engines may work on one store.
#[derive(Clone, Debug)]
pub struct Engine {
    tools: Arc<Toolbox>,
    policy: Policy,
}

/// What an engine does its own way.
#[derive(Clone, Debug)]
struct Policy {
    slots: usize,
    local_paths: bool,
    grace: Duration,
    outage_max: Duration,
}

impl Engine {
    /// Starts an engine whose every port is the memory adapter until another is given.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// The adapters of this engine.
    pub fn tools(&self) -> &Toolbox {
        &self.tools
    }

    /// Accepts a plan of the local owner and drives it to its end.
    pub async fn run(&self, plan: Plan) -> Result<(BuildId, Outcome)> {
        let build = self.accept(Submission::new(plan)).await?;
        let outcome = self.drive(&build).await?;
        Ok((build, outcome))
    }

    /// Takes a build over and drives it to its end; a finished one is only cleaned up.
    ///
    /// Safe to call again after a crash, and by two at once: the one who came later goes on, and
    /// the other ends with `Conflict`. Everything it needs runs inside this future: nothing is
    /// spawned, and dropping it is a crash that another `drive` recovers from.
    pub async fn drive(&self, build: &BuildId) -> Result<Outcome> {
        drive::drive(self, build).await
    }

    /// The state of a build; `NotFound` if there is none of that id.
    pub async fn state(&self, build: &BuildId) -> Result<BuildState> {
        self.load(build).await.map(|(state, _)| state)
    }

    /// What there is to tell of a build.
    pub async fn view(&self, build: &BuildId) -> Result<BuildView> {
        BuildView::of(build, &self.tools.store.load(build, Seq::START).await?)
    }

    async fn load(&self, build: &BuildId) -> Result<(BuildState, Seq)> {
        let journal = self.tools.store.load(build, Seq::START).await?;
        let end = journal.last().map_or(Seq::START, |r| r.seq);
        let state = BuildState::replay(journal.iter().map(|r| &r.event)).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "Engine::load", e.to_string()).with("build", build)
        })?;
        Ok((state, end))
    }

    /// The events of a build after a place, and on as they come, to its end.
    pub fn events(&self, build: &BuildId, after: Seq) -> BoxStream<'static, Result<Recorded>> {
        let (tools, build) = (self.tools.clone(), build.clone());
        let step = move |after: Option<Seq>| {
            let (tools, build) = (tools.clone(), build.clone());
            async move {
                let after = after?;
                let page = async {
                    let now = tools.store.load(&build, after).await?;
                    if !now.is_empty() {
                        return Ok(now);
                    }
                    tools.store.wait(&build, after, Duration::from_secs(60)).await?;
                    tools.store.load(&build, after).await
                };
                Some(match page.await {
                    Ok(events) => {
                        let last = events.last();
                        let over = last.is_some_and(|r| matches!(r.event, Event::Finished { .. }));
                        let next = (!over).then(|| last.map_or(after, |r| r.seq));
                        (events.into_iter().map(Ok).collect::<Vec<_>>(), next)
                    }
                    Err(e) => (vec![Err(e)], None),
                })
            }
        };
        stream::unfold(Some(after), step).flat_map(stream::iter).boxed()
    }

    /// The log of a build from an offset on, and on as it comes, until it is closed.
    pub fn log(&self, build: &BuildId, from: Offset) -> BoxStream<'static, Result<LogRecord>> {
        let (reader, build) = (self.tools.log_reader.clone(), build.clone());
        stream::once(async move {
            let follow =
                stream::unfold((reader, build, Some(from)), |(reader, build, at)| async move {
                    let at = at?;
                    let page = reader.read(&build, at, 1 << 20, Duration::from_secs(30)).await;
                    let (items, next) = match page {
                        Ok(p) => {
                            let more = !(p.closed && p.records.is_empty());
                            (p.records.into_iter().map(Ok).collect(), more.then_some(p.next))
                        }
                        Err(e) => (vec![Err(e)], None),
                    };
                    Some((stream::iter(items), (reader, build, next)))
                });
            Ok::<_, Error>(follow.flatten())
        })
        .try_flatten()
        .boxed()
    }

    /// Builds that pass a filter, latest first.
    pub async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        self.tools.index.list(filter, page).await
    }

    /// Builds that are not finished.
    pub async fn unfinished(&self) -> Result<Vec<BuildId>> {
        self.tools.store.unfinished().await
    }

    /// Cleans up after finished builds whose driver died before it could; returns which.
    ///
    /// A build whose workspace is left is one that was not cleaned up.
    pub async fn tidy(&self) -> Result<Vec<BuildId>> {
        let mut done = Vec::new();
        for build in self.tools.workspaces.list().await? {
            let state = match self.state(&build).await {
                Ok(state) if state.phase() != Phase::Finished => continue,
                Ok(state) => Some(state),
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
            drive::clean_up(&self.tools, &build, state.as_ref()).await?;
            done.push(build);
        }
        Ok(done)
    }

    /// Forgets a build: its journal, log and artifacts. `Conflict` if it is not finished.
    pub async fn forget(&self, build: &BuildId) -> Result<()> {
        match self.state(build).await {
            Ok(state) if state.phase() != Phase::Finished => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "Engine::forget",
                    "the build is not finished",
                )
                .with("build", build)
                .hint("Cancel it first."));
            }
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        self.tools.artifacts.forget(build).await?;
        self.tools.log_sink.forget(build).await?;
        self.tools.index.forget(build).await?;
        self.tools.store.forget(build).await
    }
}

/// Applies events with all that follows from them, and makes them ready to be written.
fn with_consequences(
    state: &mut BuildState,
    mut events: Vec<Event>,
    engine: &Engine,
) -> Result<Vec<Entry>> {
    let illegal = |e: crate::state::IllegalEvent| {
        Error::new(ErrorKind::Unexpected, "Engine::record", e.to_string())
    };
    for event in &events {
        state.apply(event).map_err(illegal)?;
    }
    for event in state.advance(engine.policy.slots) {
        state.apply(&event).map_err(illegal)?;
        events.push(event);
    }
    let at = engine.tools.clock.now();
    Ok(events.into_iter().map(|event| Entry { at, event }).collect())
}
