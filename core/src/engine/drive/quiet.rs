//! Attempts that have gone quiet: what prints nothing for as long as its step allows is stopped.

use super::{Driver, Timer};
use crate::{Failure, FailureClass, Result, StepId, state::Command};
use std::time::Duration;

/// How often an attempt is listened to in the time it may be quiet. It is counted in sleeps and not
/// by a clock, which may be set in between; so it is stopped up to an eighth of the time late.
const LOOKS: u32 = 8;

/// What was heard of an attempt so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    pub(super) step: StepId,
    pub(super) attempt: u8,
    /// How often something had come when it was listened to last.
    pub(super) heard: u64,
    /// How often in a row nothing had.
    pub(super) silent: u32,
}

impl Driver<'_> {
    /// Listens again in a while.
    pub(super) fn listen(&self, limit: Duration, quiet: Quiet) {
        self.arm(limit / LOOKS, Timer::Quiet(quiet));
    }

    /// Stops an attempt that was quiet for too long, or goes on listening.
    pub(super) async fn heed(&mut self, quiet: Quiet) -> Result<()> {
        let Quiet { step, attempt, .. } = quiet;
        let limit = self.state.plan().step(step).quiet;
        let running = self.running.get_mut(&step).filter(|r| r.attempt == attempt);
        let (Some(limit), Some(running)) = (limit, running) else { return Ok(()) };
        if running.cancel.is_cancelled() {
            return Ok(());
        }
        let (heard, held) = running.log.heard();
        let silent = if held || heard != quiet.heard { 0 } else { quiet.silent + 1 };
        if silent < LOOKS {
            self.listen(limit, Quiet { heard, silent, ..quiet });
            return Ok(());
        }
        running.silenced = true;
        self.record(Command::TimeOut { step, attempt }).await
    }

    /// The failure of an attempt that was stopped for that.
    pub(super) fn silenced(&self, step: StepId, failure: Failure) -> Failure {
        if failure.class != FailureClass::Cancelled {
            return failure;
        }
        let seconds = self.state.plan().step(step).quiet.unwrap_or_default().as_secs_f64();
        let message = format!("the step printed nothing for {seconds} s and was stopped");
        let hint = "Let it say what it does, or allow it to be quiet for longer.".to_owned();
        Failure { message, hint: Some(hint), ..failure }
    }
}
