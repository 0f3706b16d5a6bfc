//! The engine: accepts builds, drives them, and tells of them.

mod attach;
mod build;
mod drive;
mod perform;
mod step;
mod work;

pub use build::EngineBuilder;
pub use work::Worker;

use crate::{
    BuildId, BuildState, CancelCause, Error, ErrorKind, Event, Outcome, Owner, Plan, Recorded,
    Result, Seq,
    port::{BuildFilter, BuildSummary, Entry, LogRecord, Offset, Page},
    state::{Command, Phase, Refusal},
    toolbox::Toolbox,
    view::BuildView,
};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

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

/// A build to be accepted.
#[derive(Clone, Debug)]
pub struct Submission {
    plan: Plan,
    id: Option<BuildId>,
    owner: Owner,
    labels: BTreeMap<String, String>,
}

impl Submission {
    /// A plan, of the local owner, under an id yet to be made.
    pub fn new(plan: Plan) -> Self {
        Self { plan, id: None, owner: Owner::local(), labels: BTreeMap::new() }
    }

    /// Chooses the id, so that submitting twice makes one build.
    #[must_use]
    pub fn id(mut self, id: BuildId) -> Self {
        self.id = Some(id);
        self
    }

    /// Says whose it is.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Adds a label, for lists to filter by.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
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

    /// Accepts a build. From here on it survives a crash of this process, if the store does.
    ///
    /// `AlreadyExists` if there is a build of that id; `Denied` if the plan names paths of the
    /// host and this engine does not allow it.
    pub async fn accept(&self, submission: Submission) -> Result<BuildId> {
        let Submission { plan, id, owner, labels } = submission;
        if plan.uses_local_paths() && !self.policy.local_paths {
            return Err(Error::new(
                ErrorKind::Denied,
                "Engine::accept",
                "the plan names a path of the host, and this engine does not allow that",
            ));
        }
        let id = id.unwrap_or_else(BuildId::random);
        let at = self.tools.clock.now();
        let event = Event::Accepted { plan, owner, labels };
        let first = Recorded { seq: Seq(1), at, event: event.clone() };
        let stored = self.tools.store.append(&id, Seq::START, &[Entry { at, event }]).await;
        stored.map_err(|e| match e.kind() {
            ErrorKind::Conflict => {
                Error::new(ErrorKind::AlreadyExists, "Engine::accept", "the build exists already")
                    .with("build", &id)
            }
            _ => e,
        })?;
        let view = BuildView::of(&id, &[first])?;
        if let Err(e) = self.tools.index.put(&view.summary).await {
            tracing::warn!(build = %id, error = ?e, "the index could not be told");
        }
        Ok(id)
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

    /// Asks a build to stop, whoever drives it. Its after-steps still run unless `force` is set.
    ///
    /// Asking twice is fine; `Conflict` if it is finished.
    pub async fn cancel(&self, build: &BuildId, reason: &str, force: bool) -> Result<()> {
        loop {
            let (mut state, seq) = self.load(build).await?;
            let cause = CancelCause::Request;
            let command = Command::Cancel { cause, reason: reason.into(), force };
            let events = state.decide(command).map_err(|refusal| refused(build, &refusal))?;
            if events.is_empty() {
                return Ok(());
            }
            let entries = with_consequences(&mut state, events, self)?;
            match self.tools.store.append(build, seq, &entries).await {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                other => return other.map(drop),
            }
        }
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

fn refused(build: &BuildId, refusal: &Refusal) -> Error {
    Error::new(ErrorKind::Conflict, "Engine", refusal.to_string()).with("build", build)
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
