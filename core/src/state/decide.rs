use super::{BuildState, Phase, StepPhase};
use crate::{
    Actor, DriverId, ErrorKind, Event, Failure, FailureClass, NodeId, Op, Output, Revision, StepId,
    event::CancelCause,
};

/// What the outside asks of a build, or tells it.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take the build over.
    Adopt {
        /// Who.
        driver: DriverId,
        /// Where.
        node: NodeId,
        /// Running steps whose effect the runtime still has.
        kept: Vec<StepId>,
    },
    /// Stop.
    Cancel {
        /// Why.
        cause: CancelCause,
        /// For people.
        reason: String,
        /// Whether after-steps are to stop too.
        force: bool,
        /// Who asks, where somebody does and is known.
        by: Option<Actor>,
    },
    /// A step resolved a moving name.
    Pin {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u8,
        /// The exact state.
        revision: Revision,
    },
    /// The time of an attempt is over.
    TimeOut {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u8,
    },
    /// The wait of a step is over.
    Due {
        /// The step.
        step: StepId,
    },
    /// An attempt is over.
    Complete {
        /// The step.
        step: StepId,
        /// Which attempt: a late word of an earlier one must not end a later one.
        attempt: u8,
        /// How it went.
        result: Result<Box<Output>, Failure>,
    },
}

/// Why a command is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too late.
    #[error("the build is already finished")]
    Finished,
    /// Too early.
    #[error("the build is not finished")]
    Unfinished,
    /// There is nothing to go on from.
    #[error("the build succeeded")]
    Succeeded,
    /// A late or mistaken word.
    #[error("attempt {attempt} of step {step} is not running")]
    NotRunning {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u8,
    },
    /// A late or mistaken word.
    #[error("step {step} is not waiting for another attempt")]
    NotDelayed {
        /// The step.
        step: StepId,
    },
}

impl BuildState {
    /// Answers a command with the events it causes, or says why it is refused.
    ///
    /// No events mean that what is asked for is so already.
    pub fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        if self.phase() == Phase::Finished {
            return Err(Refusal::Finished);
        }
        match command {
            Command::Adopt { driver, node, kept } => {
                let runs = |id: &StepId| self.running().any(|(r, _)| r == *id);
                let kept = kept.into_iter().filter(runs).collect();
                Ok(vec![Event::Adopted { driver, node, kept }])
            }
            Command::Cancel { cause, reason, force, by } => Ok(match self.stop {
                Some(stop) if stop.force || !force => vec![],
                _ => vec![Event::CancelRequested { cause, reason, force, by }],
            }),
            Command::Pin { step, attempt, revision } => {
                self.timed_out(step, attempt)?;
                Ok(match self.pin(step) {
                    Some(_) => vec![],
                    None => vec![Event::StepPinned { step, attempt, revision }],
                })
            }
            Command::TimeOut { step, attempt } => Ok(match self.timed_out(step, attempt)? {
                true => vec![],
                false => vec![Event::StepTimedOut { step, attempt }],
            }),
            Command::Due { step } => match self.steps.get(step.index()) {
                Some(StepPhase::Delayed { .. }) => Ok(vec![Event::StepDue { step }]),
                _ => Err(Refusal::NotDelayed { step }),
            },
            Command::Complete { step, attempt, result } => self.complete(step, attempt, result),
        }
    }

    fn timed_out(&self, step: StepId, attempt: u8) -> Result<bool, Refusal> {
        match self.steps.get(step.index()) {
            Some(StepPhase::Running { attempt: now, timed_out }) if *now == attempt => {
                Ok(*timed_out)
            }
            _ => Err(Refusal::NotRunning { step, attempt }),
        }
    }

    /// A plan step whose plan does not fit the build's has failed: it is what its user wrote.
    fn fits(&self, step: StepId, output: Box<Output>) -> Result<Box<Output>, Failure> {
        let asks = matches!(self.plan().step(step).op, Op::Plan { .. });
        let no = |message: String| {
            let kind = ErrorKind::Invalid;
            Err(Failure { kind, ..Failure::new(FailureClass::User, message) })
        };
        match &output.plan {
            None if asks => no("the planner answered without a plan".into()),
            None => Ok(output),
            Some(fragment) => match self.plan().extend(step, fragment) {
                Ok(_) => Ok(output),
                Err(e) => no(format!("what the planner answered does not fit the build: {e}")),
            },
        }
    }

    /// A step that was told to stop and ends with an error ended for that reason; one that made it
    /// in the last moment made it.
    fn complete(
        &self,
        step: StepId,
        attempt: u8,
        result: Result<Box<Output>, Failure>,
    ) -> Result<Vec<Event>, Refusal> {
        let timed_out = self.timed_out(step, attempt)?;
        let result = result.and_then(|output| self.fits(step, output));
        Ok(vec![match result {
            Ok(output) => Event::StepSucceeded { step, attempt, output },
            Err(mut failure) => {
                let stopped = failure.class == FailureClass::Cancelled;
                let by_deadline = self.stop_cause() == Some(CancelCause::Timeout);
                if timed_out || (stopped && by_deadline && self.must_stop(step)) {
                    failure.class = FailureClass::Timeout;
                } else if stopped && !self.must_stop(step) {
                    // Nobody asked: whatever stopped it was a fault of ours.
                    failure.class = FailureClass::Infra;
                }
                Event::StepFailed { step, attempt, failure }
            }
        }])
    }
}
