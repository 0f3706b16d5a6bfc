use super::{BuildState, StepPhase, Stop};
use std::sync::Arc;

use crate::{Event, Failure, FailureClass, NodeId, Op, Output, StepId, event::CancelCause};

/// An event that cannot follow what came before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {event:?} cannot come here: {why}")]
pub struct IllegalEvent {
    /// The event; none if the journal is empty.
    pub event: Option<Box<Event>>,
    /// Why it cannot.
    pub why: &'static str,
}

impl IllegalEvent {
    pub(super) fn new(event: Option<&Event>, why: &'static str) -> Self {
        Self { event: event.cloned().map(Box::new), why }
    }
}

impl BuildState {
    /// Folds one event: the only place where state changes, for live writes and for replay alike.
    ///
    /// An illegal event changes nothing.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.try_apply(event).map_err(|why| IllegalEvent::new(Some(event), why))
    }

    fn try_apply(&mut self, event: &Event) -> Result<(), &'static str> {
        if self.outcome.is_some() {
            return Err("the build is finished");
        }
        match event {
            Event::Accepted { .. } => return Err("the build was accepted before"),
            Event::Adopted { driver, node, kept } => {
                self.adopt(kept)?;
                self.driver = Some((driver.clone(), node.clone()));
            }
            Event::CancelRequested { cause, force, .. } => self.stop(*cause, *force)?,
            Event::Finished { outcome } => {
                if self.steps.iter().any(|s| !s.is_over()) {
                    return Err("steps are not over");
                }
                self.outcome = Some(outcome.clone());
            }
            Event::StepReused { step, output, node, .. } => self.reuse_step(*step, output, node)?,
            Event::StepStarted { step, attempt } => self.start(*step, *attempt)?,
            Event::StepPinned { step, attempt, revision } => {
                match self.get(*step)? {
                    StepPhase::Waiting { attempts: 0 } if *attempt == 0 && self.is_untouched() => {}
                    _ => drop(self.expect_running(*step, *attempt)?),
                }
                if self.pins.get(step).is_some_and(|old| old != revision) {
                    return Err("the step is pinned to something else");
                }
                self.pins.insert(*step, revision.clone());
            }
            Event::StepTimedOut { step, attempt } => {
                if self.expect_running(*step, *attempt)? {
                    return Err("the attempt timed out before");
                }
                self.set(*step, StepPhase::Running { attempt: *attempt, timed_out: true });
            }
            Event::StepSucceeded { step, attempt, output } => {
                self.expect_running(*step, *attempt)?;
                self.extend(*step, output)?;
                if let (Some(_), Some((_, node))) = (&output.image, &self.driver) {
                    self.images.insert(*step, node.clone());
                }
                self.set(*step, StepPhase::Succeeded(Arc::new((**output).clone())));
            }
            Event::StepFailed { step, attempt, failure } => {
                self.expect_running(*step, *attempt)?;
                self.fail(*step, *attempt, failure.clone());
            }
            Event::StepDue { step } => match self.get(*step)? {
                StepPhase::Delayed { attempts } => {
                    let attempts = *attempts;
                    self.set(*step, StepPhase::Waiting { attempts });
                }
                _ => return Err("the step is not delayed"),
            },
            Event::StepSkipped { step } => match self.get(*step)? {
                StepPhase::Waiting { .. } | StepPhase::Delayed { .. } => {
                    self.set(*step, StepPhase::Skipped);
                }
                _ => return Err("the step is not waiting"),
            },
        }
        Ok(())
    }

    /// Takes in what a plan step brings.
    fn extend(&mut self, step: StepId, output: &Output) -> Result<(), &'static str> {
        let asks = matches!(self.plan.step(step).op, Op::Plan { .. });
        match &output.plan {
            None if asks => return Err("a plan step brings a plan"),
            None => return Ok(()),
            Some(_) if !asks => return Err("the step does not ask for a plan"),
            Some(fragment) => {
                let grown = self.plan.extend(step, fragment);
                self.plan = Arc::new(grown.map_err(|_| "its plan does not fit the build's")?);
            }
        }
        self.steps.resize(self.plan.steps().len(), StepPhase::Waiting { attempts: 0 });
        Ok(())
    }

    fn get(&self, step: StepId) -> Result<&StepPhase, &'static str> {
        self.steps.get(step.index()).ok_or("the plan has no such step")
    }

    /// Whether the running attempt timed out; an error if that attempt does not run.
    fn expect_running(&self, step: StepId, attempt: u8) -> Result<bool, &'static str> {
        match self.get(step)? {
            StepPhase::Running { attempt: now, timed_out } if *now == attempt => Ok(*timed_out),
            _ => Err("that attempt is not running"),
        }
    }

    fn reuse_step(
        &mut self,
        step: StepId,
        output: &Output,
        node: &Option<NodeId>,
    ) -> Result<(), &'static str> {
        match self.get(step)? {
            StepPhase::Waiting { attempts: 0 } if self.is_untouched() => {}
            _ => return Err("the step may run already"),
        }
        if matches!(self.plan.step(step).op, Op::Plan { .. }) {
            return Err("a plan step always runs");
        }
        if let Some(node) = node {
            self.images.insert(step, node.clone());
        }
        self.reused.insert(step);
        self.set(step, StepPhase::Succeeded(Arc::new(output.clone())));
        Ok(())
    }

    fn start(&mut self, step: StepId, attempt: u8) -> Result<(), &'static str> {
        if self.driver.is_none() {
            return Err("no driver has the build");
        }
        match self.get(step)? {
            StepPhase::Waiting { attempts } if *attempts + 1 == attempt => {
                self.set(step, StepPhase::Running { attempt, timed_out: false });
                Ok(())
            }
            StepPhase::Waiting { .. } => Err("that is not the step's next attempt"),
            _ => Err("the step is not waiting"),
        }
    }

    fn adopt(&mut self, kept: &[StepId]) -> Result<(), &'static str> {
        for &id in kept {
            if !matches!(self.get(id)?, StepPhase::Running { .. }) {
                return Err("a kept step does not run");
            }
        }
        for id in self.plan.ids() {
            match *self.step(id) {
                StepPhase::Running { attempt, .. } if !kept.contains(&id) => {
                    let lost = Failure::new(FailureClass::Lost, "its driver went away");
                    self.fail(id, attempt, lost);
                }
                _ => {}
            }
            // Whoever takes over has waited long enough, and knows no timers of the one before.
            if let StepPhase::Delayed { attempts } = *self.step(id) {
                self.set(id, StepPhase::Waiting { attempts });
            }
        }
        Ok(())
    }

    fn stop(&mut self, cause: CancelCause, force: bool) -> Result<(), &'static str> {
        match self.stop {
            Some(old) if old.force || !force => Err("the build is stopping already"),
            Some(old) => {
                self.stop = Some(Stop { force, ..old });
                Ok(())
            }
            None => {
                self.stop = Some(Stop { cause, force });
                Ok(())
            }
        }
    }

    fn fail(&mut self, id: StepId, attempt: u8, failure: Failure) {
        let step = self.plan.step(id);
        let (max, backoff) = (step.attempts.max, step.attempts.backoff(attempt));
        let spared = step.when == crate::When::Always && !self.is_forced();
        let goes_on = self.stop.is_none() || spared;
        let again = failure.is_retryable() && attempt < max && goes_on;
        let to = match (again, backoff.is_zero()) {
            (true, true) => StepPhase::Waiting { attempts: attempt },
            (true, false) => StepPhase::Delayed { attempts: attempt },
            (false, _) => StepPhase::Failed(failure),
        };
        self.set(id, to);
    }

    fn set(&mut self, id: StepId, to: StepPhase) {
        self.steps[id.index()] = to;
    }
}
