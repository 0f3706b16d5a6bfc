use super::{BuildState, Phase, StepPhase};
use crate::{Event, FailureClass, Outcome, StepId, When, event::CancelCause};

impl BuildState {
    /// What follows from the present state alone: steps to skip or to start, or the end. It
    /// settles in one call.
    ///
    /// At most `slots` steps run side by side. A `StepStarted` in the answer is an intention:
    /// journal it first, then perform it. Nothing follows before a driver has the build, but
    /// what is skipped or ended by a cancel.
    pub fn advance(&self, slots: usize) -> Vec<Event> {
        if matches!(self.phase(), Phase::Finished | Phase::Queued) {
            return vec![];
        }
        let mut next = self.clone();
        let mut events = vec![];
        let mut free = slots.max(1).saturating_sub(self.running().count());
        for id in self.plan.ids() {
            let attempts = match *next.step(id) {
                StepPhase::Waiting { attempts } => attempts,
                StepPhase::Delayed { attempts } if next.verdict(id) == Verdict::Skip => attempts,
                _ => continue,
            };
            let event = match next.verdict(id) {
                Verdict::Start if next.driver.is_some() && free > 0 => {
                    free -= 1;
                    Event::StepStarted { step: id, attempt: attempts + 1 }
                }
                Verdict::Skip => Event::StepSkipped { step: id },
                Verdict::Start | Verdict::Wait => continue,
            };
            next.apply(&event).expect("a verdict is legal");
            events.push(event);
        }
        if next.steps.iter().all(StepPhase::is_over) {
            events.push(Event::Finished { outcome: next.judge() });
        }
        events
    }

    fn verdict(&self, id: StepId) -> Verdict {
        let step = self.plan.step(id);
        if self.is_forced() || (self.stop.is_some() && step.when != When::Always) {
            return Verdict::Skip;
        }
        if step.needs.iter().any(|&n| !self.step(n).is_over()) {
            return Verdict::Wait;
        }
        let bad = step.needs.iter().any(|&n| self.counts_as_bad(n));
        match (step.when, bad) {
            (When::Always, _) | (When::Success, false) | (When::Failure, true) => Verdict::Start,
            (When::Success, true) | (When::Failure, false) => Verdict::Skip,
        }
    }

    /// Judges a need by its own fate, not by what came before it: whoever cares names both.
    fn counts_as_bad(&self, id: StepId) -> bool {
        let step = self.plan.step(id);
        match self.step(id) {
            StepPhase::Failed(_) => !step.may_fail,
            // A handler that was skipped had nothing to handle; any other skipped step is missing.
            StepPhase::Skipped => step.when == When::Success,
            _ => false,
        }
    }

    fn judge(&self) -> Outcome {
        match self.stop_cause() {
            Some(CancelCause::Request) => return Outcome::Cancelled,
            Some(CancelCause::Timeout) => return Outcome::TimedOut,
            None => {}
        }
        match self.first_failure().map(|(step, failure)| (step, failure.class)) {
            None => Outcome::Succeeded,
            Some((step, FailureClass::Infra | FailureClass::Lost)) => Outcome::Errored { step },
            Some((step, _)) => Outcome::Failed { step },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Skip,
    Start,
}
