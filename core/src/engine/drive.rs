//! The driver: journal first, then perform; every cause with all its consequences in one append.

mod quiet;
mod record;

use super::{
    Engine,
    attach::{conceal_given, skip_logged},
    perform::failure,
    step::{Over, PinWanted, Running},
};
use crate::{
    Attempts, BuildId, BuildState, CancelCause, DriverId, Error, ErrorKind, Event, Failure,
    LogWriter, Op, Outcome, Output, Recorded, Result, Seq, StepId, StepKey, StopReason,
    layer::{Layered, Retry},
    port::{Runtime, StepEnd},
    redact::Redactor,
    state::{Command, Phase},
    toolbox::Toolbox,
};
use futures::{
    FutureExt, StreamExt,
    channel::mpsc,
    future::{BoxFuture, Either, select},
    stream::FuturesUnordered,
};
use std::{collections::BTreeMap, convert::Infallible, path::PathBuf, time::Duration};

/// Drives a build to its end; see [`Engine::drive`].
pub(super) async fn drive(engine: &Engine, build: &BuildId) -> Result<Outcome> {
    let mut driver = Driver::take_over(engine, build).await?;
    let driven = driver.run().await;
    if let Err(e) = driven {
        driver.stand_down().await;
        return Err(e);
    }
    driver.finish().await
}

/// Removes all that a finished build left on this host. The workspace goes last: as long as it is
/// there, somebody will try again. Without a state, nothing is known of what the build did.
pub(super) async fn clean_up(
    tools: &Toolbox,
    build: &BuildId,
    state: Option<&BuildState>,
) -> Result<()> {
    for builder in &tools.builders {
        builder.sweep(build).await?;
    }
    // Not even to end does a build without boxes need a runtime, or one without pushes a registry.
    if let Some(runtime) = tools.runtime.as_ref().filter(|_| state.is_none_or(has_boxes)) {
        runtime.sweep(build).await?;
    }
    if let Some(registry) = tools.registry.as_ref().filter(|_| state.is_none_or(pushes)) {
        registry.sweep(build).await?;
    }
    tools.log_sink.close(build).await?;
    tools.workspaces.remove(build).await
}

fn has_boxes(state: &BuildState) -> bool {
    !state.plan().boxes().is_empty()
}

fn pushes(state: &BuildState) -> bool {
    state.plan().steps().iter().any(|step| matches!(step.op, Op::Push { .. }))
}

/// Something a driver waits for by the clock.
#[derive(Clone, Copy, Debug)]
enum Timer {
    StepTimeout { step: StepId, attempt: u8 },
    BuildTimeout,
    Due { step: StepId, attempts: u8 },
    Grace { step: StepId, attempt: u8 },
    Quiet(quiet::Quiet),
}

/// What a driver hears next.
enum Heard {
    Over(Over),
    Pin(PinWanted),
    Timer(Timer),
    Journal(Result<bool>),
    Log(Error),
}

struct Driver<'e> {
    engine: &'e Engine,
    build: BuildId,
    id: DriverId,
    state: BuildState,
    seq: Seq,
    journal: Vec<Recorded>,
    workspace: PathBuf,
    log: LogWriter,
    pump: BoxFuture<'static, Result<Infallible>>,
    running: BTreeMap<StepId, Running>,
    attempts: FuturesUnordered<BoxFuture<'static, Over>>,
    timers: FuturesUnordered<BoxFuture<'static, Timer>>,
    notices: FuturesUnordered<BoxFuture<'static, ()>>,
    pins: (mpsc::UnboundedSender<PinWanted>, mpsc::UnboundedReceiver<PinWanted>),
}

impl<'e> Driver<'e> {
    async fn take_over(engine: &'e Engine, build: &BuildId) -> Result<Self> {
        let tools = &engine.tools;
        let journal = tools.store.load(build, Seq::START).await?;
        let state = BuildState::replay(journal.iter().map(|r| &r.event)).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "Engine::drive", e.to_string()).with("build", build)
        })?;
        let workspace = tools.workspaces.prepare(build).await?;
        let at = tools.log_sink.end(build).await?;
        let log = LogWriter::new(
            build.clone(),
            tools.log_sink.clone(),
            tools.clock.clone(),
            Redactor::new(),
            at,
        )
        .outage_max(engine.policy.outage_max);
        if journal.iter().any(|r| matches!(r.event, Event::StepStarted { .. })) {
            conceal_given(tools, &state, log.redactor()).await;
        }
        let mut driver = Self {
            engine,
            build: build.clone(),
            id: DriverId::random(),
            seq: journal.last().map_or(Seq::START, |r| r.seq),
            state,
            journal,
            workspace,
            pump: pump(&log),
            log,
            running: BTreeMap::new(),
            attempts: FuturesUnordered::new(),
            timers: FuturesUnordered::new(),
            notices: FuturesUnordered::new(),
            pins: mpsc::unbounded(),
        };
        match driver.state.phase() {
            // Whoever ended it may have died before anybody was told.
            Phase::Finished => driver.tell(),
            _ => driver.adopt().await?,
        }
        Ok(driver)
    }

    /// Says in the journal that this driver has the build now, and goes on with what is kept.
    async fn adopt(&mut self) -> Result<()> {
        if let Some(limit) = self.state.plan().timeout() {
            self.arm(limit, Timer::BuildTimeout);
        }
        loop {
            let kept = self.kept().await?;
            if self.state.running().count() > kept.len() {
                for builder in &self.engine.tools.builders {
                    builder.sweep(&self.build).await?;
                }
                let registry = self.engine.tools.registry.as_ref();
                if let Some(registry) = registry.filter(|_| pushes(&self.state)) {
                    registry.sweep(&self.build).await?;
                }
            }
            let (driver, node) = (self.id.clone(), self.engine.tools.node.clone());
            match self.record(Command::Adopt { driver, node, kept: kept.clone() }).await {
                Ok(()) => {
                    for (step, attempt) in self.state.running().collect::<Vec<_>>() {
                        if kept.contains(&step) && !self.running.contains_key(&step) {
                            self.begin(step, attempt);
                            let log = self.running[&step].log.clone();
                            skip_logged(self.engine.tools.clone(), &self.build, log).await?;
                        }
                    }
                    // What is kept may have been told to stop already, but not by us.
                    self.settle_stops();
                    return Ok(());
                }
                // Not ours yet, so nobody is fenced: take it from whoever was quicker.
                Err(e) if e.kind() == ErrorKind::Conflict => {
                    self.reload().await?;
                    // It was ours for a moment: the answer was lost, and another one came.
                    if self.journal.iter().any(|r| is_adoption_of(&self.id, &r.event)) {
                        return Err(e);
                    }
                }
                Err(e) => return Err(e),
            }
            if self.state.phase() == Phase::Finished {
                return Ok(());
            }
        }
    }

    async fn reload(&mut self) -> Result<()> {
        let journal = self.engine.tools.store.load(&self.build, Seq::START).await?;
        self.state = BuildState::replay(journal.iter().map(|r| &r.event)).map_err(corrupt)?;
        self.seq = journal.last().map_or(Seq::START, |r| r.seq);
        self.journal = journal;
        Ok(())
    }

    /// The running steps whose commands the runtime still has.
    ///
    /// What the runtime cannot tell is waited for: to take a command that runs for lost would
    /// start it a second time beside itself.
    async fn kept(&mut self) -> Result<Vec<StepId>> {
        let mut kept = Vec::new();
        let Some(runtime) = &self.engine.tools.runtime else { return Ok(kept) };
        let Engine { tools, policy } = self.engine;
        let wait_ms = 50;
        let doublings = (policy.outage_max.as_millis() / u128::from(wait_ms) + 1).ilog2();
        let attempts = Attempts { max: 1 + doublings as u8, backoff_ms: wait_ms };
        let runtime = Layered::new(runtime.clone(), Retry::new(tools.clock.clone(), attempts));
        for (step, attempt) in self.state.running() {
            if matches!(self.state.plan().step(step).op, Op::Exec { .. }) {
                let key = StepKey { build: self.build.clone(), step, attempt };
                if runtime.has(&key).await? {
                    kept.push(step);
                }
            }
        }
        Ok(kept)
    }

    async fn run(&mut self) -> Result<()> {
        while self.state.phase() != Phase::Finished {
            match self.hear().await {
                Heard::Over(over) => self.complete(over).await?,
                Heard::Pin(wanted) => self.pin(wanted).await?,
                Heard::Timer(timer) => self.ring(timer).await?,
                Heard::Journal(changed) => {
                    if changed.unwrap_or(true) {
                        self.catch_up(&[]).await?;
                        self.settle_stops();
                    }
                }
                Heard::Log(e) => self.log_trouble(e).await?,
            }
        }
        Ok(())
    }

    /// Waits for whatever comes first.
    async fn hear(&mut self) -> Heard {
        let store = self.engine.tools.store.clone();
        let (build, seq) = (self.build.clone(), self.seq);
        let mut journal =
            async move { store.wait(&build, seq, Duration::from_secs(30)).await }.boxed().fuse();
        loop {
            futures::select_biased! {
                error = (&mut self.pump).fuse() => {
                    let Err(error) = error;
                    return Heard::Log(error);
                }
                pin = self.pins.1.next() => if let Some(pin) = pin { return Heard::Pin(pin) },
                over = self.attempts.select_next_some() => return Heard::Over(over),
                timer = self.timers.select_next_some() => return Heard::Timer(timer),
                () = self.notices.select_next_some() => {}
                changed = journal => return Heard::Journal(changed),
            }
        }
    }

    async fn complete(&mut self, over: Over) -> Result<()> {
        let Over { step, attempt, result } = over;
        if self.running.get(&step).is_none_or(|r| r.attempt != attempt) {
            return Ok(());
        }
        let Some(running) = self.running.remove(&step) else { return Ok(()) };
        let grace = self.engine.policy.grace;
        let result = result.unwrap_or_else(|| {
            let message =
                format!("the step did not stop within {} s and was given up", grace.as_secs());
            Err(Error::new(ErrorKind::Cancelled, "Engine", message))
        });
        let result: Result<Box<Output>, Failure> = match result {
            Ok(output) => Ok(output),
            Err(e) => Err(failure(e, self.log.redactor())),
        };
        let result = result.map_err(|failure| match running.silenced {
            true => self.silenced(step, failure),
            false => failure,
        });
        running.log.ended(if result.is_ok() { StepEnd::Succeeded } else { StepEnd::Failed });
        // The log of a step is kept before its end is: a crash in between repeats the step, and
        // never leaves a finished one without its last words.
        self.drain().await?;
        self.record(Command::Complete { step, attempt, result }).await
    }

    async fn drain(&mut self) -> Result<()> {
        loop {
            let log = self.log.clone();
            let drained = std::pin::pin!(log.drained());
            match select(&mut self.pump, drained).await {
                Either::Left((Err(error), _)) => self.log_trouble(error).await?,
                Either::Right(((), _)) => return Ok(()),
            }
        }
    }

    async fn pin(&mut self, wanted: PinWanted) -> Result<()> {
        let PinWanted { step, attempt, revision, answer } = wanted;
        self.record(Command::Pin { step, attempt, revision: revision.clone() }).await?;
        let pinned = self.state.pin(step).cloned().unwrap_or(revision);
        // A step that is gone needs no answer.
        let _ = answer.send(pinned);
        Ok(())
    }

    async fn ring(&mut self, timer: Timer) -> Result<()> {
        match timer {
            Timer::StepTimeout { step, attempt } => {
                self.record(Command::TimeOut { step, attempt }).await
            }
            Timer::Quiet(quiet) => self.heed(quiet).await,
            Timer::BuildTimeout => {
                let reason = "the build took longer than its plan allows".to_owned();
                let cause = CancelCause::Timeout;
                self.record(Command::Cancel { cause, reason, force: false, by: None }).await
            }
            Timer::Due { step, attempts } => match self.state.step(step) {
                crate::StepPhase::Delayed { attempts: now } if *now == attempts => {
                    self.record(Command::Due { step }).await
                }
                _ => Ok(()),
            },
            Timer::Grace { step, attempt } => {
                if let Some(running) = self.running.get(&step).filter(|r| r.attempt == attempt) {
                    running.abort.abort();
                }
                Ok(())
            }
        }
    }

    /// The log went on without us: either another driver has the build, or an answer was lost.
    async fn log_trouble(&mut self, error: Error) -> Result<()> {
        if error.kind() != ErrorKind::Conflict {
            return Err(error);
        }
        self.catch_up(&[]).await?;
        let at = self.engine.tools.log_sink.end(&self.build).await?;
        self.log.move_to(at);
        self.pump = pump(&self.log);
        Ok(())
    }

    /// Another driver has the build, or the store is gone: stops the steps, leaves their effects.
    async fn stand_down(&mut self) {
        for running in self.running.values() {
            running.cancel.cancel(StopReason::Fenced);
        }
        let grace =
            self.engine.tools.clock.sleep(self.engine.policy.grace.min(Duration::from_secs(5)));
        let mut grace = std::pin::pin!(grace.fuse());
        let (unsent, _) = (&self.log, ());
        unsent.discard();
        while !self.attempts.is_empty() {
            futures::select_biased! {
                _ = self.attempts.next() => unsent.discard(),
                () = grace => return,
            }
        }
    }

    async fn finish(mut self) -> Result<Outcome> {
        self.drain().await?;
        // Before anything can be dropped: the last word of the index and the notifiers.
        while self.notices.next().await.is_some() {}
        clean_up(&self.engine.tools, &self.build, Some(&self.state)).await?;
        self.state.outcome().cloned().ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "Engine::drive", "a finished build has no outcome")
        })
    }
}

fn pump(log: &LogWriter) -> BoxFuture<'static, Result<Infallible>> {
    let log = log.clone();
    async move { log.pump().await }.boxed()
}

fn is_adoption_of(id: &DriverId, event: &Event) -> bool {
    matches!(event, Event::Adopted { driver, .. } if driver == id)
}

fn corrupt(e: crate::state::IllegalEvent) -> Error {
    Error::new(ErrorKind::Corrupt, "Engine::drive", e.to_string())
}
