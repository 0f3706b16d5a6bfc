//! What a driver writes, and what follows from what was written.

use super::{Driver, Timer, corrupt, quiet::Quiet};
use crate::{
    BuildState, CancelCause, CancelToken, Error, ErrorKind, Event, Recorded, Result, Status,
    StepCx, StepId, StepKey, StepSecrets, StopReason,
    engine::{step::begin, with_consequences},
    port::{BuildSummary, Entry, Notice},
    state::Command,
};
use futures::FutureExt;
use std::time::Duration;

impl Driver<'_> {
    /// Journals what a command causes, with all that follows, in one append; then begins what was
    /// started and stops what has to stop. A refused command was late, and changes nothing.
    pub(super) async fn record(&mut self, command: Command) -> Result<()> {
        let mut wait = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        loop {
            let Ok(events) = self.state.decide(command.clone()) else { return Ok(()) };
            if events.is_empty() {
                return Ok(());
            }
            let mut next = self.state.clone();
            let entries = with_consequences(&mut next, events, self.engine)?;
            match self.engine.tools.store.append(&self.build, self.seq, &entries).await {
                Ok(_) => {
                    self.recorded(entries, next);
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Conflict => {
                    if self.catch_up(&entries).await? {
                        return Ok(());
                    }
                }
                Err(e) if e.retry_status() == Status::Temporary => {
                    if waited >= self.engine.policy.outage_max {
                        return Err(e.status(Status::Persistent));
                    }
                    tracing::warn!(build = %self.build, error = ?e, "the store is tried again");
                    self.engine.tools.clock.sleep(wait).await;
                    waited += wait;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes in what others wrote. `true` if it is just what we tried to write: an append whose
    /// answer was lost. `Conflict` if another driver has the build.
    pub(super) async fn catch_up(&mut self, ours: &[Entry]) -> Result<bool> {
        let news = self.engine.tools.store.load(&self.build, self.seq).await?;
        // Not by their times: what is tried again is tried with a later one.
        let same = |(r, e): (&Recorded, &Entry)| r.event == e.event;
        let was_ours =
            !ours.is_empty() && news.len() >= ours.len() && news.iter().zip(ours).all(same);
        if !was_ours && !self.has_build() {
            // What others started is not ours to perform: adopt anew, with their news.
            let message = "somebody else was quicker";
            return Err(Error::new(ErrorKind::Conflict, "Engine::drive", message)
                .with("build", &self.build));
        }
        let mut next = self.state.clone();
        for recorded in &news {
            if let Event::Adopted { driver, .. } = &recorded.event
                && *driver != self.id
            {
                return Err(self.fenced());
            }
            next.apply(&recorded.event).map_err(corrupt)?;
        }
        let entries: Vec<Entry> =
            news.into_iter().map(|r| Entry { at: r.at, event: r.event }).collect();
        self.recorded(entries, next);
        Ok(was_ours)
    }

    /// Whether this driver has adopted the build, as far as it knows.
    pub(super) fn has_build(&self) -> bool {
        self.state.driver().is_some_and(|(driver, _)| *driver == self.id)
    }

    pub(super) fn fenced(&self) -> Error {
        Error::new(ErrorKind::Conflict, "Engine::drive", "another driver has the build now")
            .with("build", &self.build)
    }

    /// Takes in what is in the journal now, and does what it means.
    pub(super) fn recorded(&mut self, entries: Vec<Entry>, next: BuildState) {
        self.state = next;
        for Entry { at, event } in entries {
            self.seq = self.seq.plus(1);
            self.journal.push(Recorded { seq: self.seq, at, event: event.clone() });
            match event {
                Event::StepStarted { step, attempt } => {
                    self.begin(step, attempt);
                    if let Some(running) = self.running.get(&step) {
                        running.log.started();
                    }
                }
                Event::StepFailed { step, .. } => {
                    if let crate::StepPhase::Delayed { attempts } = *self.state.step(step) {
                        let wait = self.state.plan().step(step).attempts.backoff(attempts);
                        self.arm(wait, Timer::Due { step, attempts });
                    }
                }
                _ => {}
            }
        }
        self.settle_stops();
        self.tell();
    }

    /// Tells every step to stop that has to, once.
    pub(super) fn settle_stops(&mut self) {
        let mut stopped = Vec::new();
        for (step, running) in &self.running {
            if self.state.must_stop(*step) && !running.cancel.is_cancelled() {
                let by_time = matches!(
                    self.state.step(*step),
                    crate::StepPhase::Running { timed_out: true, .. }
                ) || self.state.stop_cause() == Some(CancelCause::Timeout);
                running.cancel.cancel(if by_time {
                    StopReason::Timeout
                } else {
                    StopReason::Cancel
                });
                stopped.push(Timer::Grace { step: *step, attempt: running.attempt });
            }
        }
        for timer in stopped {
            self.arm(self.engine.policy.grace, timer);
        }
    }

    pub(super) fn begin(&mut self, step: StepId, attempt: u8) {
        let tools = &self.engine.tools;
        let owner = self.state.owner().clone();
        let secrets =
            StepSecrets::new(owner.clone(), tools.secrets.clone(), self.log.redactor().clone());
        let cx = StepCx {
            key: StepKey { build: self.build.clone(), step, attempt },
            owner,
            workspace: self.workspace.clone(),
            log: self.log.step(step, attempt),
            secrets,
            cancel: CancelToken::new(),
        };
        let (state, pins) = (self.state.clone(), self.pins.0.clone());
        let (running, over) = begin(tools.clone(), state, cx, self.engine.policy.local_paths, pins);
        if let Some(limit) = self.state.plan().step(step).timeout {
            self.arm(limit, Timer::StepTimeout { step, attempt });
        }
        if let Some(limit) = self.state.plan().step(step).quiet {
            self.listen(limit, Quiet { step, attempt, heard: 0, silent: 0 });
        }
        self.running.insert(step, running);
        self.attempts.push(over);
    }

    pub(super) fn arm(&self, time: Duration, timer: Timer) {
        let clock = self.engine.tools.clock.clone();
        self.timers.push(async move { clock.sleep(time).await }.map(move |()| timer).boxed());
    }

    /// Tells the index and the notifiers, beside the work.
    pub(super) fn tell(&mut self) {
        let tools = self.engine.tools.clone();
        let Some(last) = self.journal.last().cloned() else { return };
        let summary = self.summary(&last);
        self.notices.push(
            async move {
                let build = &summary.build;
                if let Err(e) = tools.index.put(&summary).await {
                    tracing::warn!(%build, error = ?e, "the index could not be told");
                }
                for notifier in &tools.notifiers {
                    let build = summary.clone();
                    let notice = Notice { build, seq: last.seq, event: last.event.clone() };
                    if let Err(e) = notifier.notify(&notice).await {
                        tracing::warn!(build = %notice.build.build, error = ?e, "not notified");
                    }
                }
            }
            .boxed(),
        );
    }

    /// What lists show, from the state at hand: reading the whole journal for each event would
    /// cost a long build more than its steps.
    fn summary(&self, last: &Recorded) -> BuildSummary {
        let state = &self.state;
        let over = |id: &StepId| state.step(*id).is_over();
        BuildSummary {
            build: self.build.clone(),
            seq: last.seq,
            owner: state.owner().clone(),
            labels: state.labels().clone(),
            phase: state.phase(),
            outcome: state.outcome().cloned(),
            accepted_at: self.journal.first().map(|r| r.at).unwrap_or_default(),
            finished_at: state.outcome().map(|_| last.at),
            steps: state.plan().steps().len() as u32,
            steps_over: state.plan().ids().filter(over).count() as u32,
        }
    }
}
